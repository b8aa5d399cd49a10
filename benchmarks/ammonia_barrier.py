"""How high is the inversion barrier of ammonia, and does the bank know how well it knows it?

    python -m benchmarks.ammonia_barrier WORK --data DIR [--method M] [--seed N] [--quick]

Trains a bank on low-energy frames of ammonia, serves it, and finds the minimum-energy path
through the service: every iteration of the climbing band is one request. The samples' energies
along the path give a barrier per posterior sample, and so an interval. The reference is
optimised with PySCF at the level of the frames, after a check that it is that level.

A method and a seed give ``benchmarks/results/ammonia_barrier/METHOD-SEED.json``; what exists is
not run again, a killed run continues from its checkpoints. WORK lies outside the repository.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from ase.optimize import BFGS
from pydantic import JsonValue

from benchmarks.ammonia_reference import DATA_FILE, LEVEL, agreement, reference_barrier
from benchmarks.inversion_path import Answers, Ask, ReactionPath, barrier_of, climb, mirrored
from benchmarks.uq_methods import CONTENDERS, sections
from benchmarks.uq_tasks import SMALL_NETWORK, SPLIT_SEED
from posterion.demo.service import running_service
from posterion.evaluation.record import hardware
from posterion.training.config import TrainingConfig
from posterion.training.job import train
from posterion.training.worker import Progress
from posterion_client import Client, Prediction, PredictOptions
from posterion_client.ase import PosterionCalculator
from posterion_store import Store
from posterion_store.names import utc_now

RESULTS: Final = Path(__file__).parent / "results" / "ammonia_barrier"
BUDGET: Final = 6_000
"""Minibatch gradients over all members, as ``benchmarks/uq_methods.py`` spends them."""

QUICK_BUDGET: Final = 4_400
N_IMAGES: Final = 9
LARGEST_FORCE: Final = 0.01
"""Of the relaxed minimum and of the band, eV/Angstrom."""

DEFAULT_METHOD: Final = "sghmc-2"


def configuration(method: str, data: Path, *, seed: int, budget: int) -> TrainingConfig:
    """The training run: every frame of the file has a part in it."""
    return TrainingConfig.model_validate(
        {
            "name": f"ammonia-{method}-{seed}",
            "description": "Benchmark ammonia_barrier: ammonia up to 0.5 eV above its minimum.",
            "licence": "not for distribution",
            "level_of_theory": "BP86-D3/def2-SVP",
            "data_source": "learningmatter-mit/Atomistic-Adversarial-Attacks, MIT",
            "batch_size": 5,
            "seed": seed,
            "data": {
                "files": [str(data / DATA_FILE)],
                "n_train": 75,
                "n_calibration": 20,
                "n_report": 12,
                "seed": SPLIT_SEED,
            },
            "network": dict(SMALL_NETWORK),
            "execution": {"compile": "never", "checkpoint_every": 200},
            **sections(CONTENDERS[method], budget=budget, epsilon=0.025),
        }
    )


def asking(client: Client, model: str) -> Ask:
    """The service as a potential."""
    options = PredictOptions(samples="energy")

    def ask(images: Sequence[Atoms]) -> Answers:
        return _answers(client.predict_many(list(images), model=model, options=options))

    return ask


def _answers(predictions: Sequence[Prediction]) -> Answers:
    spreads = [prediction.uncertainty for prediction in predictions]
    samples = [spread.samples.energies for spread in spreads if spread and spread.samples]
    return Answers(
        energies=np.array([prediction.energy for prediction in predictions]),
        forces=np.stack([prediction.forces for prediction in predictions]),
        sample_energies=np.stack(samples),
        epistemic=np.array([spread.energy.epistemic for spread in spreads if spread]),
        failed=np.array(
            [any(flag.severity == "failed" for flag in each.flags) for each in predictions]
        ),
    )


def path_through_service(url: str, model: str) -> ReactionPath:
    """Relax the pyramid and the band, with forces that come over HTTP."""
    with Client(url, pin=True) as client:
        pyramid = molecule("NH3")
        pyramid.calc = PosterionCalculator(client=client, model=model)
        BFGS(pyramid, logfile=None).run(fmax=LARGEST_FORCE, steps=100)
        pyramid.calc = None
        return climb(
            pyramid,
            mirrored(pyramid),
            asking(client, model),
            n_images=N_IMAGES,
            largest_force=LARGEST_FORCE,
        )


def judged(path: ReactionPath, reference: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Barrier, interval and the error along the path, against PySCF on the same geometries."""
    barrier = barrier_of(path.answers)
    truth = float(reference["barrier_ev"])
    energies = []
    for image in path.images:
        atoms = image.copy()
        atoms.calc = LEVEL.calculator()
        energies.append(float(atoms.get_potential_energy()))
    relative = np.array(energies) - energies[0]
    answers = path.answers
    spread = answers.sample_energies - answers.sample_energies[0]
    inside = {
        name: None if ends is None else bool(ends[0] <= truth <= ends[1])
        for name, ends in (
            ("interval", barrier.interval),
            ("calibrated_interval", barrier.calibrated_interval),
        )
    }
    several = answers.sample_energies.shape[1] > 1
    return {
        "barrier": json.loads(json.dumps(asdict(barrier))),
        "error_ev": barrier.value - truth,
        "reference_inside": dict(inside),
        "n_requests": path.n_requests,
        "residual_ev_per_angstrom": path.residual,
        "path": {
            "energy_ev": (answers.energies - answers.energies[0]).tolist(),
            "std_ev": spread.std(axis=1, ddof=1).tolist() if several else None,
            "reference_energy_ev": relative.tolist(),
            "failed_flag": answers.failed.tolist(),
        },
    }


