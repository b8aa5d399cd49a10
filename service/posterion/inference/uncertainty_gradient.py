"""The gradient of one measure of uncertainty per structure, by its positions and its cell.

The value is that of the prediction itself, and so are the derivatives by what each sample
says. From there to the positions, the spread of the energy needs no more than the samples'
forces and stress; everything else takes one more pass of the differentiable network
(`posterion.network.pullback`), since no faster engine has second derivatives.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from posterion.errors import Fault, InvalidRequest, NonFiniteResult, PosterionError
from posterion.graph.batch import Graph, collate
from posterion.inference.answers import Answers, FloatArray
from posterion.inference.bank import ReferenceEngine
from posterion.inference.edge_slopes import by_cell, by_positions, slopes_by_edges
from posterion.inference.loading import SampleBank
from posterion.inference.reduction import Reduction, calibrated_uncertainties, exact
from posterion.network.functional import NetworkFunction, NetworkOutputs
from posterion.network.pullback import Cotangents
from posterion.structures.evaluation import EvaluationOptions, GradientScalar, Precision
from posterion.structures.prediction import Prediction, Uncertainty, UncertaintyGradient
from posterion.uncertainty.epistemic_scalars import ForceScalar, energy_slopes, force_scalar
from posterion.uncertainty.latent_force import latent_force_variance_slope


class _Scalars(NamedTuple):
    """Values of all structures, and their derivatives by what the samples say."""

    values: list[float]
    by: Cotangents


class UncertaintyGradients:
    """Differentiates scalars of one bank; calls take turns on the device."""

    def __init__(self, bank: SampleBank, reduction: Reduction, reference: ReferenceEngine) -> None:
        """Share the network of the reference; that of single precision is built when needed.

        Args:
            bank: The samples.
            reduction: Of the bank.
            reference: Its samples in float64.
        """
        self._bank = bank
        self._reduction = reduction
        self._networks: dict[Precision, tuple[NetworkFunction, Tensor]] = {
            "float64": (reference.function, reference.parameters)
        }

    def check(self, options: EvaluationOptions) -> None:
        """Refuse what the bank cannot differentiate.

        Args:
            options: What is wanted.

        Raises:
            InvalidRequest: If a latent score is asked of a bank without a latent density, or
                a gradient together with an adaptive number of samples.
        """
        if options.gradient_of == "latent_score" and self._bank.latent_density is None:
            detail = f"bank {self._bank.name} has no latent density"
            fault = Fault(pointer="/uncertainty/gradient_of", detail=detail)
            raise InvalidRequest(detail, faults=(fault,))
        if options.gradient_of is not None and options.adaptive:
            detail = "expected a number of samples for a gradient, or all"
            raise InvalidRequest(detail, faults=(Fault(pointer="/n_samples", detail=detail),))

    def of(
        self, outputs: NetworkOutputs, graphs: Sequence[Graph], options: EvaluationOptions
    ) -> list[UncertaintyGradient] | None:
        """Differentiate the scalar of every structure of a batch.

        Args:
            outputs: What the engine answered, with stress where `needs_stress` says so.
            graphs: The structures of the batch, in its order.
            options: What is wanted, checked.

        Returns:
            One gradient per structure; None where none is wanted. Those of structures whose
            outputs are not finite are of no use.

        Raises:
            MemoryError: See `posterion.inference.bank.BankEngine`.
        """
        kind = options.gradient_of
        if kind is None:
            return None
        scores = self._reduction.scores(outputs, graphs)
        answers = self._reduction.answers(outputs, graphs, scores)
        if kind == "energy_epistemic":
            return self._of_energy(answers, graphs)
        if kind == "latent_score":
            return self._of_edges(kind, self._score_scalars(outputs, graphs), graphs, options)
        scalars = self._force_scalars(kind, answers, outputs, graphs)
        return self._of_edges(kind, scalars, graphs, options)

    def _uncertainties(self, answers: Answers) -> list[Uncertainty]:
        return calibrated_uncertainties(answers, EvaluationOptions(), self._bank.calibration)

    def _of_energy(self, answers: Answers, graphs: Sequence[Graph]) -> list[UncertaintyGradient]:
        factor = self._bank.calibration.for_samples(len(answers.energies)).energy.factor
        found = []
        for part, graph, uncertainty in zip(
            answers.apart(graphs), graphs, self._uncertainties(answers), strict=True
        ):
            slopes = energy_slopes(uncertainty, part.energies[:, 0].numpy(), factor=factor)
            strain, volume = None, graph.structure.volume
            if part.stress is not None and volume is not None:
                strain = volume * np.tensordot(slopes, part.stress[:, 0].numpy(), axes=1)
            found.append(
                UncertaintyGradient(
                    of="energy_epistemic",
                    value=uncertainty.energy_epistemic,
                    unit="eV",
                    positions=-np.tensordot(slopes, part.forces.numpy(), axes=1),
                    cell=by_cell(graph, strain),
                )
            )
        return found

    def _force_scalars(
        self,
        kind: ForceScalar,
        answers: Answers,
        outputs: NetworkOutputs,
        graphs: Sequence[Graph],
    ) -> _Scalars:
        calibration = self._bank.calibration
        n_samples = len(answers.energies)
        factor = calibration.for_samples(n_samples).forces.factor
        values = []
        by_forces = np.zeros(answers.forces.shape)
        by_variance = np.zeros(sum(answers.n_atoms))
        for atoms, uncertainty in zip(answers.rows, self._uncertainties(answers), strict=True):
            forces = answers.forces[:, atoms].numpy()
            if not np.isfinite(uncertainty.forces_epistemic).all():
                values.append(np.nan)
                continue
            slopes = force_scalar(kind, uncertainty, forces, factor=factor)
            values.append(slopes.value)
            by_forces[:, atoms] = slopes.forces
            by_variance[atoms] = slopes.variance
        by = Cotangents(forces=torch.from_numpy(by_forces))
        rule, scores = calibration.latent_force, answers.latent_scores
        if rule is not None and scores is not None:
            # The rule takes the place of what samples state, here as in the reduction.
            by_score = by_variance * latent_force_variance_slope(scores, rule)
            if by_score.any():
                by = by._replace(latent=self._by_latent(by_score, outputs, graphs))
        elif answers.force_epistemic_std is not None:
            weights = torch.from_numpy(2.0 / n_samples * by_variance)
            by = by._replace(force_epistemic_std=weights * answers.force_epistemic_std)
        return _Scalars(values, by)

    def _score_scalars(self, outputs: NetworkOutputs, graphs: Sequence[Graph]) -> _Scalars:
        scores = self._reduction.scores(outputs, graphs)
        assert scores is not None
        ends = np.cumsum([graph.n_atoms for graph in graphs])
        parts = np.split(scores, ends[:-1])
        by_score = np.zeros_like(scores)
        for part, end in zip(parts, ends, strict=True):
            by_score[end - len(part) + int(part.argmax())] = 1.0
        values = [float(part.max()) for part in parts]
        return _Scalars(values, Cotangents(latent=self._by_latent(by_score, outputs, graphs)))

    def _by_latent(
        self, by_score: FloatArray, outputs: NetworkOutputs, graphs: Sequence[Graph]
    ) -> Tensor:
        """Derivatives by the first sample's final scalars, from those by the scores."""
        density = self._bank.latent_density
        assert density is not None
        numbers = np.concatenate([graph.structure.atomic_numbers for graph in graphs])
        slopes = density.slopes(numbers, exact(outputs.latent[0]).numpy())
        return torch.from_numpy(by_score[:, None] * slopes)

    def _of_edges(
        self,
        kind: GradientScalar,
        scalars: _Scalars,
        graphs: Sequence[Graph],
        options: EvaluationOptions,
    ) -> list[UncertaintyGradient]:
        function, parameters = self._network(options.precision)
        n_samples = None if scalars.by.forces is None else len(scalars.by.forces)
        batch = collate(graphs, dtype=function.dtype, device=function.device)
        edges = slopes_by_edges(function, parameters[: n_samples or 1], batch, scalars.by)
        ends = np.cumsum([graph.n_edges for graph in graphs])
        return [
            _gradient(kind, value, graph, part)
            for value, graph, part in zip(
                scalars.values, graphs, np.split(edges, ends[:-1]), strict=True
            )
        ]

    def _network(self, precision: Precision) -> tuple[NetworkFunction, Tensor]:
        if precision not in self._networks:
            function, parameters = self._networks["float64"]
            single = NetworkFunction(
                function.config, function.reference, dtype=torch.float32, device=function.device
            )
            self._networks[precision] = (single, parameters.to(torch.float32))
        return self._networks[precision]


