"""Every MD code certified for a triclinic cell of silicon, from a bank trained for it."""

from collections.abc import Iterator

import pytest

from posterion_client.selftest._codes import CODES
from posterion_store import Store
from tests.support.certificates import certificate_of, deviation
from tests.support.code_runs import environment_of
from tests.support.services import Service, running_service
from tests.support.silicon import publish_silicon

pytestmark = pytest.mark.clients

ALLOWED_EV = {
    "lammps": 1e-6,
    "lammps-plugin": 1e-6,
    "ipi": 1e-6,
    "openmm": 1e-7,
    "c": 1e-10,
    "fortran": 1e-10,
}
"""Of the total energy over 200 steps; where nothing stands here, 1e-9."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("silicon")
    store = Store.open(str(folder / "store"))
    publish_silicon(store, folder)
    with running_service("--in-process", "--device", "cpu", "--store", store.url) as service:
        yield service


@pytest.mark.parametrize("code", CODES)
def test_it_is_certified_for_a_crystal(
    service: Service, code: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp(code)
    certificate = certificate_of(code, service.url, folder, environment=environment_of(code))
    assert {check["subject"] for check in certificate["checks"]} == {"triclinic cell"}
    assert deviation(certificate, "total energy against ASE") <= ALLOWED_EV.get(code, 1e-9)
