"""Methods whose members are networks optimised to a mode: deep ensembles and single networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import JsonValue
from torch import Tensor

from posterion.training.config import TrainingConfig
from posterion.training.history import column
from posterion.training.likelihood import ForceLikelihood, GaussianForces
from posterion.training.methods.protocol import BankSamples, FinishedGroup, TrainedOn
from posterion.training.optimized_run import KeepAll, Masks, OptimizedRun
from posterion.training.run_parts import RunParts
from posterion.training.section import MethodSection

READING = (
    "How to read them. The potential and the force error are those of the last minibatches, "
    "before the weights were averaged; they say whether the optimiser arrived, and nothing of "
    "uncertainty. Each halving of the learning rate followed a divergence."
)


@dataclass(frozen=True, slots=True)
class OptimizedNetworks:
    """The averaged weights of every member are its one sample; see `Method`.

    Methods that treat finished networks alike share their path, so that a run folder of one
    kind can be published as another.

    Attributes:
        config: The run.
        settings: The section that names the method.
    """

    config: TrainingConfig
    settings: MethodSection

    @property
    def reading(self) -> str:
        """See `Method`."""
        return READING

    @property
    def likelihood(self) -> ForceLikelihood:
        """See `Method`."""
        return GaussianForces(self.config.likelihood.residual)

    @property
    def n_steps(self) -> int:
        """See `Method`."""
        return self.config.pretraining.steps

    def n_steps_of(self, state: Mapping[str, Tensor]) -> int:  # noqa: ARG002 - others need it
        """See `Method`: smaller steps are as many."""
        return self.n_steps

    @property
    def n_steps_to_start(self) -> int:
        """See `Method`: the last checkpoint is always the place to return to."""
        return self.n_steps

    @property
    def n_steps_to_draws(self) -> int:
        """See `Method`."""
        return self.n_steps

    @property
    def identity(self) -> Mapping[str, JsonValue]:
        """See `Method`."""
        return {"optimizer": "amsgrad"}

    @property
    def outcome(self) -> str:
        """See `Method`."""
        n_members = self.config.n_chains
        return "one network" if n_members == 1 else f"{n_members} networks"

    @property
    def latent_epistemic(self) -> bool:
        """See `Method`."""
        return False

    @property
    def meaning(self) -> str:
        """See `Method`."""
        return (
            "Networks optimised from different starts. Their spread is the epistemic part of the "
            "uncertainty."
            if self.config.n_chains > 1
            else "One network, optimised to a mode. It has no spread: where training shows the "
            "like, the epistemic part is zero."
        )

    @property
    def member(self) -> str:
        """See `Method`."""
        return "network"

    def masks(self, parts: RunParts) -> Masks:  # noqa: ARG002 - others need it
        """Which weights a step sees: all of them."""
        return KeepAll()

    def start(self, chains: Sequence[int], parts: RunParts) -> OptimizedRun:
        """See `Method`."""
        return OptimizedRun(self.config, chains, parts, masks=self.masks(parts))

    def bank(
        self,
        groups: Sequence[FinishedGroup],
        trained_on: TrainedOn,  # noqa: ARG002 - others need it
    ) -> BankSamples:
        """See `Method`."""
        return BankSamples(
            parameters=torch.cat([group.state["average"] for group in groups]),
            origin=tuple((chain, 0) for group in groups for chain in group.chains),
            diagnostics=how_it_ended(groups),
        )

    def failed_gates(
        self,
        diagnostics: Mapping[str, JsonValue],  # noqa: ARG002 - others need it
    ) -> list[str]:
        """See `Method`: a network that diverged did not get this far."""
        return []


def how_it_ended(groups: Sequence[FinishedGroup]) -> dict[str, JsonValue]:
    """The last row of every log: potential (nat per frame) and force error (eV/Angstrom)."""
    return {
        "last_potential": [float(column(group.log, "potential")[-1]) for group in groups],
        "last_force_mae": [float(column(group.log, "force_mae")[-1]) for group in groups],
    }
