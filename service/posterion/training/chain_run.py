"""One group of chains from its first optimiser step to its last draw, resumable bitwise.

Everything that influences the next step is in ``state_dict``; the loop around it only asks
for steps, checkpoints and log rows.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from posterion.errors import ChainDiverged
from posterion.posterior.chain import Draws, Phase, StepPlan
from posterion.posterior.diagnostics import configurational_temperature, kinetic_temperature
from posterion.posterior.thermometer import Virial, start_virial
from posterion.posterior.types import LangevinState
from posterion.training.averaged_optimizer import AveragedOptimizer
from posterion.training.chain_setup import (
    SAMPLERS,
    Probe,
    StepReport,
    chain_settings,
    decode_text,
    encode_text,
    energy_weight,
    minibatch_source,
    numbered,
    phase_schedule,
)
from posterion.training.config import TrainingConfig
from posterion.training.divergence import MAX_RETRIES, DivergenceWatch
from posterion.training.objective import PotentialFunction
from posterion.training.seeding import member_generators, noise_generator
from posterion.training.step_size_control import StepSizeControl


class ChainRun:
    """The chains of one worker: their state, and the step that advances them.

    Args:
        config: The run.
        chains: Numbers of the chains in this group; each has its own random streams.
        potential: U/N of a minibatch and its gradient.
        probe: Forces on probe structures, recorded while sampling.
        initial: Draws the initial parameters of one chain from a generator, shape
            ``(n_parameters,)``.
        dtype: Floating type of the chains.
        device: Where they run.
    """

    def __init__(
        self,
        config: TrainingConfig,
        chains: Sequence[int],
        *,
        potential: PotentialFunction,
        probe: Probe,
        initial: Callable[[torch.Generator], Tensor],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        settings = chain_settings(config)
        self.config = config
        self.step = 0
        self.retries = 0
        self.halvings = 0
        self.schedule = phase_schedule(config)
        self.draws = Draws()
        self.traces: list[Tensor] = []
        self._settings = settings
        self._n_data = config.data.n_train
        self._potential = potential
        self._probe = probe
        self._device = device
        self._sampler = SAMPLERS[settings.kind]
        seeds = member_generators(config.seed, chains)
        position = torch.stack([initial(seed) for seed in seeds]).to(device=device, dtype=dtype)
        self._order = [minibatch_source(config, seed) for seed in seeds]
        self._noise = noise_generator(config.seed, chains, device=device)
        self._chain = self._sampler.init(position)
        self._optimizer = AveragedOptimizer(self._chain.position, config.pretraining)
        self._watch = DivergenceWatch()
        self._step_sizes = StepSizeControl(
            settings, position, n_data=self._n_data, prior_precision=config.prior.std**-2
        )
        self._momentum_factor = 1.0
        self._virial = start_virial(position)

    @property
    def n_steps(self) -> int:
        """Steps in all, counting those that a halved step size adds."""
        return self.schedule.n_steps

    @property
    def finished(self) -> bool:
        """Whether every draw has been collected."""
        return self.step >= self.n_steps

    def advance(self) -> StepReport:
        """Take one step.

        Returns:
            What the step tells the log.

        Raises:
            ChainDiverged: If a gradient is not finite or the error jumps; the caller
                calls ``retreat`` with a checkpoint.
        """
        plan = self.schedule.at(self.step)
        indices = torch.stack([order.next_batch() for order in self._order]).to(self._device)
        weight = torch.tensor(
            energy_weight(plan, warm_up=self.config.pretraining.energy_warm_up),
            dtype=self._chain.position.dtype,
            device=self._device,
        )
        potential = self._potential(self._chain.position, indices, weight)
        error = self._watch.judge(potential, step=self.step)
        rate = float("nan")
        kinetic = configurational = float("nan")
        if plan.phase is Phase.PRETRAINING:
            rate = self._optimise(potential.gradient, plan)
        elif plan.phase is Phase.ESTIMATION:
            self._estimate_step_size(potential.gradient, plan)
        else:
            moved = self._chain.position - self._virial.origin
            configurational = float(
                configurational_temperature(moved, potential.gradient, self._n_data).mean()
            )
            kinetic = self._sample(potential.gradient, plan)
        self.step += 1
        return StepReport(
            plan, float(potential.value.mean()), error, kinetic, configurational, rate
        )

    def retreat(self, state: dict[str, Tensor]) -> None:
        """After a divergence: go back to an earlier state, and take smaller steps from there on.

        While pretraining the learning rate is halved, later the squared step size.

        Args:
            state: What ``state_dict`` gave; its counts of divergences are not gone back to.

        Raises:
            ChainDiverged: If that was tried too often.
        """
        retries, halvings = self.retries + 1, self.halvings
        self.load_state_dict(state)
        self.retries = retries
        self.halvings = halvings + (self.step >= self.config.pretraining.steps)
        self.schedule = phase_schedule(self.config, halvings=self.halvings)
        if self.retries > MAX_RETRIES:
            raise ChainDiverged(
                f"diverged {self.retries} times although steps were halved each time; lower "
                "pretraining.learning_rate or method.preconditioner.epsilon, and check the "
                "labels of the data"
            )

    def _optimise(self, gradient: Tensor, plan: StepPlan) -> float:
        """One AMSGrad step on position and running average; returns the learning rate."""
        rate = self._optimizer.update(gradient, step=plan.index, retries=self.retries)
        if plan.index == plan.length - 1:
            self._chain = self._sampler.init(self._optimizer.average)
            self._virial = start_virial(self._optimizer.average)
        return rate

    def _estimate_step_size(self, gradient: Tensor, plan: StepPlan) -> None:
        """Look at one gradient at rest; at the end of the window, set the step size."""
        self._step_sizes.look(gradient, first=plan.index == 0)
        if not plan.sets_step_size:
            return
        old = self._step_sizes.current
        self._step_sizes.settle(halvings=self.halvings, freezes=plan.freezes)
        if bool(old.any()):
            self._chain = self._chain.rescaled(self._step_sizes.current / old)

    def _sample(self, gradient: Tensor, plan: StepPlan) -> float:
        """One step of the sampler, and a draw where one is due; returns T_kin."""
        self._step_sizes.watch_moving(gradient)
        self._measure(gradient, plan)
        if plan.restarts:
            self._chain = self._chain.at_rest()
        elif plan.step_factor != self._momentum_factor:
            self._chain = self._chain.rescaled(plan.step_factor / self._momentum_factor)
        self._momentum_factor = plan.step_factor
        step_size = self._step_sizes.current * plan.step_factor
        self._chain = self._sampler.update(
            self._chain,
            gradient,
            step_size,
            n_data=self._n_data,
            friction=self._settings.friction,
            temperature=plan.temperature,
            generator=self._noise,
            noise_correction=self._step_sizes.noise_correction,
        )
        if plan.traces:
            self.traces.append(self._probe(self._chain.position))
        if plan.draws:
            self.draws = self.draws.collect(self._chain.position, self._step_sizes.final)
        unit = self._sampler.momentum_variance(step_size, friction=self._settings.friction)
        return float(kinetic_temperature(self._chain.momentum, unit).mean())

    def _measure(self, gradient: Tensor, plan: StepPlan) -> None:
        """Let the configurational thermometer see the chain where it is in equilibrium."""
        if plan.phase is Phase.SAMPLING:
            self._virial = self._virial.observe(
                self._chain.position, gradient, starts_window=self._order[0].starts_window
            )
        elif plan.phase is Phase.EXPLORATION:
            self._virial = self._virial.interrupted()

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which the run continues bitwise."""
        state = {
            "step": torch.tensor(self.step),
            "retries": torch.tensor(self.retries),
            "halvings": torch.tensor(self.halvings),
            "momentum_factor": torch.tensor(self._momentum_factor, dtype=torch.float64),
            "position": self._chain.position.clone(),
            "momentum": self._chain.momentum.clone(),
            "noise": self._noise.get_state(),
            "draws_digest": encode_text(self.draws.step_size_digest),
        }
        # The optimiser's own position is the chain's until pretraining ends, then history.
        state = self._optimizer.state_dict() | self._watch.state_dict() | state
        state |= self._step_sizes.state_dict()
        state |= {f"virial.{name}": v.clone() for name, v in self._virial._asdict().items()}
        state |= {f"draws.{i}": draw for i, draw in enumerate(self.draws.positions)}
        state |= {f"traces.{i}": trace for i, trace in enumerate(self.traces)}
        for i, order in enumerate(self._order):
            state |= {f"order.{i}.{name}": value for name, value in order.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state_dict`` was taken, on this run's device."""

        def stored(name: str) -> Tensor:
            return state[name].to(self._device).clone()

        self.step = int(state["step"])
        self.retries = int(state["retries"])
        self.halvings = int(state["halvings"])
        self.schedule = phase_schedule(self.config, halvings=self.halvings)
        self._momentum_factor = float(state["momentum_factor"])
        self._watch.load_state_dict(state)
        self._optimizer.load_state_dict(state)
        self._chain = LangevinState(self._optimizer.position, stored("momentum"))
        self._step_sizes.load_state_dict(state)
        self._virial = Virial(*(stored(f"virial.{name}") for name in Virial._fields))
        self._noise.set_state(state["noise"].cpu())
        self.draws = Draws(
            positions=tuple(numbered(state, "draws", self._device)),
            step_size_digest=decode_text(state["draws_digest"]),
        )
        self.traces = numbered(state, "traces", self._device)
        for i, order in enumerate(self._order):
            prefix = f"order.{i}."
            order.load_state_dict(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )
