"""How a step size is made final, and how a chain proves that it is.

A step size that keeps adapting depends on the position and biases the posterior, so draws
may only be collected with a ``FrozenStepSize``, bitwise constant.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from posterion.errors import ChainDiverged, CheckpointMismatch
from posterion.posterior.types import UnfrozenPreconditioner


@dataclass(frozen=True, slots=True, eq=False)
class FrozenStepSize:
    """A step size that will not change again; ``freeze`` makes one.

    Attributes:
        eta: Squared step sizes, shape ``(n_chains, n_parameters)``, contiguous.
        digest: SHA-256 of the bytes of ``eta`` at the moment of freezing, hexadecimal.
    """

    eta: Tensor
    digest: str

    def require_unchanged(self) -> None:
        """Check that not a bit of ``eta`` has changed; reads it back from the device.

        Raises:
            UnfrozenPreconditioner: If something wrote into the frozen tensor.
        """
        if _digest(self.eta) != self.digest:
            raise UnfrozenPreconditioner(
                "the frozen step size was written to; draws from before and after the change "
                "belong to different chains"
            )

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors that ``load_frozen_step_size`` turns back into this, bitwise."""
        digest = torch.frombuffer(bytearray(bytes.fromhex(self.digest)), dtype=torch.uint8)
        return {"eta": self.eta, "digest": digest}


def freeze(step_size: Tensor) -> FrozenStepSize:
    """Make a step size final: a private, contiguous copy and its digest.

    Args:
        step_size: eta, shape ``(n_chains, n_parameters)``.

    Returns:
        The frozen step size.

    Raises:
        ChainDiverged: If a step size is not positive and finite.
    """
    eta = step_size.detach().clone(memory_format=torch.contiguous_format)
    wrong = ~(torch.isfinite(eta) & (eta > 0))
    if bool(wrong.any()):
        raise ChainDiverged(
            f"{int(wrong.sum())} of {eta.numel()} step sizes are not positive and finite"
        )
    return FrozenStepSize(eta, _digest(eta))


def load_frozen_step_size(state: dict[str, Tensor], *, device: torch.device) -> FrozenStepSize:
    """Restore what ``FrozenStepSize.state_dict`` gave.

    Args:
        state: Tensors ``eta`` and ``digest``.
        device: Where the chain runs.

    Returns:
        The frozen step size, bitwise.

    Raises:
        CheckpointMismatch: If the step sizes do not match their digest.
    """
    frozen = FrozenStepSize(
        state["eta"].to(device).contiguous().clone(), bytes(state["digest"].tolist()).hex()
    )
    if _digest(frozen.eta) != frozen.digest:
        raise CheckpointMismatch("the frozen step sizes do not match the digest stored with them")
    return frozen


def require_frozen(step_size: Tensor | FrozenStepSize, *, digest: str = "") -> FrozenStepSize:
    """Insist that a step size is final and still as it was frozen.

    Args:
        step_size: What the chain moves with.
        digest: Digest it must have; "" accepts any.

    Returns:
        The same, known to be frozen.

    Raises:
        UnfrozenPreconditioner: If it is a bare tensor, was written to or has another digest.
    """
    if not isinstance(step_size, FrozenStepSize):
        raise UnfrozenPreconditioner(
            "draws can only be collected with a frozen step size, got a tensor that may adapt"
        )
    step_size.require_unchanged()
    if digest not in {"", step_size.digest}:
        raise UnfrozenPreconditioner(
            f"earlier draws were collected with step size {digest[:16]}, "
            f"this one comes with {step_size.digest[:16]}"
        )
    return step_size


def _digest(eta: Tensor) -> str:
    return hashlib.sha256(eta.detach().cpu().numpy().tobytes()).hexdigest()
