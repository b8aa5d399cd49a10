"""What a bank answers for structures: the one object that serving and training call."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from posterion.errors import (
    Fault,
    InvalidRequest,
    PosterionError,
)
from posterion.graph.batch import Graph, bounded_runs, build_graph, collate
from posterion.graph.skin import SkinList
from posterion.inference.adaptive import evaluate_adaptively
from posterion.inference.bank import BankEngine
from posterion.inference.engine_choice import EngineSetting, choose_engine
from posterion.inference.loading import SampleBank
from posterion.inference.memory import python_memory_error
from posterion.inference.reduction import Reduction
from posterion.inference.structure_checks import StructureChecks, StructureLimits, list_pairs
from posterion.inference.uncertainty_gradient import (
    UncertaintyGradients,
    needs_stress,
    with_gradients,
)
from posterion.structures.evaluation import EvaluationOptions, Precision
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
from posterion_store import Manifest

EDGES_PER_BATCH: Final = 50_000
"""`Predictor.predict` evaluates together what stays below this many edges."""


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
        engine: EngineSetting = "auto",
    ) -> None:
        """Build both engines, so that no request waits for it.

        Args:
            bank: The samples.
            device: Where to evaluate.
            limits: Largest structure; None = the defaults.
            n_threads: Of the single-precision engine on a CPU; None = as many as torch uses.
            engine: For single precision; see `choose_engine`.

        Raises:
            ConfigurationError: If the engine asked for cannot be used.
        """
        self._bank = bank
        self._reduction = Reduction.of(bank)
        self._checks = StructureChecks(
            bank=bank.name,
            elements=bank.config.elements,
            limits=StructureLimits() if limits is None else limits,
        )
        self._turn = threading.Lock()
        chosen = choose_engine(
            bank.config,
            bank.reference,
            bank.parameters,
            device=device,
            n_threads=n_threads,
            setting=engine,
        )
        self._gradients = UncertaintyGradients(bank, self._reduction, chosen.reference)
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
            InvalidRequest: If the bank has fewer, a spread is asked of a single one, or a
                gradient of what the bank does not have.
        """
        self._gradients.check(options)
        if options.n_samples is None:
            return self.n_samples
        fewest = self._bank.calibration.fewest_samples if options.needs_spread else 1
        if not fewest <= options.n_samples <= self.n_samples:
            wanted = "with" if options.needs_spread else "without"
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
        self._checks.check(structure, cutoff=self.cutoff)
        return self._checks.bounded(build_graph(structure, self.cutoff))

    def skin_list(self, skin: float) -> SkinList:
        """Neighbours of a structure that will move, for `prepare_again`.

        Args:
            skin: How far beyond the cutoff they are listed, Angstrom.
        """
        return SkinList(self.cutoff, skin)

    def prepare_again(self, structure: Structure, neighbors: SkinList, *, max_pairs: int) -> Graph:
        """The same as `prepare` for a structure whose atoms have moved.

        Args:
            structure: From `Structure.moved`, or the first one.
            neighbors: Of this structure alone.
            max_pairs: Most pairs in a new list, those in the skin included.

        Returns:
            The graph that `prepare` would make.

        Raises:
            InvalidStructure: If atoms coincide.
            UnsupportedElement: As `prepare`.
            UnsupportedProperty: As `prepare`.
            StructureTooLarge: As `prepare`.
            TooLarge: If a new list would be too long.
        """
        graph = neighbors.reuse(structure)
        if graph is None:
            self._checks.check(structure, cutoff=self.cutoff)
            graph = list_pairs(structure, neighbors, max_pairs=max_pairs)
        return self._checks.bounded(graph)

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
        periodic = any(graph.structure.fully_periodic for graph in graphs)
        stress = periodic and (options.stress or needs_stress(options))
        with python_memory_error():
            with self._turn:
                if options.adaptive:
                    return evaluate_adaptively(
                        engine, graphs, options, self._reduction, stress=stress
                    )
                batch = collate(graphs, dtype=engine.dtype, device=engine.device)
                outputs = engine.evaluate(batch, n_samples=n_samples, stress=stress)
                found = self._gradients.of(outputs, graphs, options)
            if not options.stress:
                outputs = outputs._replace(stress=None)
            return with_gradients(self._reduction.reduce(outputs, graphs, options), found)

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
