"""i-PI itself on Posterion: certified, batched, committees, and every end it may come to."""

import json
import os
import re
from pathlib import Path

import httpx
import numpy as np
import pytest

from posterion_client import Client, PredictOptions, Structure
from posterion_client.ipi import pes_path
from posterion_client.ipi._units import HARTREE_PER_EV
from tests.support.ipi_runs import (
    ADDRESS,
    blocks,
    direct,
    driver,
    ipi,
    over_socket,
    table,
    write_input,
)
from tests.support.md_codes import run_in_environment
from tests.support.services import Service
from tests.support.spring_service import spring_service

pytestmark = pytest.mark.clients

N_BEADS = 8
NOWHERE = "http://127.0.0.1:9"


def n_batches(service: Service) -> tuple[float, float]:
    """How many batches were evaluated so far, and how many structures."""
    text = httpx.get(f"{service.url}/metrics", trust_env=False).text
    count, structures = (
        float(re.findall(rf"^posterion_batch_structures_{what} (\S+)$", text, re.MULTILINE)[0])
        for what in ("count", "sum")
    )
    return count, structures


@pytest.fixture
def socket_name() -> str:
    return f"posterion-{os.getpid()}"


@pytest.mark.timeout(600)
def test_selftest_certifies_i_pi(bundled_service: Service) -> None:
    command = ["-m", "posterion_client", "selftest", "--client", "ipi"]
    done = run_in_environment("ipi", [*command, "--url", bundled_service.url], timeout_s=570)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)  # noqa: T201 - the figures, for whoever runs with -s
    assert "FAILED" not in done.stdout


class TestGuide:
    def test_path_integrals_ask_once_per_step(
        self, bundled_service: Service, tmp_path: Path
    ) -> None:
        text = blocks("xml")[0].replace("PES_PATH", str(pes_path()))
        (tmp_path / "input.xml").write_text(text.replace(ADDRESS, bundled_service.url))
        (tmp_path / "start.xyz").write_text(blocks("xyz")[0])
        before = n_batches(bundled_service)
        with ipi(tmp_path) as ended:
            end = ended()
        assert end.status == 0, end.errors
        batches, structures = np.subtract(n_batches(bundled_service), before)
        assert (batches, structures) == (21, 21 * N_BEADS)
        for bead in range(N_BEADS):
            assert table(tmp_path / f"pimd.requests_{bead}").ravel().tolist() == [*range(1, 22)]
            assert (table(tmp_path / f"pimd.spread_{bead}") > 0).all()
        assert len(table(tmp_path / "pimd.out")) == 21

    def test_committee_reports_the_spread_of_the_service(
        self, bundled_service: Service, tmp_path: Path, socket_name: str
    ) -> None:
        text = blocks("xml")[1].replace("<address>posterion<", f"<address>{socket_name}<")
        text = text.replace("<simulation ", "<simulation floatformat='%25.17e' ")
        (tmp_path / "input.xml").write_text(text.replace("0.001<", "0.00001<"))
        (tmp_path / "start.xyz").write_text(blocks("xyz")[0])
        options = ("--committee", "--url", bundled_service.url)
        with ipi(tmp_path) as ended, driver(tmp_path, socket_name, *options) as driver_ended:
            end, told = ended(), driver_ended()
        assert (end.status, told.status) == (0, 0), end.errors + told.errors
        samples, calibrated = service_spread(bundled_service, blocks("xyz")[0])
        spread = table(tmp_path / "committee.std_0").ravel() / HARTREE_PER_EV
        assert spread[0] == pytest.approx(samples, rel=1e-6)
        (alpha,) = re.findall(r"<alpha> (\S+) </alpha>", told.log)
        assert spread[0] * float(alpha) == pytest.approx(calibrated, rel=1e-6)
        # At every step it is the service's own number.
        own = table(tmp_path / "committee.calibrated_0").ravel() / HARTREE_PER_EV
        np.testing.assert_allclose(spread * float(alpha), own, rtol=1e-6)
        assert len(own) == 11
        active = json_objects((tmp_path / "committee.active").read_text())
        assert len(active) == 11
        np.testing.assert_allclose([a["uncertainty"] for a in active], spread * HARTREE_PER_EV)
        assert "<ffsocket" in (tmp_path / "RESTART").read_text()


def service_spread(service: Service, xyz: str) -> tuple[float, float]:
    """Of the samples' energies, and calibrated, eV."""
    lines = [line.split() for line in xyz.splitlines()[2:]]
    structure = Structure(
        symbols=[line[0] for line in lines], positions=[[*map(float, line[1:])] for line in lines]
    )
    with Client(service.url) as client:
        found = client.predict(structure, options=PredictOptions(samples="full")).uncertainty
    assert found is not None
    assert found.samples is not None
    return float(found.samples.energies.std(ddof=1)), found.energy.epistemic


def json_objects(text: str) -> list[dict[str, float]]:
    """JSON objects one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


class TestSockets:
    @pytest.mark.parametrize("beads", [1, N_BEADS])
    def test_driver_and_ffdirect_agree(self, tmp_path: Path, socket_name: str, beads: int) -> None:
        potentials = []
        with spring_service() as service:
            for kind in ("direct", "socket"):
                folder = tmp_path / kind
                folder.mkdir()
                before = len(service.backend.calls)
                if kind == "direct":
                    parameters = f"template: start.xyz, pbc: False, url: {service.url}"
                    write_input(folder, direct(parameters, batch_size=beads), beads=beads)
                    with ipi(folder) as ended:
                        assert ended().status == 0
                else:
                    write_input(folder, over_socket(socket_name, batch_size=beads), beads=beads)
                    with (
                        ipi(folder) as ended,
                        driver(folder, socket_name, "--url", service.url) as driver_ended,
                    ):
                        assert (ended().status, driver_ended().status) == (0, 0)
                asked = [len(structures) for structures, *_ in service.backend.calls[before:]]
                assert asked == [beads] * 4
                potentials.append(table(folder / "run.out")[:, 1])
        np.testing.assert_array_equal(potentials[0], potentials[1])

    @pytest.mark.parametrize("beads", [1, N_BEADS])
    def test_failure_ends_both(self, tmp_path: Path, socket_name: str, beads: int) -> None:
        write_input(tmp_path, over_socket(socket_name, batch_size=beads), beads=beads)
        gone = ("--url", NOWHERE, "-o", "retry_s=0")
        with ipi(tmp_path) as ended, driver(tmp_path, socket_name, *gone) as driver_ended:
            told = driver_ended()
            ended()
        assert told.status == 1
        assert f"no connection to {NOWHERE}" in told.line()

    def test_committee_over_ffdirect_runs_too(self, tmp_path: Path) -> None:
        with spring_service() as service:
            parameters = (
                f"template: start.xyz, pbc: False, url: {service.url}, committee: True, "
                "halt: candidate"
            )
            committee = f"<ffcommittee name='posterion'>{direct(parameters)}</ffcommittee>"
            committee = committee.replace("<ffdirect name='posterion'", "<ffdirect name='bank'")
            committee = committee.replace("</ffc", "<parse_json>True</parse_json></ffc")
            write_input(tmp_path, committee)
            text = (tmp_path / "input.xml").read_text()
            names = text.replace("'flag_level, n_requests'", "'committee_n_requests'")
            (tmp_path / "input.xml").write_text(names)
            with ipi(tmp_path) as ended:
                end = ended()
            assert table(tmp_path / "run.flags_0").ravel().tolist() == [1, 2, 3, 4]
            # A defect of i-PI 3.3.1, for which the guide recommends the socket.
            assert "TypeError: cannot unpack non-iterable int object" in end.errors
