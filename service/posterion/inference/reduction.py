"""How the answers of all samples become one prediction per structure, with its flags."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posterion.errors import NonFiniteResult, PosterionError
from posterion.graph.batch import Graph
from posterion.inference.loading import SampleBank
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
class Answers:
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
        """Whether every number is."""
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

    def joined(self, more: "Answers") -> "Answers":
        """These samples and further ones of the same structure."""

        def both(here: Tensor | None, there: Tensor | None) -> Tensor | None:
            return None if here is None or there is None else torch.cat([here, there])

        return replace(
            self,
            energies=torch.cat([self.energies, more.energies]),
            forces=torch.cat([self.forces, more.forces]),
            stress=both(self.stress, more.stress),
            force_std=torch.cat([self.force_std, more.force_std]),
            force_epistemic_std=both(self.force_epistemic_std, more.force_epistemic_std),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reduction:
    """What a bank knows that its samples do not.

    Attributes:
        calibration: Factors and thresholds.
        domain: Training domain.
        latent_density: How common environments were, if the bank has a density.
    """

    calibration: Calibration
    domain: TrainingDomain
    latent_density: LatentDensity | None = None

    @classmethod
    def of(cls, bank: SampleBank) -> "Reduction":
        """What a loaded bank knows."""
        return cls(
            calibration=bank.calibration, domain=bank.domain, latent_density=bank.latent_density
        )

    def reduce(
        self, outputs: NetworkOutputs, graphs: Sequence[Graph], options: EvaluationOptions
    ) -> list[Prediction | PosterionError]:
        """Reduce the samples of every structure of a batch.

        Args:
            outputs: What the engine answered; their first sample is the bank's.
            graphs: The structures of the batch, in its order.
            options: What is wanted.

        Returns:
            One prediction per structure; NonFiniteResult for one whose numbers are not finite.
        """
        answers = self.answers(outputs, graphs, self.scores(outputs, graphs))
        return [
            self.predict(one, graph, options) for one, graph in zip(answers, graphs, strict=True)
        ]

    def scores(self, outputs: NetworkOutputs, graphs: Sequence[Graph]) -> list[FloatArray | None]:
        """Latent scores of the atoms of every structure, by the first sample of the bank.

        Args:
            outputs: Whose first sample is the bank's.
            graphs: The structures of the batch, in its order.
        """
        if self.latent_density is None:
            return [None] * len(graphs)
        numbers = np.concatenate([graph.structure.atomic_numbers for graph in graphs])
        scores = self.latent_density.scores(numbers, exact(outputs.latent[0]).numpy())
        ends = np.cumsum([graph.n_atoms for graph in graphs])
        return list(np.split(scores, ends[:-1]))

    def answers(
        self,
        outputs: NetworkOutputs,
        graphs: Sequence[Graph],
        scores: Sequence[FloatArray | None],
    ) -> list[Answers]:
        """Split the outputs of a batch into those of its structures.

        Args:
            outputs: What the engine answered.
            graphs: The structures of the batch, in its order.
            scores: Their latent scores.
        """
        sizes = [graph.n_atoms for graph in graphs]
        own = outputs.force_epistemic_std
        rule = self.calibration.latent_force
        if rule is not None and scores[0] is not None:
            known = np.concatenate([one for one in scores if one is not None])
            own = torch.from_numpy(latent_force_std(known, rule)).expand(len(outputs.energy), -1)
        energies, energy_std = exact(outputs.energy), exact(outputs.energy_std)
        stress = None if outputs.stress is None else exact(outputs.stress)
        forces = torch.split(exact(outputs.forces), sizes, dim=1)
        force_std = torch.split(exact(outputs.force_std), sizes, dim=1)
        own_std = None if own is None else torch.split(exact(own), sizes, dim=1)
        return [
            Answers(
                energies=energies[:, index],
                forces=forces[index],
                stress=stress[:, index] if stress is not None and _has_stress(graph) else None,
                force_std=force_std[index],
                energy_std=energy_std[index],
                force_epistemic_std=None if own_std is None else own_std[index],
                latent_scores=scores[index],
            )
            for index, graph in enumerate(graphs)
        ]

    def predict(
        self, answers: Answers, graph: Graph, options: EvaluationOptions
    ) -> Prediction | PosterionError:
        """Reduce the samples of one structure.

        The mean forces are the mean of the samples' forces, hence the exact gradient of the
        mean energy.

        Args:
            answers: Of its samples.
            graph: The structure.
            options: What is wanted.

        Returns:
            The prediction; NonFiniteResult if a number is not finite.
        """
        if not answers.finite:
            return NonFiniteResult("the model answered NaN or infinity for this structure")
        n_samples = len(answers.energies)
        flags: tuple[Flag, ...] = domain_flags(graph, self.domain)
        if answers.latent_scores is not None:
            latent = latent_flags(
                answers.latent_scores, n_samples=n_samples, calibration=self.calibration
            )
            flags = (*latent, *flags)
        uncertainty = None
        if n_samples >= self.calibration.fewest_samples:
            # The spread is judged whether or not it was asked for: no answer is unflagged
            # because its uncertainty was not wanted.
            uncertainty = calibrated_uncertainty(answers, options, self.calibration)
            spread = spread_flags(
                uncertainty,
                n_atoms=graph.n_atoms,
                n_samples=n_samples,
                calibration=self.calibration,
            )
            flags = (*spread, *flags)
        return Prediction(
            energy=float(answers.energies.mean()),
            forces=_array(answers.forces.mean(dim=0)),
            stress=None if answers.stress is None else _array(answers.stress.mean(dim=0)),
            uncertainty=uncertainty if options.uncertainty else None,
            flags=flags,
            n_samples=n_samples,
        )


def _has_stress(graph: Graph) -> bool:
    return graph.structure.fully_periodic


def calibrated_uncertainty(
    answers: Answers, options: EvaluationOptions, calibration: Calibration
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


def _samples(answers: Answers, options: EvaluationOptions) -> SampleOutputs | None:
    if options.samples == "none":
        return None
    full = options.samples == "full"
    return SampleOutputs(
        energies=_array(answers.energies),
        forces=_array(answers.forces) if full else None,
        stress=_array(answers.stress) if full and answers.stress is not None else None,
    )


def exact(tensor: Tensor) -> Tensor:
    """In float64 on the CPU."""
    return tensor.detach().to(device="cpu", dtype=torch.float64)


def _array(tensor: Tensor) -> FloatArray:
    """A copy that does not keep the batch's memory alive."""
    return np.array(tensor.numpy(), dtype=np.float64, order="C")
