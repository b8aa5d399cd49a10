"""ASE on Posterion: the numbers of the predictor in process, and every tool of ASE that counts."""

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed
from ase.calculators.socketio import SocketClient, SocketIOCalculator
from ase.io import iread
from ase.md.verlet import VelocityVerlet
from ase.mep import interpolate
from ase.optimize import BFGS, FIRE
from ase.vibrations import Vibrations
from numpy.typing import NDArray

from posterion.bundled import bundled_store
from posterion.inference.loading import load_bank
from posterion.inference.predictor import Predictor
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
from posterion_client import Client, PredictOptions, RetryPolicy
from posterion_client._cli.main import main
from posterion_client.ase import BatchNEB, PosterionCalculator
from posterion_client.selftest import Job
from posterion_client.selftest import Service as Asked
from posterion_client.selftest._ase import AseCode
from posterion_client.selftest._jobs import default_subjects, job_of
from posterion_store import Store
from tests.support.fake_backend import SpringBackend
from tests.support.md_codes import REPOSITORY
from tests.support.services import Service
from tests.support.spring_service import spring_service

pytestmark = pytest.mark.clients

DOUBLE = PredictOptions(precision="float64")
SAME = 1e-12
"""Relative. The service and this process sum in the same order, if not on the same threads."""


@pytest.fixture
def ethanol(bundled_service: Service) -> Iterator[Atoms]:
    atoms = molecule("CH3CH2OH")
    with PosterionCalculator(bundled_service.url) as calculator:
        atoms.calc = calculator
        yield atoms


def n_requests(service: Service) -> float:
    """Predict requests that were answered so far."""
    text = httpx.get(f"{service.url}/metrics", trust_env=False).text
    counts = re.findall(
        r'^posterion_requests_total\{[^}]*route="[^"]*/predict"[^}]*\} (\S+)$', text, re.MULTILINE
    )
    return sum(map(float, counts))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(load_bank(Store.open(bundled_store(), read_only=True), "ethanol"))


class TestNumbers:
    """Against the predictor itself, and an integrator of four lines."""

    @pytest.fixture(params=["free", "periodic"])
    def job(
        self, request: pytest.FixtureRequest, bundled_service: Service, predictor: Predictor
    ) -> Job:
        asked = Asked(
            url=bundled_service.url, model="ethanol", digest=predictor.digest, precision="float64"
        )
        atoms = getattr(default_subjects((1, 6, 8)), request.param)
        return job_of(atoms, asked, n_steps=200)

    @pytest.mark.timeout(600)
    def test_trajectory_is_that_of_the_predictor(self, job: Job, predictor: Predictor) -> None:
        found = AseCode().run(job)
        positions, velocities = job.positions, job.velocities / units.fs
        masses, step = job.masses[:, None], job.timestep_fs * units.fs
        first = here = self.answer(predictor, job, positions)
        potential, total = [], []
        for _ in range(job.n_steps + 1):
            potential.append(here.energy)
            total.append(here.energy + 0.5 * float((masses * velocities**2).sum()))
            halfway = velocities + 0.5 * step * here.forces / masses
            before, positions = positions, positions + step * halfway
            here = self.answer(predictor, job, positions)
            velocities = halfway + 0.5 * step * here.forces / masses
        np.testing.assert_allclose(found.forces, first.forces, rtol=0, atol=SAME)
        np.testing.assert_allclose(found.potential, potential, rtol=SAME)
        np.testing.assert_allclose(found.total, total, rtol=SAME)
        np.testing.assert_allclose(found.positions, before, rtol=0, atol=1e-9)
        if job.cell is not None:
            assert found.stress is not None
            assert first.stress is not None
            np.testing.assert_allclose(found.stress, first.stress, rtol=0, atol=SAME)
        assert first.uncertainty is not None
        assert found.force_epistemic_max == pytest.approx(first.uncertainty.forces_max, rel=1e-9)

    def answer(self, predictor: Predictor, job: Job, positions: NDArray[np.float64]) -> Prediction:
        structure = Structure(
            atomic_numbers=job.numbers,
            positions=positions,
            cell=job.cell,
            pbc=(job.cell is not None,) * 3,
        )
        options = EvaluationOptions(precision="float64", stress=job.cell is not None)
        (found,) = predictor.predict([structure], options)
        assert isinstance(found, Prediction)
        return found


