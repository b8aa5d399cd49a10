"""What a bank answers for structures: the one object that serving and training call."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from posterion.errors import (
    Fault,
    InvalidRequest,
    PosterionError,
    StructureTooLarge,
    UnsupportedElement,
    UnsupportedProperty,
)
from posterion.graph.batch import Graph, bounded_runs, build_graph, collate
from posterion.inference.adaptive import evaluate_adaptively
from posterion.inference.bank import BankEngine
from posterion.inference.engine_choice import choose_engine
from posterion.inference.loading import SampleBank
from posterion.inference.memory import python_memory_error
from posterion.inference.reduction import Reduction
from posterion.structures.evaluation import EvaluationOptions, Precision
from posterion.structures.neighbors import estimate_pairs
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
from posterion_store import Manifest

EDGES_PER_BATCH: Final = 50_000
"""`Predictor.predict` evaluates together what stays below this many edges."""


ATOMS_ALWAYS_LISTED: Final = 500
"""Below this, even all pairs fit into memory."""

ESTIMATE_MARGIN: Final = 1.5
"""How far the estimate of a periodic structure may exceed the limit before it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureLimits:
    """Largest structure that is evaluated.

    Attributes:
        n_atoms: Atoms.
        n_edges: Directed edges within the cutoff.
    """

    n_atoms: int = 100_000
    n_edges: int = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """Which engine answers, and how far from the reference.

    Attributes:
        name: Name of the engine.
        deviation: See `posterion.inference.engine_choice.ChosenEngine`; 0 for the reference.
    """

    name: str
    deviation: float


