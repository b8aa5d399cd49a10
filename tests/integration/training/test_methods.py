"""Every method trains, survives a kill bitwise, is published, and answers as a bank."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from posterion.inference.loading import SampleBank, load_bank
from posterion.inference.predictor import Predictor
from posterion.inference.sample_file import encode_sample
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
from posterion.training.job import collect, finish
from posterion.training.methods.registry import METHODS
from posterion.training.plan import RunPlan, plan_run
from posterion.training.worker import Progress, run_worker
from posterion_store import Store
from posterion_store.names import digest_of
from tests.support.data import morse_frames, write_extxyz
from tests.support.tolerances import DISPLACEMENT, FINITE_DIFFERENCE
from tests.support.training_runs import N_DATA, sampler, training_config

N_FRAMES = N_DATA + 60
KILL_AT_STEP = 15
"""Of 24 or more: two checkpoints are behind it, and it is none."""

SETTINGS: dict[str, dict[str, Any]] = {
    "baoa": sampler() | {"kind": "baoa"},
    "deep-ensemble": {"kind": "deep-ensemble"},
    "evidential": {"kind": "evidential"},
    "latent-mixture": {"kind": "latent-mixture"},
    "last-layer-laplace": {"kind": "last-layer-laplace", "n_samples": 4},
    "mc-dropout": {"kind": "mc-dropout", "rate": 0.3, "n_samples": 4},
    "mean-variance": {"kind": "mean-variance"},
    "sghmc": sampler(),
}
N_MEMBERS = {"baoa": 2, "deep-ensemble": 2, "sghmc": 2}
BY_NORM = ("evidential",)
"""As the single networks of the comparison papers were trained."""
ONLY_BEYOND_TRAINING = ("mean-variance",)
"""One network has no spread, so atoms like those of training have no epistemic part."""
N_SAMPLES = {
    "baoa": 6,
    "deep-ensemble": 2,
    "evidential": 1,
    "latent-mixture": 1,
    "last-layer-laplace": 4,
    "mc-dropout": 4,
    "mean-variance": 1,
    "sghmc": 6,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run that nothing disturbed, and what was published of it."""

    plan: RunPlan
    bank: SampleBank
    predictor: Predictor

    @property
    def kind(self) -> str:
        return self.plan.config.method.kind


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    """What the pictures show is asked elsewhere; drawing them would take half of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, target, **options: target.write(b"picture"))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "frames.extxyz"
    write_extxyz(path, morse_frames(N_FRAMES, seed=8))
    return path


def planned(kind: str, data: Path, folder: Path) -> RunPlan:
    config = training_config(
        files=(data,),
        likelihood={"residual": "norm" if kind in BY_NORM else "component"},
        method=SETTINGS[kind],
        network={"cutoff": 3.0, "n_layers": 1, "n_features": 4, "l_max": 1, "readout_hidden": 4},
        n_chains=N_MEMBERS.get(kind, 1),
        pretraining={"steps": 24, "learning_rate": 0.02, "average_decay": 0.9},
    )
    return plan_run(config, folder)


@pytest.fixture(scope="module", params=sorted(SETTINGS))
def finished(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    plan = planned(request.param, data, tmp_path_factory.mktemp("run"))
    for chains in plan.groups:
        run_worker(plan.task(chains), lambda progress: None)
    store = Store.open("memory://")
    published = finish(plan, store=store, alias="stable", accept_diagnostics=True)
    assert published.folder == plan.folder
    bank = load_bank(store, "water")
    return Finished(plan=plan, bank=bank, predictor=Predictor(bank))


class Killed(BaseException):
    """Ends a worker between two steps, as a signal would."""


def killer(progress: Progress) -> None:
    if progress.step >= KILL_AT_STEP:
        raise Killed


def test_every_kind_is_tried() -> None:
    assert SETTINGS.keys() == N_SAMPLES.keys() == METHODS.keys()


def test_killed_run_gives_the_same_blobs(finished: Finished, data: Path, tmp_path: Path) -> None:
    again = planned(finished.bank.manifest.method, data, tmp_path)
    assert again.fingerprint == finished.plan.fingerprint
    first, *others = again.groups
    with pytest.raises(Killed):
        run_worker(again.task(first), killer)
    run_worker(again.task(first), lambda progress: None)
    for chains in others:
        copytree(finished.plan.task(chains).folder, again.task(chains).folder)
    samples = collect(again).samples
    blobs = [digest_of(encode_sample(row.float().numpy())) for row in samples.parameters]
    published = [f"sha256:{entry.sha256}" for entry in finished.bank.manifest.samples]
    assert blobs == published


def test_manifest_says_what_was_done(finished: Finished) -> None:
    manifest, config, kind = finished.bank.manifest, finished.plan.config, finished.kind
    assert manifest.method == kind
    assert len(manifest.samples) == N_SAMPLES[kind]
    settings = manifest.sampler["method"]
    assert settings == config.method.model_dump(mode="json")
    steps = manifest.diagnostics["gradient_evaluations"]
    assert steps == config.n_chains * finished.plan.method.n_steps
    unit = config.network.noise_scale
    published = unit / np.sqrt(3.0) if kind in BY_NORM else unit
    assert finished.bank.config.noise_scale == pytest.approx(published)
    assert len({entry.sha256 for entry in manifest.samples}) == N_SAMPLES[kind]


def displaced(structure: Structure, by: np.ndarray) -> Structure:
    return Structure(atomic_numbers=structure.atomic_numbers, positions=structure.positions + by)


def test_bank_answers_with_uncertainty(finished: Finished) -> None:
    structures = [frame.structure for frame in morse_frames(3, seed=77)]
    answers = finished.predictor.predict(structures, EvaluationOptions())
    for answer in answers:
        assert isinstance(answer, Prediction)
        assert answer.uncertainty is not None
        epistemic = answer.uncertainty.forces_epistemic
        assert bool((epistemic > 0.0).all()) is (finished.kind not in ONLY_BEYOND_TRAINING)
        assert bool((epistemic == 0.0).any()) is (finished.kind in ONLY_BEYOND_TRAINING)
        assert bool(np.isfinite(answer.forces).all())
        assert bool((answer.uncertainty.forces_total > 0.0).all())


def test_strange_atoms_have_an_epistemic_part_whatever_the_method(finished: Finished) -> None:
    """One network has no spread: the density of its training atoms speaks for it."""
    (structure,) = (frame.structure for frame in morse_frames(1, seed=79))
    (answer,) = finished.predictor.predict(
        [displaced(structure, 0.3 * structure.positions)], EvaluationOptions()
    )
    assert isinstance(answer, Prediction)
    assert answer.uncertainty is not None
    assert bool((answer.uncertainty.forces_epistemic > 0.0).any())


def test_forces_are_the_gradient_of_the_mean_energy(finished: Finished) -> None:
    """In float64: published samples are fixed, whatever was random while they were made."""
    (structure,) = (frame.structure for frame in morse_frames(1, seed=78))
    rng = np.random.default_rng(1)
    direction = rng.normal(size=(structure.n_atoms, 3))
    direction /= np.linalg.norm(direction)
    ahead, here, behind = finished.predictor.predict(
        [displaced(structure, sign * DISPLACEMENT * direction) for sign in (1.0, 0.0, -1.0)],
        EvaluationOptions(precision="float64"),
    )
    assert isinstance(ahead, Prediction)
    assert isinstance(here, Prediction)
    assert isinstance(behind, Prediction)
    slope = (ahead.energy - behind.energy) / (2.0 * DISPLACEMENT)
    scale = float(np.abs(here.forces).max())
    assert slope == pytest.approx(
        -float((here.forces * direction).sum()), abs=FINITE_DIFFERENCE * scale
    )
