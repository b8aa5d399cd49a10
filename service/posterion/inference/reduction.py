"""How the answers of all samples become one prediction per structure, with its flags."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posterion.errors import NonFiniteResult, PosterionError
from posterion.graph.batch import Graph
from posterion.inference.answers import Answers, FloatArray
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
        if answers.finite:
            return list(self.predict(answers, graphs, options))
        return [
            self.predict_one(one, graph, options)
            for one, graph in zip(answers.apart(graphs), graphs, strict=True)
        ]

    def scores(self, outputs: NetworkOutputs, graphs: Sequence[Graph]) -> FloatArray | None:
        """Latent scores of all atoms, by the first sample of the bank.

        Args:
            outputs: Whose first sample is the bank's.
            graphs: The structures of the batch, in its order.
        """
        if self.latent_density is None:
            return None
        numbers = np.concatenate([graph.structure.atomic_numbers for graph in graphs])
        return self.latent_density.scores(numbers, exact(outputs.latent[0]).numpy())

    def answers(
        self, outputs: NetworkOutputs, graphs: Sequence[Graph], scores: FloatArray | None
    ) -> Answers:
        """Read the outputs of a batch.

        Args:
            outputs: What the engine answered.
            graphs: The structures of the batch, in its order.
            scores: Latent scores of their atoms.
        """
        own = outputs.force_epistemic_std
        rule = self.calibration.latent_force
        if rule is not None and scores is not None:
            own = torch.from_numpy(latent_force_std(scores, rule)).expand(len(outputs.energy), -1)
        return Answers(
            n_atoms=tuple(graph.n_atoms for graph in graphs),
            energies=exact(outputs.energy),
            forces=exact(outputs.forces),
            stress=None if outputs.stress is None else exact(outputs.stress),
            force_std=exact(outputs.force_std),
            energy_std=exact(outputs.energy_std),
            force_epistemic_std=None if own is None else exact(own),
            latent_scores=scores,
        )

    def predict_one(
        self, answers: Answers, graph: Graph, options: EvaluationOptions
    ) -> Prediction | PosterionError:
        """Reduce the samples of one structure.

        Args:
            answers: Of its samples.
            graph: The structure.
            options: What is wanted.

        Returns:
            The prediction; NonFiniteResult if a number is not finite.
        """
        if not answers.finite:
            return NonFiniteResult("the model answered NaN or infinity for this structure")
        (prediction,) = self.predict(answers, [graph], options)
        return prediction

    def predict(
        self, answers: Answers, graphs: Sequence[Graph], options: EvaluationOptions
    ) -> Iterator[Prediction]:
        """Reduce the samples of every structure.

        The mean forces are the mean of the samples' forces, hence the exact gradient of the
        mean energy.

        Args:
            answers: All finite.
            graphs: The structures.
            options: What is wanted.

        Yields:
            One prediction per structure.
        """
        n_samples = len(answers.energies)
        judged: Sequence[Uncertainty | None] = [None] * len(graphs)
        if n_samples >= self.calibration.fewest_samples:
            # The spread is judged whether or not it was asked for: no answer is unflagged
            # because its uncertainty was not wanted.
            judged = calibrated_uncertainties(answers, options, self.calibration)
        energies = answers.energies.mean(dim=0).tolist()
        forces = answers.forces.mean(dim=0).numpy()
        stress = None if answers.stress is None else answers.stress.mean(dim=0).numpy()
        for index, (graph, atoms) in enumerate(zip(graphs, answers.rows, strict=True)):
            scores = None if answers.latent_scores is None else answers.latent_scores[atoms]
            has_stress = stress is not None and graph.structure.fully_periodic
            yield Prediction(
                energy=energies[index],
                forces=_own(forces[atoms]),
                stress=_own(stress[index]) if stress is not None and has_stress else None,
                uncertainty=judged[index] if options.uncertainty else None,
                flags=self._flags(graph, judged[index], scores, n_samples),
                n_samples=n_samples,
            )

    def _flags(
        self,
        graph: Graph,
        uncertainty: Uncertainty | None,
        scores: FloatArray | None,
        n_samples: int,
    ) -> tuple[Flag, ...]:
        spread: tuple[Flag, ...] = ()
        latent: tuple[Flag, ...] = ()
        if uncertainty is not None:
            spread = spread_flags(
                uncertainty,
                n_atoms=graph.n_atoms,
                n_samples=n_samples,
                calibration=self.calibration,
            )
        if scores is not None:
            latent = latent_flags(scores, n_samples=n_samples, calibration=self.calibration)
        return (*spread, *latent, *domain_flags(graph, self.domain))


def calibrated_uncertainties(
    answers: Answers, options: EvaluationOptions, calibration: Calibration
) -> list[Uncertainty]:
    """Calibrated standard deviations of each structure.

    Args:
        answers: Of as many samples as the calibration needs.
        options: Whether to add what each sample answers.
        calibration: The bank's.
    """
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
    energy_epistemic = (factors.energy.factor * energy.epistemic.sqrt()).tolist()
    energy_aleatoric = (factors.energy.factor * energy.aleatoric.sqrt()).tolist()
    forces_epistemic = (factors.forces.factor * forces.epistemic.sqrt()).numpy()
    forces_aleatoric = (factors.forces.factor * forces.aleatoric[:, 0].sqrt()).numpy()
    return [
        Uncertainty(
            calibrated=True,
            energy_epistemic=energy_epistemic[index],
            energy_aleatoric=energy_aleatoric[index],
            forces_epistemic=_own(forces_epistemic[atoms]),
            forces_aleatoric=_own(forces_aleatoric[atoms]),
            samples=_samples(answers, index, atoms, options),
        )
        for index, atoms in enumerate(answers.rows)
    ]


def _samples(
    answers: Answers, index: int, atoms: slice, options: EvaluationOptions
) -> SampleOutputs | None:
    if options.samples == "none":
        return None
    stress = answers.stress if options.samples == "full" else None
    return SampleOutputs(
        energies=_own(answers.energies[:, index].numpy()),
        forces=_own(answers.forces[:, atoms].numpy()) if options.samples == "full" else None,
        stress=None if stress is None else _own(stress[:, index].numpy()),
    )


def exact(tensor: Tensor) -> Tensor:
    """In float64 on the CPU."""
    return tensor.detach().to(device="cpu", dtype=torch.float64)


def _own(part: FloatArray) -> FloatArray:
    """A copy that does not keep the batch's memory alive."""
    return np.array(part, dtype=np.float64, order="C")
