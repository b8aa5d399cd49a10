"""Which share of simulations through the service is stable, and was it flagged before the rest?

    python -m benchmarks.md_stability [--store STORE] [--bank NAME] [--quick]

Serves a bank on a free loopback port and runs ASE's dynamics on it through the calculator of
the client: Langevin and constant energy, several temperatures and seeds. Each run ends at its
last step or when it explodes (``benchmarks/explosion.py``). Runs go on at the same time, so
that the service evaluates them in batches; with ``--parallel 1`` they repeat bit by bit.
The result is ``benchmarks/results/md_stability/BANK-VERSION.json``, written anew after each run.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Final

import ase.io
import torch
from ase import Atoms
from ase.build import molecule
from ase.optimize import BFGS
from pydantic import JsonValue

from benchmarks.explosion import CHANCE, Course, Ensemble, Plan, Warnings, criteria, follow
from posterion.demo.service import running_service
from posterion.evaluation.flag_table import Proportion
from posterion.evaluation.record import hardware
from posterion_client import Client, ModelIdentity, PredictOptions
from posterion_client.ase import PosterionCalculator
from posterion_store.names import utc_now

RESULTS: Final = Path(__file__).parent / "results" / "md_stability"
ENSEMBLES: Final[tuple[Ensemble, ...]] = ("langevin", "nve")
TEMPERATURES_K: Final = (300.0, 500.0, 1000.0, 2000.0)
RELAXED_FORCE: Final = 0.05
RELAXATION_STEPS: Final = 300
QUICK_STEPS: Final = 20


def plans(
    temperatures_K: Sequence[float],  # noqa: N803 - a unit
    *,
    n_seeds: int,
    n_steps: int,
    timestep_fs: float,
) -> list[Plan]:
    """Every run, one seed of everything before the next."""
    return [
        Plan(
            ensemble=ensemble,
            temperature_K=temperature_K,
            seed=seed,
            n_steps=n_steps,
            timestep_fs=timestep_fs,
        )
        for seed, ensemble, temperature_K in itertools.product(
            range(n_seeds), ENSEMBLES, temperatures_K
        )
    ]


def simulate(client: Client, relaxed: Atoms, plan: Plan, options: PredictOptions) -> Course:
    """One run through the service.

    Args:
        client: Client of the service.
        relaxed: The start; not changed.
        plan: The run.
        options: What to ask for.
    """
    atoms = relaxed.copy()
    with PosterionCalculator(client=client, options=options) as calculator:
        atoms.calc = calculator
        limits = criteria(
            atoms,
            potential=float(atoms.get_potential_energy()),
            temperature_K=plan.temperature_K,
        )

        def read() -> Warnings:
            flags = calculator.flags
            return Warnings(
                flagged=bool(flags), failed=any(flag.severity == "failed" for flag in flags)
            )

        return follow(atoms, plan, limits, read)


def relaxed_start(client: Client, start: Atoms, options: PredictOptions) -> Atoms:
    """The nearest minimum of the bank's energy."""
    atoms: Atoms = start.copy()
    with PosterionCalculator(client=client, options=options) as calculator:
        atoms.calc = calculator
        BFGS(atoms, logfile=None).run(fmax=RELAXED_FORCE, steps=RELAXATION_STEPS)
    atoms.calc = None
    return atoms


def course_document(course: Course) -> dict[str, JsonValue]:
    """Write one run; a thermostat's energy has no drift to speak of."""
    n_steps = len(course.warnings)
    conserving = course.plan.ensemble == "nve"
    return {
        **asdict(course.plan),
        "cause": course.cause,
        "last_step": course.last_step,
        "first_flagged_step": course.first_flagged,
        "first_failed_step": course.first_failed,
        "flagged_fraction": sum(each.flagged for each in course.warnings) / n_steps,
        "failed_fraction": sum(each.failed for each in course.warnings) / n_steps,
        "warned_before_explosion": course.warned_before,
        "drift_mev_per_atom_ps": course.drift if conserving else None,
        "excursion_mev_per_atom": course.excursion if conserving else None,
    }


def summary(courses: Sequence[Course]) -> list[JsonValue]:
    """One row per ensemble and temperature."""
    groups: dict[tuple[str, float], list[Course]] = {}
    for course in courses:
        key = (course.plan.ensemble, course.plan.temperature_K)
        groups.setdefault(key, []).append(course)
    return [
        {"ensemble": ensemble, "temperature_K": temperature_K, **_row(group)}
        for (ensemble, temperature_K), group in sorted(groups.items())
    ]


