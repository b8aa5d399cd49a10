"""The Fortran module: certified, checked at run time, and clear about failures."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from posterion_client import Client
from posterion_client.selftest._driver import run_driver
from posterion_client.selftest._fortran import FortranCode
from posterion_client.selftest._native import Build, run, sources
from posterion_client.selftest._reference import reference_prediction, reference_trace
from posterion_client.selftest._run import certify
from tests.support.fake_backend import OLDER, SpringBackend
from tests.support.native_jobs import run_failing, spring_job
from tests.support.services import Service
from tests.support.spring_service import spring_service

pytestmark = pytest.mark.clients

SANITIZED = "-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all"

SHAPES = """
program shapes
    use, intrinsic :: iso_c_binding, only: c_double
    use posterion
    implicit none
    type(posterion_session) :: session
    type(posterion_options) :: options
    type(posterion_result) :: found
    real(c_double) :: large(3, 2, 4), forces(3, 2), short(3, 1), spread(1)
    integer :: status

    large = 0.0_c_double
    call session%evaluate(forces, forces, found, status)
    print "(i0, 2a)", status, " ", session%message()
    options%version = "1"
    call session%open("http://127.0.0.1:9", [1, 1], status, options=options)
    print "(i0, 2a)", status, " ", session%message()
    options%version = ""
    options%retry_budget_s = 0.0_c_double
    call session%open("http://127.0.0.1:9", [1, 1], status, options=options)
    call session%evaluate(large(:, :, 1), short, found, status)
    print "(i0, 2a)", status, " ", session%message()
    call session%evaluate(large(:, :, 1), forces, found, status, force_epistemic=spread)
    print "(i0, 2a)", status, " ", session%message()
    call session%evaluate(large(:, 1, :), large(:, 2, :), found, status)
    print "(i0, 2a)", status, " ", session%message()
    call session%evaluate(large(:, :, 2), forces, found, status)
    print "(i0, 2a)", status, " ", session%code()
    print "(i0, 2a)", posterion_atomic_number("Si"), " ", posterion_status_name(status)
    call session%close()
    call session%close()
end program shapes
"""


@pytest.fixture(scope="module")
def driver() -> Path:
    """The driver, with gfortran's own checks and under the sanitizers."""
    return _build().made("selftest_fortran")


_BUILDS: list[Build] = []


def _build() -> Build:
    if not _BUILDS:
        _BUILDS.append(Build("c", {"CFLAGS": SANITIZED, "FFLAGS": f"{SANITIZED} -fcheck=all"}))
    return _BUILDS[0]


@pytest.fixture(scope="module", autouse=True)
def _removed() -> Iterator[None]:
    yield
    _BUILDS.clear()


def test_it_is_certified(bundled_service: Service) -> None:
    with Client(bundled_service.url) as client:
        certificate = certify(FortranCode(), client, told=lambda _: None)
    assert certificate.holds, certificate.table()
    assert "skipped" not in {check.verdict for check in certificate.checks}


def test_it_carries_every_number(driver: Path) -> None:
    with spring_service() as service, Client(service.url) as client:
        job = spring_job(service.url, n_steps=20)
        found = run_driver(driver, job)
        assert np.abs(found.total - reference_trace(client, job).total).max() < 1e-12
        right = reference_prediction(client, job)
    assert np.array_equal(found.forces, right.forces)
    assert found.stress is not None
    assert right.stress is not None
    assert np.array_equal(found.stress, right.stress)
    assert right.uncertainty is not None
    assert found.force_epistemic_max == right.uncertainty.forces.max
    assert found.n_requests == 21


def test_the_example_runs_and_leaks_nothing(bundled_service: Service) -> None:
    program = Build("c", {"FFLAGS": "-g -O1"})
    watched = ["valgrind", "-q", "--leak-check=full", "--error-exitcode=9"]
    command = [str(program.made("nve_fortran")), bundled_service.url, "4"]
    output = run([*(watched if shutil.which("valgrind") else []), *command])
    rows = np.array([line.split() for line in output.splitlines()], dtype=np.float64)
    assert rows.shape == (5, 4)
    assert np.ptp(rows[:, 3]) < 0.01


def test_shapes_and_slices(tmp_path: Path) -> None:
    build = _build()
    library, module = build.made("libposterion.a"), build.made("posterion_fortran.o")
    (tmp_path / "shapes.f90").write_text(SHAPES)
    flags = ["-std=f2003", "-Wall", "-Wextra", "-Werror", "-fcheck=all", *SANITIZED.split()]
    run(
        ["gfortran", *flags, f"-I{library.parent}", "shapes.f90", str(module), str(library),
         "-lcurl", "-pthread", "-o", "shapes"],
        cwd=tmp_path,
    )  # fmt: skip
    lines = run([str(tmp_path / "shapes")]).splitlines()
    assert lines == [
        "1 no-handle: nothing was opened, or memory is out",
        "1 invalid-argument: a version is of a model: give its name too",
        "1 invalid-argument: arrays of different shapes",
        "1 invalid-argument: arrays of different shapes",
        "1 invalid-argument: the number of atoms has changed from 2 to 4",
        "3 connection-failed",
        "14 connection-failed",
    ]


class TestFailures:
    def test_nobody_is_there(self, driver: Path) -> None:
        said = run_failing(driver, spring_job("http://127.0.0.1:9"), retry_s=1.0)
        assert said.startswith("connection-failed: no connection to http://127.0.0.1:9: ")
        assert said.endswith("[gave up after 2 attempts]")

    def test_the_model_does_not_know_an_element(self, driver: Path) -> None:
        with spring_service() as service:
            said = run_failing(driver, spring_job(service.url, numbers=(8, 92, 1)))
        assert said == "unsupported-element: the model has not seen one of the elements"

    def test_a_number_is_not_finite(self, driver: Path) -> None:
        with spring_service(SpringBackend(poison=float("nan"))) as service:
            said = run_failing(driver, spring_job(service.url))
        assert said.startswith("non-finite-result: ")

    def test_another_version_answers(self, driver: Path) -> None:
        with spring_service() as service:
            said = run_failing(driver, spring_job(service.url, digest=OLDER))
        assert said.startswith("version-moved: ")


def test_the_module_is_fortran_2003() -> None:
    """No line is longer than the standard allows."""
    text = (sources("c") / "posterion.f90").read_text()
    assert max(map(len, text.splitlines())) <= 132
