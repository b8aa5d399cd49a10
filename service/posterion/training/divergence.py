"""When a step is a divergence and not noise: gradients that are no numbers, errors that jump."""

from typing import Final

import torch
from torch import Tensor

from posterion.errors import ChainDiverged
from posterion.training.objective import Potential

MAX_RETRIES: Final = 5
JUMP: Final = 10.0
"""A minibatch whose force error exceeds so many times its running mean is a divergence."""
WARM_UP: Final = 500
"""Steps before jumps are judged: the running mean needs them."""


class DivergenceWatch:
    """Remembers how large the force error usually is."""

    def __init__(self) -> None:
        self._running_error = 0.0

    def judge(self, potential: Potential, *, step: int) -> float:
        """Look at one step.

        Args:
            potential: What the step found.
            step: Steps done before it.

        Returns:
            Mean absolute force error of the minibatch, eV/Angstrom.

        Raises:
            ChainDiverged: If the gradient is not finite or the error jumped.
        """
        error = float(potential.force_error.mean())
        if not bool(torch.isfinite(potential.gradient).all()):
            raise ChainDiverged(f"non-finite gradient at step {step}")
        if step > WARM_UP and error > JUMP * self._running_error:
            raise ChainDiverged(
                f"force error jumped from {self._running_error:.3g} to {error:.3g} eV/Angstrom "
                f"at step {step}"
            )
        weight = max(0.01, 1.0 / (step + 1))
        self._running_error += weight * (error - self._running_error)
        return error

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which the watch continues."""
        return {"running_error": torch.tensor(self._running_error, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._running_error = float(state["running_error"])
