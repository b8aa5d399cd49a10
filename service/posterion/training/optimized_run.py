"""One group of networks that are optimised from their first step to their last, resumable.

Everything that influences the next step is in ``state_dict``; the loop around it only asks
for steps, checkpoints and log rows.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from posterion.errors import ChainDiverged
from posterion.posterior.chain import Phase, StepPlan
from posterion.posterior.minibatches import PermutedMinibatches
from posterion.training.averaged_optimizer import AveragedOptimizer
from posterion.training.chain_setup import StepReport, energy_weight
from posterion.training.config import TrainingConfig
from posterion.training.divergence import MAX_RETRIES, DivergenceWatch
from posterion.training.run_parts import RunParts
from posterion.training.seeding import member_generators, noise_generator


class Masks(Protocol):
    """Which weights a step sees."""

    def draw(self, n_members: int, generator: torch.Generator) -> Tensor:
        """Draw factors on the weights, broadcast to ``(n_members, n_parameters)``.

        Args:
            n_members: Members that need factors of their own.
            generator: Source of randomness, CPU.
        """
        ...


class KeepAll:
    """Every step sees every weight; see `Masks`."""

    def draw(
        self,
        n_members: int,
        generator: torch.Generator,  # noqa: ARG002 - others need it
    ) -> Tensor:
        """See `Masks`."""
        return torch.ones((n_members, 1))


class OptimizedRun:
    """The members of one worker: their state, and the step that advances them.

    Args:
        config: The run.
        chains: Numbers of the members in this group; each has its own random streams.
        parts: Potential and first parameters.
        masks: Factors on the weights, drawn anew for every step.
    """

    def __init__(
        self, config: TrainingConfig, chains: Sequence[int], parts: RunParts, *, masks: Masks
    ) -> None:
        self.config = config
        self.step = 0
        self.retries = 0
        self._parts = parts
        self._masks = masks
        seeds = member_generators(config.seed, chains)
        position = torch.stack([parts.initial(seed) for seed in seeds])
        position = position.to(device=parts.device, dtype=parts.dtype)
        self._order = [
            PermutedMinibatches(
                n_data=config.data.n_train, batch_size=config.batch_size, generator=seed
            )
            for seed in seeds
        ]
        self._noise = noise_generator(config.seed, chains)
        self._optimizer = AveragedOptimizer(position, config.pretraining)
        self._watch = DivergenceWatch()

    @property
    def n_steps(self) -> int:
        """Steps in all."""
        return self.config.pretraining.steps

    @property
    def finished(self) -> bool:
        """Whether the last step was taken."""
        return self.step >= self.n_steps

    def advance(self) -> StepReport:
        """Take one step.

        Returns:
            What the step tells the log.

        Raises:
            ChainDiverged: If a gradient is not finite or the error jumps; the caller
                calls ``retreat`` with a checkpoint.
        """
        plan = self._plan()
        device, position = self._parts.device, self._optimizer.position
        indices = torch.stack([order.next_batch() for order in self._order]).to(device)
        warm_up = self.config.pretraining.energy_warm_up
        weight = torch.tensor(
            energy_weight(plan, warm_up=warm_up), dtype=position.dtype, device=device
        )
        masks = self._masks.draw(len(position), self._noise).to(device, position.dtype)
        potential = self._parts.potential(position.detach() * masks, indices, weight)
        error = self._watch.judge(potential, step=self.step)
        rate = self._optimizer.update(
            potential.gradient * masks, step=self.step, retries=self.retries
        )
        self.step += 1
        return StepReport(plan, float(potential.value.mean()), error, math.nan, math.nan, rate)

    def _plan(self) -> StepPlan:
        return StepPlan(
            phase=Phase.PRETRAINING,
            index=self.step,
            length=self.n_steps,
            temperature=0.0,
        )

    def retreat(self, state: dict[str, Tensor]) -> None:
        """After a divergence: go back to an earlier state, and halve the learning rate.

        Args:
            state: What ``state_dict`` gave; its count of divergences is not gone back to.

        Raises:
            ChainDiverged: If that was tried too often.
        """
        retries = self.retries + 1
        self.load_state_dict(state)
        self.retries = retries
        if self.retries > MAX_RETRIES:
            raise ChainDiverged(
                f"diverged {self.retries} times although the learning rate was halved each "
                "time; lower pretraining.learning_rate, and check the labels of the data"
            )

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which the run continues bitwise; ``average`` is what is published."""
        state = {
            "step": torch.tensor(self.step),
            "retries": torch.tensor(self.retries),
            "noise": self._noise.get_state(),
        }
        state |= self._optimizer.state_dict() | self._watch.state_dict()
        for i, order in enumerate(self._order):
            state |= {f"order.{i}.{name}": value for name, value in order.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state_dict`` was taken, on this run's device."""
        self.step = int(state["step"])
        self.retries = int(state["retries"])
        self._noise.set_state(state["noise"].cpu())
        self._optimizer.load_state_dict(state)
        self._watch.load_state_dict(state)
        for i, order in enumerate(self._order):
            prefix = f"order.{i}."
            order.load_state_dict(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )
