"""Which data each step sees, and over how many steps the noise of that choice cancels."""

from typing import Protocol

import torch
from torch import Tensor

from posterion.errors import CheckpointMismatch, ConfigurationError


class MinibatchSource(Protocol):
    """An endless sequence of minibatches, resumable in the middle."""

    @property
    def starts_window(self) -> bool:
        """Whether the last minibatch was the first of a window over which the noise cancels."""
        ...

    def next_batch(self) -> Tensor:
        """Indices of the next minibatch, int64, shape ``(batch_size,)``."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which the same sequence continues."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state_dict`` was taken.

        Raises:
            CheckpointMismatch: If it was taken with another data set or batch size.
        """
        ...


class PermutedMinibatches:
    """One random permutation per epoch, cut into minibatches.

    What is left at the end of an epoch and too short for a minibatch is not used; every
    minibatch is a uniformly drawn subset all the same. The noise of an epoch's minibatches
    cancels in their sum, so parameters that relax over epochs are heated far less than by
    minibatches drawn independently, and ``noise_correction`` must not be used with it.

    Args:
        n_data: Size of the data set.
        batch_size: Data per minibatch, from 1 to ``n_data``.
        generator: CPU generator, advanced once per epoch and owned by this object.
    """

    def __init__(self, *, n_data: int, batch_size: int, generator: torch.Generator) -> None:
        _require_sizes(n_data, batch_size)
        self.n_data = n_data
        self.batch_size = batch_size
        self._generator = generator
        self._remaining = torch.empty(0, dtype=torch.int64)

    @property
    def starts_window(self) -> bool:
        """Whether the last minibatch was the first of its epoch."""
        return len(self._remaining) == self.n_data - self.batch_size

    def next_batch(self) -> Tensor:
        """Indices of the next minibatch, int64, shape ``(batch_size,)``."""
        if len(self._remaining) < self.batch_size:
            self._remaining = torch.randperm(self.n_data, generator=self._generator)
        batch = self._remaining[: self.batch_size]
        self._remaining = self._remaining[self.batch_size :]
        return batch

    def state_dict(self) -> dict[str, Tensor]:
        """Sizes, generator and the rest of the permutation."""
        return _sizes(self.n_data, self.batch_size) | {
            "generator": self._generator.get_state(),
            "remaining": self._remaining.clone(),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """See ``MinibatchSource``."""
        _require_same(state, self.n_data, self.batch_size)
        self._generator.set_state(state["generator"])
        self._remaining = state["remaining"].clone()


class IndependentMinibatches:
    """Each minibatch a uniformly drawn subset, whatever the others were.

    Nothing cancels: the position of every parameter is heated by its full excess, which is
    what ``noise_correction`` takes out.

    Args:
        n_data: Size of the data set.
        batch_size: Data per minibatch, from 1 to ``n_data``.
        generator: CPU generator, advanced once per minibatch and owned by this object.
    """

    def __init__(self, *, n_data: int, batch_size: int, generator: torch.Generator) -> None:
        _require_sizes(n_data, batch_size)
        self.n_data = n_data
        self.batch_size = batch_size
        self._generator = generator

    @property
    def starts_window(self) -> bool:
        """Always: the noise of one minibatch is no other's."""
        return True

    def next_batch(self) -> Tensor:
        """Indices of the next minibatch, int64, shape ``(batch_size,)``, all different."""
        return torch.randperm(self.n_data, generator=self._generator)[: self.batch_size]

    def state_dict(self) -> dict[str, Tensor]:
        """Sizes and generator."""
        return _sizes(self.n_data, self.batch_size) | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """See ``MinibatchSource``."""
        _require_same(state, self.n_data, self.batch_size)
        self._generator.set_state(state["generator"])


def _require_sizes(n_data: int, batch_size: int) -> None:
    if not 1 <= batch_size <= n_data:
        raise ConfigurationError(
            f"batch_size must be from 1 to the number of data {n_data}, got {batch_size}"
        )


def _sizes(n_data: int, batch_size: int) -> dict[str, Tensor]:
    return {"n_data": torch.tensor(n_data), "batch_size": torch.tensor(batch_size)}


def _require_same(state: dict[str, Tensor], n_data: int, batch_size: int) -> None:
    stored = (int(state["n_data"]), int(state["batch_size"]))
    if stored != (n_data, batch_size):
        raise CheckpointMismatch(
            f"the order of minibatches was stored for (n_data, batch_size) = {stored}, "
            f"this chain has {(n_data, batch_size)}"
        )