def needs_stress(options: EvaluationOptions) -> bool:
    """Whether the gradient by the cell is taken from the samples' stress."""
    return options.gradient_of == "energy_epistemic"


def with_gradients(
    results: list[Prediction | PosterionError], found: list[UncertaintyGradient] | None
) -> list[Prediction | PosterionError]:
    """The same results, each with its gradient.

    Args:
        results: One per structure.
        found: Likewise; None = none were wanted.

    Returns:
        NonFiniteResult in the place of a prediction whose gradient is not finite.
    """
    if found is None:
        return results
    return [
        one if isinstance(one, PosterionError) else _joined(one, gradient)
        for one, gradient in zip(results, found, strict=True)
    ]


def _joined(prediction: Prediction, gradient: UncertaintyGradient) -> Prediction | NonFiniteResult:
    cell = np.zeros(0) if gradient.cell is None else gradient.cell
    if not (np.isfinite(gradient.positions).all() and np.isfinite(cell).all()):
        return NonFiniteResult("the gradient of the uncertainty is NaN or infinity")
    return replace(prediction, uncertainty_gradient=gradient)


def _gradient(
    kind: GradientScalar, value: float, graph: Graph, edges: FloatArray
) -> UncertaintyGradient:
    """From derivatives by the edges of a structure to those by positions and cell."""
    return UncertaintyGradient(
        of=kind,
        value=value,
        unit="nat" if kind == "latent_score" else "eV/angstrom",
        positions=by_positions(graph, edges),
        cell=by_cell(graph, graph.vectors.T @ edges),
    )
