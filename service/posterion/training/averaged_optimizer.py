"""How a network is optimised: AMSGrad on a cosine, and a running average of its weights."""

import torch
from torch import Tensor

from posterion.posterior.schedules import cosine_learning_rate
from posterion.training.config import PretrainingConfig

_STATE = "optimizer."


class AveragedOptimizer:
    """Moves the weights of several members at once; they do not mix.

    AMSGrad works element by element (Reddi, Kale and Kumar, ICLR 2018).

    Args:
        position: Weights to start from, ``(n_members, n_parameters)``; moved in place.
        settings: Steps, learning rate and decay of the average.
    """

    def __init__(self, position: Tensor, settings: PretrainingConfig) -> None:
        self._settings = settings
        self._start(position)
        self.average = position.clone()

    def _start(self, position: Tensor) -> None:
        self.position = position
        self._optimizer = torch.optim.Adam([position], amsgrad=True, foreach=False)

    def update(self, gradient: Tensor, *, step: int, retries: int) -> float:
        """Take one step.

        Args:
            gradient: Of the potential, shape of the weights.
            step: Steps done before it.
            retries: Divergences so far; each halves the learning rate.

        Returns:
            The learning rate.
        """
        settings = self._settings
        rate = cosine_learning_rate(step, n_steps=settings.steps, peak=settings.learning_rate)
        rate *= 0.5**retries
        self._optimizer.param_groups[0]["lr"] = rate
        self.position.grad = gradient
        self._optimizer.step()
        decay = min(settings.average_decay, (2 + step) / (11 + step))
        self.average.lerp_(self.position, 1 - decay)
        return rate

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which the optimiser continues."""
        state = {"position": self.position.clone(), "average": self.average.clone()}
        moments = self._optimizer.state[self.position]
        return state | {f"{_STATE}{name}": value.clone() for name, value in moments.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state_dict`` was taken, on the device of the weights."""
        device = self.position.device
        self._start(state["position"].to(device).clone())
        self.average = state["average"].to(device).clone()
        moments = self._optimizer.state[self.position]
        for name in [name for name in state if name.startswith(_STATE)]:
            moments[name.removeprefix(_STATE)] = state[name].to(device).clone()