def _row(group: Sequence[Course]) -> dict[str, JsonValue]:
    stable = [course for course in group if course.cause is None]
    exploded = [course for course in group if course.cause is not None]
    leads = [
        (course.last_step - course.first_failed) * course.plan.timestep_fs
        for course in exploded
        if course.warned_before and course.first_failed is not None
    ]
    answered = [warning for course in stable for warning in course.warnings]
    nve = bool(stable) and stable[0].plan.ensemble == "nve"
    return {
        "stable": _proportion(Proportion(count=len(stable), of=len(group))),
        "failed_flag_before_explosion": _proportion(Proportion(count=len(leads), of=len(exploded))),
        "median_warning_fs": statistics.median(leads) if leads else None,
        "flagged_steps_of_stable_runs": _proportion(
            Proportion(count=sum(each.flagged for each in answered), of=len(answered))
        ),
        "failed_steps_of_stable_runs": _proportion(
            Proportion(count=sum(each.failed for each in answered), of=len(answered))
        ),
        "drift_mev_per_atom_ps": [course.drift for course in stable] if nve else None,
        "largest_excursion_mev_per_atom": max(course.excursion for course in stable)
        if nve
        else None,
    }


def _proportion(proportion: Proportion) -> JsonValue:
    """Counts and fraction; steps of one run depend on each other, so they get no interval."""
    return {"count": proportion.count, "of": proportion.of, "fraction": proportion.fraction}


def run(given: argparse.Namespace) -> Path:
    """Serve the bank and run everything; returns the file of the result."""
    options = PredictOptions(n_samples=given.n_samples)
    wanted = plans(
        given.temperature or TEMPERATURES_K,
        n_seeds=1 if given.quick else given.seeds,
        n_steps=QUICK_STEPS if given.quick else given.steps,
        timestep_fs=given.timestep_fs,
    )
    start = molecule(given.molecule) if given.start is None else next(ase.io.iread(given.start))
    before = time.monotonic()
    with (
        running_service(store=given.store, banks=(given.bank,), in_process=True) as service,
        Client(service.url, pin=True) as client,
    ):
        relaxed = relaxed_start(client, start, options)
        identity = client.predict(relaxed, options=options).model
        path: Path = given.results / f"{identity.name}-{identity.version}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        courses: list[Course] = []
        with ThreadPoolExecutor(given.parallel) as pool:
            running = [pool.submit(simulate, client, relaxed, plan, options) for plan in wanted]
            for finished in as_completed(running):
                courses.append(finished.result())
                print(_line(courses[-1]), flush=True)
                document = {
                    "bank": _bank(identity),
                    "molecule": str(relaxed.symbols),
                    "n_runs_wanted": len(wanted),
                    "wall_s": time.monotonic() - before,
                    **_document(given, courses),
                }
                text = json.dumps(document, indent=1, sort_keys=True)
                path.write_text(text + "\n", encoding="utf-8")
    return path


def _document(given: argparse.Namespace, courses: Sequence[Course]) -> dict[str, JsonValue]:
    ordered = sorted(
        courses,
        key=lambda course: (course.plan.ensemble, course.plan.temperature_K, course.plan.seed),
    )
    return {
        "format_version": 1,
        "quick": given.quick,
        "n_parallel": given.parallel,
        "chance_of_energy_limit": CHANCE,
        "summary": summary(ordered),
        "runs": [course_document(course) for course in ordered],
        "load_average": os.getloadavg()[0],
        "created_at": utc_now(),
        "hardware": hardware(torch.device("cpu")),
    }


def _bank(identity: ModelIdentity) -> dict[str, JsonValue]:
    return dict(asdict(identity))


def _line(course: Course) -> str:
    plan = course.plan
    end = "stable" if course.cause is None else f"{course.cause} at step {course.last_step}"
    failed = course.first_failed
    flag = "never failed" if failed is None else f"failed flag from step {failed}"
    return f"  {plan.ensemble} {plan.temperature_K:g} K, seed {plan.seed}: {end}; {flag}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.md_stability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", help="path or URL of the model store; default: the bundled one")
    parser.add_argument("--bank", default="ethanol", help="name of the bank")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--molecule", default="CH3CH2OH", help="a molecule ASE can build")
    start.add_argument("--start", type=Path, help="file whose first structure is started from")
    parser.add_argument("--temperature", type=float, action="append", help="K; may be repeated")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each kind")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--timestep-fs", type=float, default=0.5)
    parser.add_argument("--n-samples", type=int, help="first samples of the bank; default: all")
    parser.add_argument("--parallel", type=int, default=8, help="runs at the same time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result")
    parser.add_argument("--quick", action="store_true", help="a few steps, to try it")
    return parser.parse_args()


def main() -> int:
    """Run it and write the result."""
    print(run(_arguments()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
