"""Markov chain Monte Carlo: each member is a chain, and its draws are the samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from pydantic import JsonValue
from torch import Tensor

from posterion.training.chain_run import ChainRun
from posterion.training.chain_setup import phase_schedule
from posterion.training.config import TrainingConfig
from posterion.training.convergence import diagnose, failed_gates
from posterion.training.methods.protocol import BankSamples, FinishedGroup, TrainedOn
from posterion.training.run_parts import RunParts

READING: Final = (
    "How to read them. The kinetic temperature says only that the momenta are warm. A "
    "configurational temperature far below the posterior's says that weights about which the "
    "data say little have hardly moved from where the chain started, and an effective sample "
    "size near the number of chains that each chain explores one neighbourhood: the spread "
    "between chains then carries most of the uncertainty. Each halving of the step size makes "
    "a chain twice as slow. R-hat within chains near 1 says that the forces do not drift, not "
    "that the posterior was explored."
)


@dataclass(frozen=True, slots=True)
class MarkovChains:
    """Draws of chains whose sampler the configuration names; see `Method`.

    Attributes:
        config: The run.
    """

    config: TrainingConfig

    reading = READING

    @property
    def n_steps(self) -> int:
        """See `Method`."""
        return phase_schedule(self.config).n_steps

    @property
    def n_steps_to_start(self) -> int:
        """See `Method`: a frozen step size cannot change, so it has to be estimated anew."""
        return self.config.pretraining.steps

    @property
    def n_steps_to_draws(self) -> int:
        """See `Method`."""
        return self.config.pretraining.steps + self.config.method.burn_in_steps

    @property
    def identity(self) -> Mapping[str, JsonValue]:
        """See `Method`: further draws continue the same chains."""
        settings: dict[str, JsonValue] = self.config.method.model_dump(
            mode="json", exclude={"n_samples"}
        )
        return settings

    @property
    def outcome(self) -> str:
        """See `Method`."""
        return f"{self.config.n_chains} chains x {self.config.method.n_samples} samples"

    def start(self, chains: Sequence[int], parts: RunParts) -> ChainRun:
        """See `Method`."""
        return ChainRun(
            self.config,
            chains,
            potential=parts.potential,
            probe=parts.probe,
            initial=parts.initial,
            dtype=parts.dtype,
            device=parts.device,
        )

    def bank(self, groups: Sequence[FinishedGroup], trained_on: TrainedOn) -> BankSamples:
        """See `Method`."""
        draws = [_series(group.state, "draws") for group in groups]
        traces = [_series(group.state, "traces") for group in groups]
        # A chain run for longer earlier on may have more than this run asks for.
        by_chain = torch.cat([kept[:, : self.config.method.n_samples] for kept in draws])
        n_traces = min(kept.shape[1] for kept in traces)
        n_chains, n_draws, _ = by_chain.shape
        diagnostics = diagnose(
            torch.cat([kept[:, :n_traces] for kept in traces]),
            torch.cat([group.state["frozen.eta"] for group in groups]),
            {group.name: group.log for group in groups},
            n_labels=trained_on.labels_per_frame,
        )
        return BankSamples(
            parameters=by_chain.transpose(0, 1).reshape(n_chains * n_draws, -1),
            origin=tuple((chain, draw) for draw in range(n_draws) for chain in range(n_chains)),
            diagnostics=diagnostics,
        )

    def failed_gates(self, diagnostics: Mapping[str, JsonValue]) -> list[str]:
        """See `Method`."""
        return failed_gates(
            diagnostics, self.config.gates, temperature=self.config.method.temperature
        )


def _series(state: Mapping[str, Tensor], name: str) -> Tensor:
    """Stack ``name.0``, ``name.1``, ... to ``(n_chains, n, ...)``."""
    count = sum(key.startswith(f"{name}.") for key in state)
    return torch.stack([state[f"{name}.{i}"] for i in range(count)], dim=1)
