"""One group of chains from its first optimiser step to its last draw, resumable bitwise.

Everything that influences the next step is in ``state_dict``; the loop around it only asks
for steps, checkpoints and log rows.
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from posterion.errors import ChainDiverged
from posterion.posterior import sghmc
from posterion.posterior.chain import Draws, MinibatchOrder, Phase, StepPlan
from posterion.posterior.diagnostics import configurational_temperature, kinetic_temperature
from posterion.posterior.preconditioner import AmsgradState, GradientVarianceState
from posterion.posterior.schedules import cosine_learning_rate
from posterion.posterior.step_size import FrozenStepSize, freeze, load_frozen_step_size
from posterion.training.chain_setup import (
    Probe,
    StepReport,
    decode_text,
    encode_text,
    energy_weight,
    make_optimizer,
    make_preconditioner,
    numbered,
    phase_schedule,
    target_heat,
)
from posterion.training.config import TrainingConfig
from posterion.training.objective import Potential, PotentialFunction

MAX_RETRIES: Final = 5
JUMP: Final = 10.0
"""A minibatch whose force error exceeds so many times its running mean is a divergence."""
WARM_UP: Final = 500
"""Steps before jumps are judged: the running mean needs them."""
TRACES_PER_DRAW: Final = 8


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
        self.config = config
        self.schedule = phase_schedule(config)
        self.step = 0
        self.retries = 0
        self.draws = Draws()
        self.traces: list[Tensor] = []
        self._potential = potential
        self._probe = probe
        self._device = device
        self._preconditioner = make_preconditioner(config.method.preconditioner)
        seeds = [torch.Generator().manual_seed(config.seed * 1_000_003 + chain) for chain in chains]
        position = torch.stack([initial(seed) for seed in seeds]).to(device=device, dtype=dtype)
        self._order = [
            MinibatchOrder(n_data=config.data.n_train, batch_size=config.batch_size, generator=seed)
            for seed in seeds
        ]
        self._noise = torch.Generator(device=device).manual_seed(
            config.seed * 1_000_003 + 500_009 + chains[0]
        )
        self._chain = sghmc.init(position)
        self._average = position.clone()
        self._optimizer = make_optimizer(self._chain.position)
        self._estimate = self._no_estimate()
        self._step_size = torch.zeros_like(position)
        self._frozen: FrozenStepSize | None = None
        self._running_error = 0.0

    @property
    def finished(self) -> bool:
        """Whether every draw has been collected."""
        return self.step >= self.schedule.n_steps

    def advance(self) -> StepReport:
        """Take one step.

        Returns:
            What the step tells the log.

        Raises:
            ChainDiverged: If a gradient is not finite or the error jumps; the caller goes
                back to a checkpoint and calls ``retreat``.
        """
        plan = self.schedule.at(self.step)
        indices = torch.stack([order.next_batch() for order in self._order]).to(self._device)
        weight = torch.tensor(
            energy_weight(plan, warm_up=self.config.pretraining.energy_warm_up),
            dtype=self._chain.position.dtype,
            device=self._device,
        )
        potential = self._potential(self._chain.position, indices, weight)
        error = float(potential.force_error.mean())
        self._judge(potential, error)
        rate = float("nan")
        kinetic = configurational = float("nan")
        if plan.phase is Phase.PRETRAINING:
            rate = self._optimise(potential.gradient, plan)
        elif plan.phase is Phase.ESTIMATION:
            self._estimate_step_size(potential.gradient, plan)
        else:
            configurational = float(
                configurational_temperature(
                    self._chain.position, potential.gradient, self.config.data.n_train
                ).mean()
            )
            kinetic = self._sample(potential.gradient, plan)
        self.step += 1
        return StepReport(
            plan, float(potential.value.mean()), error, kinetic, configurational, rate
        )

    def retreat(self) -> None:
        """After a divergence: take smaller steps from here on.

        Raises:
            ChainDiverged: If that was tried too often.
        """
        self.retries += 1
        if self.retries > MAX_RETRIES:
            raise ChainDiverged(
                f"diverged {self.retries} times although steps were halved each time; lower "
                "pretraining.learning_rate or method.preconditioner.epsilon, and check the "
                "labels of the data"
            )

    def _judge(self, potential: Potential, error: float) -> None:
        if not bool(torch.isfinite(potential.gradient).all()):
            raise ChainDiverged(f"non-finite gradient at step {self.step}")
        if self.step > WARM_UP and error > JUMP * self._running_error:
            raise ChainDiverged(
                f"force error jumped from {self._running_error:.3g} to {error:.3g} eV/Angstrom "
                f"at step {self.step}"
            )
        weight = max(0.01, 1.0 / (self.step + 1))
        self._running_error += weight * (error - self._running_error)

    def _optimise(self, gradient: Tensor, plan: StepPlan) -> float:
        """One AMSGrad step on position and running average; returns the learning rate."""
        settings = self.config.pretraining
        rate = cosine_learning_rate(plan.index, n_steps=plan.length, peak=settings.learning_rate)
        rate *= 0.5**self.retries
        self._optimizer.param_groups[0]["lr"] = rate
        self._chain.position.grad = gradient
        self._optimizer.step()
        decay = min(settings.average_decay, (2 + plan.index) / (11 + plan.index))
        self._average.lerp_(self._chain.position, 1 - decay)
        if plan.index == plan.length - 1:
            self._chain = sghmc.init(self._average)
        return rate

    def _estimate_step_size(self, gradient: Tensor, plan: StepPlan) -> None:
        """Look at one gradient at rest; at the end of the window, set the step size."""
        if plan.index == 0 and not self._preconditioner.adapts_while_moving:
            self._estimate = self._no_estimate()
        self._observe(gradient)
        if not plan.sets_step_size:
            return
        sampler = self.config.method
        new = self._preconditioner.step_size(
            self._estimate,  # type: ignore[arg-type]  # the state this preconditioner made
            friction=sampler.friction,
            epsilon=target_heat(sampler.preconditioner),
            n_data=self.config.data.n_train,
            prior_precision=self.config.prior.std**-2,
        )
        new = new * 0.5**self.retries
        if bool(self._step_size.any()):
            self._chain = sghmc.rescale_momentum(
                self._chain, old_step_size=self._step_size, new_step_size=new
            )
        self._step_size = new
        if plan.freezes:
            self._frozen = freeze(new)
            self._step_size = self._frozen.eta

    def _no_estimate(self) -> GradientVarianceState | AmsgradState:
        n_chains, n_parameters = self._chain.position.shape
        return self._preconditioner.init(
            (n_chains, n_parameters), self._chain.position.dtype, self._device
        )

    def _observe(self, gradient: Tensor) -> None:
        self._estimate = self._preconditioner.update(self._estimate, gradient)  # type: ignore[arg-type]

    def _sample(self, gradient: Tensor, plan: StepPlan) -> float:
        """One SGHMC step, and a draw where one is due; returns T_kin."""
        if self._frozen is None and self._preconditioner.adapts_while_moving:
            self._observe(gradient)
        sghmc.update_(
            self._chain,
            gradient,
            self._step_size,
            n_data=self.config.data.n_train,
            friction=self.config.method.friction,
            temperature=plan.temperature,
            generator=self._noise,
        )
        if plan.phase is Phase.SAMPLING:
            every = max(1, self.schedule.thinning // TRACES_PER_DRAW)
            if (plan.index + 1) % every == 0:
                self.traces.append(self._probe(self._chain.position))
            if plan.draws:
                frozen = self._frozen if self._frozen is not None else self._step_size
                self.draws = self.draws.collect(self._chain.position, frozen)
        temperature = kinetic_temperature(
            self._chain.momentum, self._step_size, self.config.method.friction
        )
        return float(temperature.mean())

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which the run continues bitwise."""
        state = {
            "step": torch.tensor(self.step),
            "retries": torch.tensor(self.retries),
            "running_error": torch.tensor(self._running_error, dtype=torch.float64),
            "position": self._chain.position.clone(),
            "momentum": self._chain.momentum.clone(),
            "average": self._average.clone(),
            "step_size": self._step_size.clone(),
            "noise": self._noise.get_state(),
            "draws_digest": encode_text(self.draws.step_size_digest),
        }
        optimizer = self._optimizer.state[self._optimizer.param_groups[0]["params"][0]]
        state |= {f"optimizer.{name}": value.clone() for name, value in optimizer.items()}
        state |= {f"estimate.{i}": field.clone() for i, field in enumerate(self._estimate)}
        state |= {f"draws.{i}": draw for i, draw in enumerate(self.draws.positions)}
        state |= {f"traces.{i}": trace for i, trace in enumerate(self.traces)}
        for i, order in enumerate(self._order):
            state |= {f"order.{i}.{name}": value for name, value in order.state_dict().items()}
        if self._frozen is not None:
            state |= {f"frozen.{name}": v for name, v in self._frozen.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state_dict`` was taken, on this run's device."""

        def stored(name: str) -> Tensor:
            return state[name].to(self._device).clone()

        self.step = int(state["step"])
        self.retries = int(state["retries"])
        self._running_error = float(state["running_error"])
        self._chain = sghmc.SGHMCState(stored("position"), stored("momentum"))
        self._average, self._step_size = stored("average"), stored("step_size")
        self._noise.set_state(state["noise"].cpu())
        self._optimizer = make_optimizer(self._chain.position)
        optimizer = self._optimizer.state[self._chain.position]
        for name in [name for name in state if name.startswith("optimizer.")]:
            optimizer[name.removeprefix("optimizer.")] = stored(name)
        self._estimate = type(self._estimate)(
            *(stored(f"estimate.{i}") for i in range(len(self._estimate)))
        )
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
        self._frozen = None
        if "frozen.eta" in state:
            parts = {k.removeprefix("frozen."): v for k, v in state.items() if "frozen." in k}
            self._frozen = load_frozen_step_size(parts, device=self._device)
            self._step_size = self._frozen.eta