def test_selftest_certifies_the_sdk(
    bundled_service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["selftest", "--client", "ase", "--url", bundled_service.url, "--steps", "20"]
    assert main(arguments) == 0
    assert "FAILED" not in capsys.readouterr().out


class TestTools:
    def test_optimiser_finds_a_minimum_and_vibrations_are_real(
        self, bundled_service: Service, tmp_path: Path
    ) -> None:
        atoms = molecule("CH3CH2OH")
        atoms.calc = PosterionCalculator(bundled_service.url, options=DOUBLE)
        with BFGS(atoms, logfile=None) as optimizer:
            assert optimizer.run(fmax=1e-3, steps=200)
        vibrations = Vibrations(atoms, name=str(tmp_path / "vib"))
        vibrations.run()
        energies = vibrations.get_energies()
        # Six motions of the whole molecule, then the hydroxyl group's rotation, then bonds.
        assert (np.abs(energies[:6]) < 5e-3).all()
        atoms.calc.close()
        real = energies[6:]
        assert (real.imag == 0).all()
        assert 3500 < real.real.max() / units.invcm < 4100

    def test_band_is_one_request_per_evaluation(self, bundled_service: Service) -> None:
        start = molecule("CH3CH2OH")
        end = start.copy()
        end.rotate_dihedral(3, 2, 0, 1, 60)
        images = [start.copy() for _ in range(6)] + [end]
        interpolate(images)
        with Client(bundled_service.url) as client:
            for image in images:
                image.calc = PosterionCalculator(client=client)
            band = BatchNEB(images, method="improvedtangent")
            before = n_requests(bundled_service)
            band.get_forces()
            assert n_requests(bundled_service) - before == 1
            with FIRE(band, logfile=None) as optimizer:
                optimizer.run(fmax=1e-6, steps=4)
            assert n_requests(bundled_service) - before == 5

    def test_socket_client_of_ase_carries_it(self, ethanol: Atoms, tmp_path: Path) -> None:
        port = 31415
        expected = ethanol.get_forces()
        moved = ethanol.copy()

        def provide() -> None:
            SocketClient(host="127.0.0.1", port=port).run(ethanol, use_stress=False)

        with SocketIOCalculator(port=port) as bridge:
            moved.calc = bridge
            thread = threading.Thread(target=provide, daemon=True)
            thread.start()
            np.testing.assert_allclose(moved.get_forces(), expected, atol=1e-6)
            with BFGS(moved, logfile=None) as optimizer:
                optimizer.run(fmax=0.1, steps=5)
        thread.join(20)
        assert not thread.is_alive()


class TestRestart:
    def trajectory(self, replaced_by: SpringBackend | None) -> list[float]:
        """Energies of a run whose service may be replaced after its tenth step."""
        atoms = molecule("H2O")
        energies: list[float] = []
        retry = RetryPolicy(budget_s=20.0, first_delay_s=0.05)
        with ExitStack() as kept, ExitStack() as first:
            service = first.enter_context(spring_service())
            client = kept.enter_context(Client(service.url, retry=retry))
            atoms.calc = PosterionCalculator(client=client)
            dynamics = VelocityVerlet(atoms, timestep=0.05 * units.fs)
            dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
            dynamics.run(10)
            if replaced_by is None:
                dynamics.run(10)
                return energies
            first.close()
            with spring_service(replaced_by, port=service.port):
                dynamics.run(10)
        return energies

    def test_run_outlives_it(self) -> None:
        assert self.trajectory(SpringBackend()) == self.trajectory(None)


def test_guide_runs_as_it_stands(
    bundled_service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (REPOSITORY / "docs/clients/ase.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    monkeypatch.setenv("POSTERION_URL", bundled_service.url)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "ase.md", "exec"), names)  # noqa: S102 - our own text
        for each in list(names.values()):
            calculator = each.calc if isinstance(each, Atoms) else each
            if isinstance(calculator, PosterionCalculator | Client):
                calculator.close()
    assert "uncertainty-exceeded: ended at step" in capsys.readouterr().out
    *_, last = iread(tmp_path / "flagged.extxyz")
    assert last.info["posterion_flags"]
    assert last.arrays["forces_epistemic_std"].shape == (9, 3)


def test_unreachable_service_ends_the_run() -> None:
    atoms = molecule("H2O")
    with Client("http://127.0.0.1:9", retry=RetryPolicy(budget_s=0)) as client:
        atoms.calc = PosterionCalculator(client=client)
        with pytest.raises(CalculationFailed, match="connection-failed"):
            atoms.get_forces()
