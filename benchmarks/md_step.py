"""Steps of molecular dynamics per second, through the service and without it.

    python -m benchmarks.md_step [--ray]
    python -m benchmarks.md_step --quick

Ethanol at constant energy in ASE (velocity Verlet, 0.5 fs), each contender with a trajectory of
its own from the same start, taking turns in every round:

- service: posterion_client's calculator against the service as one process;
- session: the same run over a WebSocket session (`posterion_client.md.MDSession`);
- ray, ray session: the same against Ray Serve behind HAProxy (``--ray``);
- predictor: the same bank in this process, with the same uncertainty and flags, no service;
- committee: what one would write without it: a calculator that loops over the bank's networks in
  eager e3nn and takes mean and spread.

All run the bundled bank with all its samples. ``results/md_step/cpu.json`` has steps per second
and, within each round, the ratio of each contender's time per step to the service's.
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import ase.build
import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray
from pydantic import JsonValue

from benchmarks.stamp import write_result
from posterion.demo.service import running_service
from posterion.graph.batch import build_graph, collate
from posterion.inference.loading import SampleBank, load_bank
from posterion.inference.predictor import Predictor
from posterion.network.functional import NetworkFunction
from posterion.serving.settings import ServeSettings
from posterion.structures.ase_io import structure_from_atoms
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion.uncertainty.mixture import mixture_moments
from posterion_client.ase import PosterionCalculator
from posterion_client.md import MDSession
from posterion_store import Store
from posterion_store.names import DEFAULT_ALIAS

RESULTS: Final = Path(__file__).parent / "results" / "md_step"
BANK: Final = "ethanol"
TEMPERATURE_K: Final = 300.0
TIMESTEP_FS: Final = 0.5
MOLECULE: Final = ase.build.molecule("CH3CH2OH")

Answer = tuple[float, NDArray[np.float64]]


class LocalCalculator(Calculator):
    """Energy and forces from a function in this process."""

    implemented_properties: list[str] = ["energy", "forces"]  # noqa: RUF012 - declared so by ASE

    def __init__(self, evaluate: Callable[[Atoms], Answer]) -> None:
        """Keep the function.

        Args:
            evaluate: Energy in eV and forces in eV/Angstrom of a structure.
        """
        super().__init__()
        self._evaluate = evaluate

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate the structure."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        energy, forces = self._evaluate(self.atoms)
        self.results = {"energy": energy, "forces": forces}


def through_predictor(bank: SampleBank) -> Callable[[Atoms], Answer]:
    """The product's engine, reduction and flags, without a service."""
    predictor = Predictor(bank, device="cpu", n_threads=1)
    options = EvaluationOptions()

    def evaluate(atoms: Atoms) -> Answer:
        (prediction,) = predictor.predict([structure_from_atoms(atoms)], options)
        if not isinstance(prediction, Prediction):
            raise prediction
        return prediction.energy, prediction.forces

    return evaluate


def through_session(session: MDSession) -> Callable[[Atoms], Answer]:
    """A run of an MD code: the version pinned, neighbours listed on the server."""

    def evaluate(atoms: Atoms) -> Answer:
        answer = session.evaluate(atoms.positions)
        return float(answer.energy), answer.forces

    return evaluate


def through_committee(bank: SampleBank) -> Callable[[Atoms], Answer]:
    """A loop over eager networks, their mean and their spread."""
    function = NetworkFunction(bank.config, bank.reference, dtype=torch.float32, device="cpu")
    rows = torch.as_tensor(bank.parameters, dtype=torch.float32)

    def evaluate(atoms: Atoms) -> Answer:
        graph = build_graph(structure_from_atoms(atoms), bank.config.cutoff)
        batch = collate([graph], dtype=torch.float32, device="cpu")
        found = [function.evaluate_one(row, batch, stress=False)[:2] for row in rows]
        energies = torch.cat([energy.detach() for energy, _ in found]).double()
        forces = torch.cat([force.detach() for _, force in found]).double()
        moments = mixture_moments(forces, torch.zeros_like(forces))
        return float(energies.mean()), moments.mean.numpy()

    return evaluate


