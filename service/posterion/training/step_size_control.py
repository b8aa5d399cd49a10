"""How a chain comes to its step size: estimated in burn-in, halved by divergences, frozen."""

import math

import torch
from torch import Tensor

from posterion.posterior.preconditioner import (
    Amsgrad,
    AmsgradState,
    GradientVarianceState,
    InverseGradientVariance,
)
from posterion.posterior.step_size import FrozenStepSize, freeze, load_frozen_step_size
from posterion.training.sampler_config import InverseGradientVarianceConfig, MarkovChainConfig


class StepSizeControl:
    """The step size of a group of chains, and the gradient variance it was judged by.

    Args:
        settings: Friction and preconditioner.
        position: Where the chains start, ``(n_chains, n_parameters)``.
        n_data: N.
        prior_precision: Curvature of the prior.
    """

    def __init__(
        self,
        settings: MarkovChainConfig,
        position: Tensor,
        *,
        n_data: int,
        prior_precision: float,
    ) -> None:
        self.current = torch.zeros_like(position)
        """Squared step sizes eta; zero until the first estimate."""
        self.gradient_variance = torch.zeros_like(position)
        """Var(g) over minibatches in the last window at rest."""
        self.frozen: FrozenStepSize | None = None
        """The final step size, once there is one."""
        self._settings = settings
        self._shape = (position.shape[0], position.shape[1])
        self._n_data = n_data
        self._prior_precision = prior_precision
        self._dtype = position.dtype
        self._device = position.device
        self._preconditioner = _preconditioner(settings)
        self._noise_meter = InverseGradientVariance()
        self._estimate = self._unknown()
        self._noise = self._noise_meter.init(self._shape, self._dtype, self._device)

    @property
    def final(self) -> FrozenStepSize | Tensor:
        """The frozen step size; while it may still adapt, a tensor that no draw accepts."""
        return self.current if self.frozen is None else self.frozen

    @property
    def noise_correction(self) -> Tensor | None:
        """Var(g) whose heat is to be taken out of the injected noise, if any."""
        return self.gradient_variance if self._settings.noise_correction else None

    def look(self, gradient: Tensor, *, first: bool) -> None:
        """Take one gradient of a chain at rest; the first one begins a window."""
        if first:
            self._noise = self._noise_meter.init(self._shape, self._dtype, self._device)
            if not self._preconditioner.adapts_while_moving:
                self._estimate = self._unknown()
        self._noise = self._noise_meter.update(self._noise, gradient)
        self._watch(gradient)

    def watch_moving(self, gradient: Tensor) -> None:
        """Take one gradient of a chain that moves, if the preconditioner wants it."""
        if self.frozen is None and self._preconditioner.adapts_while_moving:
            self._watch(gradient)

    def settle(self, *, halvings: int, freezes: bool) -> None:
        """Set the step size from the window that has just ended; no step grows again.

        Args:
            halvings: How often divergences have halved it.
            freezes: Whether it is the last one.

        Raises:
            ChainDiverged: If it shall be frozen, but is not positive and finite.
        """
        config = self._settings.preconditioner
        new = self._preconditioner.step_size(
            self._estimate,  # type: ignore[arg-type]  # the state this preconditioner made
            friction=self._settings.friction,
            epsilon=(
                config.epsilon if isinstance(config, InverseGradientVarianceConfig) else math.nan
            ),
            n_data=self._n_data,
            prior_precision=self._prior_precision,
        )
        halved = 0.5**halvings
        if bool(self.current.any()):
            new = torch.minimum(new, self.current / halved)
        self.current = new * halved
        self.gradient_variance = self._noise.variance
        if freezes:
            self.frozen = freeze(self.current)
            self.current = self.frozen.eta

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which the control continues bitwise."""
        state = {
            "step_size": self.current.clone(),
            "gradient_variance": self.gradient_variance.clone(),
        }
        state |= {f"estimate.{i}": field.clone() for i, field in enumerate(self._estimate)}
        state |= {f"noise_estimate.{i}": field.clone() for i, field in enumerate(self._noise)}
        if self.frozen is not None:
            state |= {f"frozen.{name}": v for name, v in self.frozen.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state_dict`` was taken, on this chain's device."""

        def stored(name: str) -> Tensor:
            return state[name].to(self._device).clone()

        self.current = stored("step_size")
        self.gradient_variance = stored("gradient_variance")
        self._estimate = type(self._estimate)(
            *(stored(f"estimate.{i}") for i in range(len(self._estimate)))
        )
        self._noise = GradientVarianceState(
            *(stored(f"noise_estimate.{i}") for i in range(len(self._noise)))
        )
        self.frozen = None
        if "frozen.eta" in state:
            parts = {name: state[f"frozen.{name}"] for name in ("eta", "digest")}
            self.frozen = load_frozen_step_size(parts, device=self._device)
            self.current = self.frozen.eta

    def _unknown(self) -> GradientVarianceState | AmsgradState:
        return self._preconditioner.init(self._shape, self._dtype, self._device)

    def _watch(self, gradient: Tensor) -> None:
        self._estimate = self._preconditioner.update(self._estimate, gradient)  # type: ignore[arg-type]


def _preconditioner(settings: MarkovChainConfig) -> InverseGradientVariance | Amsgrad:
    config = settings.preconditioner
    if isinstance(config, InverseGradientVarianceConfig):
        return InverseGradientVariance(prior_cap=config.prior_cap)
    return Amsgrad(learning_rate=config.learning_rate, decay=config.decay, offset=config.damping)
