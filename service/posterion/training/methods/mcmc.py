"""Markov chain Monte Carlo: each member is a chain, and its draws are the samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from pydantic import JsonValue
from torch import Tensor

from posterion.posterior.diagnostics import excess_heat
from posterion.posterior.thermometer import Virial, data_share
from posterion.training.chain_run import ChainRun
from posterion.training.chain_setup import LONGEST_STRETCH, phase_schedule
from posterion.training.config import TrainingConfig
from posterion.training.convergence import ChainRecord, diagnose, failed_gates
from posterion.training.likelihood import ForceLikelihood, GaussianForces
from posterion.training.methods.protocol import BankSamples, FinishedGroup, TrainedOn
from posterion.training.run_parts import RunParts
from posterion.training.sampler_config import SamplerConfig

READING: Final = (
    "How to read them. The kinetic temperature says only that the momenta are warm: it should "
    "be that of the posterior plus the excess heat of the minibatches. The configurational "
    "temperature is counted from where the chain started: 0 if it has not moved, that of the "
    "posterior if it has forgotten its start, negative if it still descends; once over the "
    "weights that the data determine, once over those left to the prior. An effective sample "
    "size near the number of chains says that each chain explores one neighbourhood: the spread "
    "between chains then carries most of the uncertainty. A chain whose step size was halved "
    "is slower and was run for so many times as long; what is missing beyond that is told as "
    "times too short. R-hat within chains near 1 says that the forces do not drift, not that "
    "the posterior was explored."
)


@dataclass(frozen=True, slots=True)
class MarkovChains:
    """Draws of chains whose sampler the configuration names; see `Method`.

    Attributes:
        config: The run.
        settings: Sampler and schedule.
    """

    config: TrainingConfig
    settings: SamplerConfig

    reading = READING
    member = "chain"

    @property
    def likelihood(self) -> ForceLikelihood:
        """See `Method`."""
        return GaussianForces(self.config.likelihood.residual)

    @property
    def n_steps(self) -> int:
        """See `Method`."""
        return phase_schedule(self.config).n_steps

    def n_steps_of(self, state: Mapping[str, Tensor]) -> int:
        """See `Method`: chains whose steps were halved take more of them."""
        return phase_schedule(self.config, halvings=int(state["halvings"])).n_steps

    @property
    def n_steps_to_start(self) -> int:
        """See `Method`: a frozen step size cannot change, so it has to be estimated anew."""
        return self.config.pretraining.steps

    @property
    def n_steps_to_draws(self) -> int:
        """See `Method`."""
        return self.config.pretraining.steps + self.settings.burn_in_steps

    @property
    def identity(self) -> Mapping[str, JsonValue]:
        """See `Method`: further draws continue the same chains."""
        settings: dict[str, JsonValue] = self.settings.model_dump(
            mode="json", exclude={"n_samples"}
        )
        return settings

    @property
    def outcome(self) -> str:
        """See `Method`."""
        return f"{self.config.n_chains} chains x {self.settings.n_samples} samples"

    @property
    def latent_epistemic(self) -> bool:
        """See `Method`."""
        return False

    @property
    def meaning(self) -> str:
        """See `Method`."""
        return (
            "Draws from the posterior of a stochastic equivariant network. Their spread is the "
            "epistemic part of the uncertainty."
        )

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
        by_chain = torch.cat([kept[:, : self.settings.n_samples] for kept in draws])
        n_chains, n_draws, _ = by_chain.shape
        halvings = [int(group.state["halvings"]) for group in groups]
        diagnostics = diagnose(
            self._record(groups, traces), n_labels=trained_on.labels_per_frame
        ) | {
            "step_size_halvings": list(halvings),
            "times_as_long": [min(2**n, LONGEST_STRETCH) for n in halvings],
            "times_too_short": [max(1, 2**n // LONGEST_STRETCH) for n in halvings],
        }
        return BankSamples(
            parameters=by_chain.transpose(0, 1).reshape(n_chains * n_draws, -1),
            origin=tuple((chain, draw) for draw in range(n_draws) for chain in range(n_chains)),
            diagnostics=diagnostics,
        )

    def _record(self, groups: Sequence[FinishedGroup], traces: Sequence[Tensor]) -> ChainRecord:
        method, n_data = self.settings, self.config.data.n_train
        n_traces = min(kept.shape[1] for kept in traces)

        def stacked(name: str) -> Tensor:
            return torch.cat([group.state[name] for group in groups])

        virials = [
            Virial(*(group.state[f"virial.{name}"] for name in Virial._fields)) for group in groups
        ]
        heat = excess_heat(
            stacked("frozen.eta"),
            stacked("gradient_variance"),
            n_data=n_data,
            friction=method.friction,
        )
        return ChainRecord(
            traces=torch.cat([kept[:, :n_traces] for kept in traces]),
            step_sizes=stacked("frozen.eta"),
            excess_heat=torch.zeros_like(heat) if method.noise_correction else heat,
            configurational=torch.cat([virial.temperatures(n_data=n_data) for virial in virials]),
            data_share=data_share(
                stacked("gradient_variance"),
                n_data=n_data,
                batch_size=self.config.batch_size,
                prior_precision=self.config.prior.std**-2,
            ),
            logs={f"chain {group.numbers}": group.log for group in groups},
        )

    def failed_gates(self, diagnostics: Mapping[str, JsonValue]) -> list[str]:
        """See `Method`."""
        return failed_gates(diagnostics, self.config.gates, temperature=self.settings.temperature)


def _series(state: Mapping[str, Tensor], name: str) -> Tensor:
    """Stack ``name.0``, ``name.1``, ... to ``(n_chains, n, ...)``."""
    count = sum(key.startswith(f"{name}.") for key in state)
    return torch.stack([state[f"{name}.{i}"] for i in range(count)], dim=1)
