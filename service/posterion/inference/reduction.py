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
from posterion.uncertainty.calibration import Calibration
from posterion.uncertainty.domain import TrainingDomain
from posterion.uncertainty.flags import domain_flags, latent_flags, spread_flags
from posterion.uncertainty.latent_density import LatentDensity
from posterion.uncertainty.latent_force import latent_force_std
from posterion.uncertainty.mixture import bank_moments

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answers:
    """What the samples say of one structure, float64 on the CPU; axes as NetworkOutputs.

    ``latent_scores`` are those of the bank's latent density, shape ``(n_atoms,)``, if it has
    one.
    """

    energies: Tensor
    forces: Tensor
    stress: Tensor | None
    force_std: Tensor
    energy_std: Tensor
    force_epistemic_std: Tensor | None
    latent_scores: FloatArray | None

    @property
    def finite(self) -> bool:
        tensors = (
            self.energies,
            self.forces,
            self.stress,
            self.force_std,
            self.energy_std,
            self.force_epistemic_std,
        )
        scored = self.latent_scores is None or bool(np.isfinite(self.latent_scores).all())
        return scored and all(bool(t.isfinite().all()) for t in tensors if t is not None)


def reduce_outputs(
    outputs: NetworkOutputs,
    graphs: Sequence[Graph],
    options: EvaluationOptions,
    *,
    calibration: Calibration,
    domain: TrainingDomain,
    latent_density: LatentDensity | None = None,
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
        latent_density: Of the bank, if it has one.

    Returns:
        One prediction per structure; NonFiniteResult for one whose numbers are not finite.
    """
    scores = None
    if latent_density is not None:
        numbers = np.concatenate([graph.structure.atomic_numbers for graph in graphs])
        scores = latent_density.scores(numbers, _exact(outputs.latent[0]).numpy())
        if calibration.latent_force is not None:
            own = latent_force_std(scores, calibration.latent_force)
            outputs = outputs._replace(
                force_epistemic_std=torch.from_numpy(own).expand(len(outputs.energy), -1)
            )
    return [
        _reduce(answers, graph, options, calibration=calibration, domain=domain)
        for answers, graph in zip(_split(outputs, graphs, scores), graphs, strict=True)
    ]


def _split(
    outputs: NetworkOutputs, graphs: Sequence[Graph], scores: FloatArray | None
) -> list[_Answers]:
    sizes = [graph.n_atoms for graph in graphs]
    energies = _exact(outputs.energy)
    energy_std = _exact(outputs.energy_std)
    stress = None if outputs.stress is None else _exact(outputs.stress)
    forces = torch.split(_exact(outputs.forces), sizes, dim=1)
    force_std = torch.split(_exact(outputs.force_std), sizes, dim=1)
    own = outputs.force_epistemic_std
    own_std = None if own is None else torch.split(_exact(own), sizes, dim=1)
    ends = np.cumsum(sizes)
    return [
        _Answers(
            energies=energies[:, index],
            forces=forces[index],
            stress=stress[:, index] if stress is not None and _has_stress(graph) else None,
            force_std=force_std[index],
            energy_std=energy_std[index],
            force_epistemic_std=None if own_std is None else own_std[index],
            latent_scores=None
            if scores is None
            else scores[ends[index] - sizes[index] : ends[index]],
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
    n_samples = len(answers.energies)
    flags: tuple[Flag, ...] = domain_flags(graph, domain)
    if answers.latent_scores is not None:
        latent = latent_flags(answers.latent_scores, n_samples=n_samples, calibration=calibration)
        flags = (*latent, *flags)
    uncertainty = None
    if n_samples >= calibration.fewest_samples:
        # The spread is judged whether or not it was asked for: no answer is unflagged
        # because its uncertainty was not wanted.
        uncertainty = _uncertainty(answers, options, calibration)
        spread = spread_flags(
            uncertainty,
            n_atoms=graph.n_atoms,
            n_samples=n_samples,
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
    """Calibrated standard deviations; needs as many samples as the calibration."""
    factors = calibration.for_samples(len(answers.energies))
    energy = bank_moments(
        answers.energies,
        answers.energy_std.square().expand_as(answers.energies),
        epistemic=None,
    )
    own = answers.force_epistemic_std
    forces = bank_moments(
        answers.forces,
        answers.force_std.square()[:, :, None].expand_as(answers.forces),
        epistemic=None if own is None else own.square()[:, :, None].expand_as(answers.forces),
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
