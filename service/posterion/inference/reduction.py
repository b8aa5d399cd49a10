"""How the answers of all samples become one prediction per structure, with its flags."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posterion.errors import NonFiniteResult, PosterionError
from posterion.graph.batch import Graph
from posterion.network.functional import NetworkOutputs
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Flag, Prediction, SampleOutputs, Uncertainty
from posterion.uncertainty.calibration import FEWEST_SAMPLES, Calibration
from posterion.uncertainty.domain import TrainingDomain
from posterion.uncertainty.flags import domain_flags, spread_flags
from posterion.uncertainty.mixture import mixture_moments

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answers:
    """What the samples say of one structure, float64 on the CPU; axes as NetworkOutputs."""

    energies: Tensor
    forces: Tensor
    stress: Tensor | None
    force_std: Tensor
    energy_std: Tensor

    @property
    def finite(self) -> bool:
        tensors = (self.energies, self.forces, self.stress, self.force_std, self.energy_std)
        return all(bool(t.isfinite().all()) for t in tensors if t is not None)


def reduce_outputs(
    outputs: NetworkOutputs,
    graphs: Sequence[Graph],
    options: EvaluationOptions,
    *,
    calibration: Calibration,
    domain: TrainingDomain,
) -> list[Prediction | PosterionError]:
    """Reduce the samples of every structure of a batch.

    The mean forces are the mean of the samples' forces, hence the exact gradient of the
    mean energy.

    Args:
        outputs: What the engine answered for the batch.
        graphs: The structures of the batch, in its order.
        options: What is wanted.
        calibration: Factors and thresholds of the bank.
        domain: Training domain of the bank.

    Returns:
        One prediction per structure; NonFiniteResult for one whose numbers are not finite.
    """
    return [
        _reduce(answers, graph, options, calibration=calibration, domain=domain)
        for answers, graph in zip(_split(outputs, graphs), graphs, strict=True)
    ]


def _split(outputs: NetworkOutputs, graphs: Sequence[Graph]) -> list[_Answers]:
    sizes = [graph.n_atoms for graph in graphs]
    energies = _exact(outputs.energy)
    energy_std = _exact(outputs.energy_std)
    stress = None if outputs.stress is None else _exact(outputs.stress)
    forces = torch.split(_exact(outputs.forces), sizes, dim=1)
    force_std = torch.split(_exact(outputs.force_std), sizes, dim=1)
    return [
        _Answers(
            energies=energies[:, index],
            forces=forces[index],
            stress=stress[:, index] if stress is not None and _has_stress(graph) else None,
            force_std=force_std[index],
            energy_std=energy_std[index],
        )
        for index, graph in enumerate(graphs)
    ]


def _has_stress(graph: Graph) -> bool:
    return graph.structure.fully_periodic


def _reduce(
    answers: _Answers,
    graph: Graph,
    options: EvaluationOptions,
    *,
    calibration: Calibration,
    domain: TrainingDomain,
) -> Prediction | PosterionError:
    if not answers.finite:
        return NonFiniteResult("the model answered NaN or infinity for this structure")
    flags: tuple[Flag, ...] = domain_flags(graph, domain)
    uncertainty = None
    if len(answers.energies) >= FEWEST_SAMPLES:
        # The spread is judged whether or not it was asked for: no answer is unflagged
        # because its uncertainty was not wanted.
        uncertainty = _uncertainty(answers, options, calibration)
        spread = spread_flags(
            uncertainty,
            n_atoms=graph.n_atoms,
            n_samples=len(answers.energies),
            calibration=calibration,
        )
        flags = (*spread, *flags)
    return Prediction(
        energy=float(answers.energies.mean()),
        forces=_array(answers.forces.mean(dim=0)),
        stress=None if answers.stress is None else _array(answers.stress.mean(dim=0)),
        uncertainty=uncertainty if options.uncertainty else None,
        flags=flags,
    )


def _uncertainty(
    answers: _Answers, options: EvaluationOptions, calibration: Calibration
) -> Uncertainty:
    """Calibrated standard deviations; needs at least two samples."""
    factors = calibration.for_samples(len(answers.energies))
    energy = mixture_moments(
        answers.energies, answers.energy_std.square().expand_as(answers.energies)
    )
    forces = mixture_moments(
        answers.forces, answers.force_std.square()[:, :, None].expand_as(answers.forces)
    )
    return Uncertainty(
        calibrated=True,
        energy_epistemic=factors.energy.factor * float(energy.epistemic.sqrt()),
        energy_aleatoric=factors.energy.factor * float(energy.aleatoric.sqrt()),
        forces_epistemic=_array(factors.forces.factor * forces.epistemic.sqrt()),
        forces_aleatoric=_array(factors.forces.factor * forces.aleatoric[:, 0].sqrt()),
        samples=_samples(answers, options),
    )


def _samples(answers: _Answers, options: EvaluationOptions) -> SampleOutputs | None:
    if options.samples == "none":
        return None
    full = options.samples == "full"
    return SampleOutputs(
        energies=_array(answers.energies),
        forces=_array(answers.forces) if full else None,
        stress=_array(answers.stress) if full and answers.stress is not None else None,
    )


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().to(device="cpu", dtype=torch.float64)


def _array(tensor: Tensor) -> FloatArray:
    """A copy that does not keep the batch's memory alive."""
    return np.array(tensor.numpy(), dtype=np.float64, order="C")