def dynamics(calculator: Any) -> VelocityVerlet:  # noqa: ANN401 - ASE has no types
    """A trajectory of ethanol, the same start for every calculator."""
    atoms = MOLECULE.copy()
    thermalize_momenta(atoms, temperature_K=TEMPERATURE_K, rng=np.random.default_rng(0))
    Stationary(atoms)
    atoms.calc = calculator
    return VelocityVerlet(atoms, timestep=TIMESTEP_FS * units.fs)


def take_turns(
    runs: Mapping[str, VelocityVerlet], *, n_rounds: int, n_steps: int
) -> dict[str, NDArray[np.float64]]:
    """Milliseconds per step of every contender in every round, after one to warm up."""
    times = {name: np.empty(n_rounds) for name in runs}
    for run in runs.values():
        run.run(2)
    for index in range(n_rounds):
        for name, run in runs.items():
            begun = time.perf_counter()
            run.run(n_steps)
            times[name][index] = 1e3 * (time.perf_counter() - begun) / n_steps
    return times


def table(times: Mapping[str, NDArray[np.float64]]) -> dict[str, JsonValue]:
    """Medians and quartiles over rounds."""
    return {
        name: {
            "steps_per_second": _quartiles(1e3 / each),
            "milliseconds_per_step": _quartiles(each),
            "time_over_service": _quartiles(each / times["service"]),
        }
        for name, each in times.items()
    }


def _quartiles(values: NDArray[np.float64]) -> list[JsonValue]:
    return [float(f"{np.quantile(values, q):.4g}") for q in (0.5, 0.25, 0.75)]


def measured(*, ray: bool, n_rounds: int, n_steps: int) -> dict[str, JsonValue]:
    """Serve the bundled bank and let all contenders run.

    Args:
        ray: Whether Ray Serve takes part.
        n_rounds: Rounds.
        n_steps: Steps of each contender in a round.
    """
    store = Store.open(ServeSettings().store, read_only=True)
    bank = load_bank(store, BANK, store.resolve(BANK, DEFAULT_ALIAS), device="cpu")
    services = {"service": True, **({"ray": False} if ray else {})}
    with contextlib.ExitStack() as stack:
        runs = {}
        for name, in_process in services.items():
            service = stack.enter_context(
                running_service(store=None, banks=(BANK,), in_process=in_process)
            )
            runs[name] = dynamics(stack.enter_context(PosterionCalculator(service.url)))
            session = MDSession(MOLECULE.numbers, url=service.url)
            ask = through_session(stack.enter_context(session))
            runs["session" if in_process else f"{name} session"] = dynamics(LocalCalculator(ask))
        runs["predictor"] = dynamics(LocalCalculator(through_predictor(bank)))
        runs["committee"] = dynamics(LocalCalculator(through_committee(bank)))
        times = take_turns(runs, n_rounds=n_rounds, n_steps=n_steps)
        totals = {name: float(run.atoms.get_total_energy()) for name, run in runs.items()}
    return {
        "contenders": table(times),
        "n_samples": bank.n_samples,
        "final_total_energy_ev": dict(totals),
        "n_rounds": n_rounds,
        "n_steps": n_steps,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.md_step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ray", action="store_true", help="Ray Serve behind HAProxy as well")
    parser.add_argument("--quick", action="store_true", help="a few steps; writes nothing")
    parser.add_argument("--output", type=Path, default=RESULTS / "cpu.json")
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    torch.set_num_threads(1)
    n_rounds, n_steps = (1, 2) if given.quick else (12, 8)
    document = measured(ray=given.ray, n_rounds=n_rounds, n_steps=n_steps)
    print(json.dumps(document, indent=1), flush=True)
    if not given.quick:
        write_result(given.output, document, packages=("posterion", "ase", "torch", "numba"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