class Predictor:
    """Evaluates structures with one bank on one device.

    `prepare` may run in any number of threads; evaluations take turns on the device.
    """

    def __init__(
        self,
        bank: SampleBank,
        *,
        device: torch.device | str = "cpu",
        limits: StructureLimits | None = None,
        n_threads: int | None = None,
    ) -> None:
        """Build both engines, so that no request waits for it.

        Args:
            bank: The samples.
            device: Where to evaluate.
            limits: Largest structure; None = the defaults.
            n_threads: Of the single-precision engine on a CPU; None = as many as torch uses.
        """
        self._bank = bank
        self._reduction = Reduction.of(bank)
        self._limits = StructureLimits() if limits is None else limits
        self._elements = np.array(bank.config.elements, dtype=np.int64)
        self._turn = threading.Lock()
        chosen = choose_engine(
            bank.config, bank.reference, bank.parameters, device=device, n_threads=n_threads
        )
        self._engines: dict[Precision, BankEngine] = {
            "float32": chosen.engine,
            "float64": chosen.reference,
        }
        self._deviations: dict[Precision, float] = {"float32": chosen.deviation, "float64": 0.0}

    @property
    def bank(self) -> SampleBank:
        """The samples with their description."""
        return self._bank

    @property
    def name(self) -> str:
        """Bank name."""
        return self._bank.name

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of the manifest."""
        return self._bank.digest

    @property
    def version(self) -> str:
        """First 16 hex digits of the digest."""
        return self._bank.version

    @property
    def manifest(self) -> Manifest:
        """The immutable description of the sample set."""
        return self._bank.manifest

    @property
    def n_samples(self) -> int:
        """Number of posterior samples held."""
        return self._bank.n_samples

    @property
    def cutoff(self) -> float:
        """Radius of the network's neighbourhoods, Angstrom."""
        return self._bank.config.cutoff

    @property
    def engines(self) -> dict[str, EngineReport]:
        """The engine of each precision."""
        return {
            precision: EngineReport(name=engine.name, deviation=self._deviations[precision])
            for precision, engine in self._engines.items()
        }

    def engine(self, options: EvaluationOptions) -> EngineReport:
        """The engine that evaluates with these options."""
        return self.engines[options.precision]

    def n_samples_used(self, options: EvaluationOptions) -> int:
        """Number of posterior samples evaluated with these options.

        Raises:
            InvalidRequest: If the bank has fewer, or a spread is asked of a single one.
        """
        if options.n_samples is None:
            return self.n_samples
        fewest = self._bank.calibration.fewest_samples if options.uncertainty else 1
        if not fewest <= options.n_samples <= self.n_samples:
            wanted = "with" if options.uncertainty else "without"
            detail = (
                f"expected {fewest} to {self.n_samples} samples of bank {self.name} {wanted} "
                f"uncertainty, got {options.n_samples}"
            )
            raise InvalidRequest(detail, faults=(Fault(pointer="/n_samples", detail=detail),))
        return options.n_samples

    def prepare(self, structure: Structure) -> Graph:
        """Check that the bank describes a structure, and find its edges.

        Args:
            structure: A checked structure.

        Returns:
            The graph to evaluate.

        Raises:
            UnsupportedElement: If the network does not know an element.
            UnsupportedProperty: If the structure is charged or not a singlet.
            StructureTooLarge: If it exceeds the limits.
        """
        self._check_elements(structure)
        _check_neutral_singlet(structure)
        if structure.n_atoms > self._limits.n_atoms:
            raise _too_large("atoms", self._limits.n_atoms, structure.n_atoms)
        if structure.n_atoms > ATOMS_ALWAYS_LISTED:
            expected = estimate_pairs(
                structure.positions, structure.cell, structure.pbc, cutoff=self.cutoff
            )
            if expected > ESTIMATE_MARGIN * self._limits.n_edges:
                raise _too_large("edges", self._limits.n_edges, round(expected))
        graph = build_graph(structure, self.cutoff)
        if graph.n_edges > self._limits.n_edges:
            raise _too_large("edges", self._limits.n_edges, graph.n_edges)
        return graph

    def evaluate(
        self, graphs: Sequence[Graph], options: EvaluationOptions
    ) -> list[Prediction | PosterionError]:
        """Evaluate prepared structures as one batch.

        Args:
            graphs: From `prepare`.
            options: Shared by all of them.

        Returns:
            One prediction per graph, in order; NonFiniteResult where a number is not finite.

        Raises:
            InvalidRequest: If the options do not suit the bank.
            MemoryError: If the batch does not fit the device.
        """
        n_samples = self.n_samples_used(options)
        if not graphs:
            return []
        engine = self._engines[options.precision]
        stress = options.stress and any(graph.structure.fully_periodic for graph in graphs)
        with python_memory_error():
            with self._turn:
                if options.adaptive:
                    return evaluate_adaptively(
                        engine, graphs, options, self._reduction, stress=stress
                    )
                batch = collate(graphs, dtype=engine.dtype, device=engine.device)
                outputs = engine.evaluate(batch, n_samples=n_samples, stress=stress)
            return self._reduction.reduce(outputs, graphs, options)

    def predict(
        self, structures: Sequence[Structure], options: EvaluationOptions
    ) -> list[Prediction | PosterionError]:
        """Prepare and evaluate structures, in batches of bounded size.

        Args:
            structures: Checked structures.
            options: Shared by all of them.

        Returns:
            One prediction or error per structure, in order.
        """
        results: list[Prediction | PosterionError | None] = [None] * len(structures)
        graphs: list[tuple[int, Graph]] = []
        for index, structure in enumerate(structures):
            try:
                graphs.append((index, self.prepare(structure)))
            except PosterionError as error:
                results[index] = error
        for run in bounded_runs([graph for _, graph in graphs], n_edges=EDGES_PER_BATCH):
            evaluated = self.evaluate([graph for _, graph in graphs[run]], options)
            for (index, _), result in zip(graphs[run], evaluated, strict=True):
                results[index] = result
        return [result for result in results if result is not None]

    def _check_elements(self, structure: Structure) -> None:
        unknown = np.flatnonzero(~np.isin(structure.atomic_numbers, self._elements))
        if unknown.size == 0:
            return
        known = self._elements.tolist()
        numbers, first = np.unique(structure.atomic_numbers[unknown], return_index=True)
        faults = tuple(
            Fault(
                pointer=f"/numbers/{unknown[place]}",
                detail=f"expected one of the atomic numbers {known}, got {number}",
            )
            for number, place in zip(numbers.tolist(), first, strict=True)
        )
        raise UnsupportedElement(
            f"bank {self.name} knows the atomic numbers {known}, "
            f"the structure also has {numbers.tolist()}",
            faults=faults,
        )


def _check_neutral_singlet(structure: Structure) -> None:
    faults = tuple(
        Fault(pointer=pointer, detail=f"expected {expected}, got {found}")
        for pointer, expected, found in (
            ("/charge", 0, structure.charge),
            ("/spin_multiplicity", 1, structure.spin_multiplicity),
        )
        if found != expected
    )
    if faults:
        raise UnsupportedProperty(
            "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults), faults=faults
        )


def _too_large(what: str, limit: int, found: int) -> StructureTooLarge:
    detail = f"expected at most {limit} {what}, got {found}"
    return StructureTooLarge(detail, faults=(Fault(pointer="", detail=detail),))