def run(method: str, given: argparse.Namespace, reference: Mapping[str, Any]) -> dict[str, Any]:
    """Train (or continue), serve, find the path, judge."""
    budget = QUICK_BUDGET if given.quick else given.budget
    config = configuration(method, given.data, seed=given.seed, budget=budget)
    store = Store.open(str(given.work / "store"))
    published = train(
        config,
        store=store,
        folder=given.work / "runs" / f"{config.name}-{budget}",
        report=_Milestones(config.name),
        accept_diagnostics=True,
    )
    with running_service(store=store.url, banks=(config.name,), in_process=True) as service:
        path = path_through_service(service.url, config.name)
    return {
        "format_version": 1,
        "method": method,
        "seed": given.seed,
        "quick": given.quick,
        "budget_gradient_evaluations": budget,
        "digest": published.digest,
        "metrics": dict(published.metrics),
        "diagnostics": dict(published.diagnostics),
        "configuration": config.model_dump(mode="json", exclude={"data", "execution"}),
        **judged(path, reference),
        "reference": dict(reference),
        "created_at": utc_now(),
        "hardware": hardware(torch.device("cpu")),
        "load_average": os.getloadavg()[0],
    }


class _Milestones:
    """Prints a line a minute: the output may be a log file."""

    def __init__(self, name: str) -> None:
        """Print nothing yet."""
        self._name = name
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        """Take a sign of life."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 60.0
            print(
                f"  {self._name} {progress.step}/{progress.n_steps} {progress.message}", flush=True
            )


def _reference(given: argparse.Namespace) -> dict[str, Any]:
    path = given.results / "reference.json"
    if not path.exists():
        _write(path, {**reference_barrier(), "agreement": agreement(given.data / DATA_FILE)})
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ammonia_barrier",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("work", type=Path, help="folder for runs and store, outside the repository")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument(
        "--method", action="append", choices=list(CONTENDERS), help=f"default: {DEFAULT_METHOD}"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=BUDGET, help="minibatch gradients")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="a small budget, to try it")
    return parser.parse_args()


def main() -> int:
    """Run every method whose result is missing."""
    given = _arguments()
    reference = _reference(given)
    for method in given.method or [DEFAULT_METHOD]:
        path = given.results / f"{method}-{given.seed}.json"
        if path.exists():
            print(f"{path.name} is there", flush=True)
            continue
        started = time.monotonic()
        document = run(method, given, reference)
        _write(path, document)
        print(
            f"{method}: barrier {document['barrier']['value']:.3f} eV, 90 % interval "
            f"{document['barrier']['interval']}, reference {reference['barrier_ev']:.3f} eV; "
            f"{(time.monotonic() - started) / 60:.1f} min",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
