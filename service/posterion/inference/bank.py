"""How all posterior samples of a bank are evaluated for one batch.

Engines differ in speed and precision only; the predictor reduces what any of them answers.
"""

from collections.abc import Iterable
from typing import Final, Protocol

import torch
from torch import Tensor

from posterion.graph.batch import GraphBatch
from posterion.network.config import NetworkConfig
from posterion.network.functional import NetworkFunction, NetworkOutputs

CPU_MEMORY_BYTES: Final = 4 * 2**30
"""What one pass over the samples may take on a CPU before it is split."""

CUDA_MEMORY_FRACTION: Final = 0.5
"""Share of a CUDA device's memory that one pass may take."""

# Live values per edge, layer and channel component, gradients included. Estimated from the
# 3 GB of eight 32-channel, l = 2 samples over 4224 edges.
_VALUES_PER_COMPONENT: Final = 24


class BankEngine(Protocol):
    """Evaluates the first samples of a bank for a batch of its dtype and device."""

    @property
    def name(self) -> str:
        """Name that the reply states."""
        ...

    @property
    def n_samples(self) -> int:
        """Number of posterior samples held."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Floating type that batches must have."""
        ...

    @property
    def device(self) -> torch.device:
        """Device that batches must lie on."""
        ...

    def evaluate(
        self, batch: GraphBatch, *, n_samples: int | None, stress: bool, first: int = 0
    ) -> NetworkOutputs:
        """Evaluate samples ``first`` to ``n_samples``, exclusive, or to the last if None.

        Raises:
            MemoryError: If the batch does not fit the device; or what torch raises then,
                see `posterion.inference.memory`.
        """
        ...


class ReferenceEngine:
    """One sample after the other through the plain e3nn module in float64: the oracle."""

    name: Final = "reference"
    dtype: Final = torch.float64

    def __init__(self, function: NetworkFunction, parameters: Tensor) -> None:
        """Keep the samples in float64.

        Args:
            function: The network, float64.
            parameters: Shape ``(n_samples, n_parameters)``.
        """
        self.function = _checked(function, parameters, self.dtype)
        self.parameters = parameters.to(device=function.device, dtype=self.dtype)
        self.n_samples = len(parameters)
        self.device = function.device

    def evaluate(
        self, batch: GraphBatch, *, n_samples: int | None, stress: bool, first: int = 0
    ) -> NetworkOutputs:
        """See `BankEngine`."""
        samples = self.parameters[chosen_samples(self.n_samples, first, n_samples)]
        return _concatenate(
            self.function.evaluate_one(sample, batch, stress=stress) for sample in samples
        )


class VectorizedEngine:
    """All samples in one forward and one reverse pass in float32.

    The pass is split over the samples where its estimated memory exceeds the budget.
    """

    name: Final = "vectorized"
    dtype: Final = torch.float32

    def __init__(
        self, function: NetworkFunction, parameters: Tensor, *, memory_bytes: int | None = None
    ) -> None:
        """Keep the samples on the device.

        Args:
            function: The network, float32.
            parameters: Shape ``(n_samples, n_parameters)``.
            memory_bytes: Budget of one pass; None = chosen by the kind of device.
        """
        self._function = _checked(function, parameters, self.dtype)
        self._parameters = parameters.to(device=function.device, dtype=self.dtype)
        self._memory_bytes = (
            memory_budget(function.device) if memory_bytes is None else memory_bytes
        )
        self.n_samples = len(parameters)
        self.device = function.device

    def evaluate(
        self, batch: GraphBatch, *, n_samples: int | None, stress: bool, first: int = 0
    ) -> NetworkOutputs:
        """See `BankEngine`."""
        samples = self._parameters[chosen_samples(self.n_samples, first, n_samples)]
        sample_bytes = pass_bytes(self._function.config, n_edges=batch.edge_index.shape[1])
        at_once = max(1, self._memory_bytes // sample_bytes)
        return _concatenate(
            self._function.evaluate(chunk, batch, stress=stress)
            for chunk in torch.split(samples, at_once)
        )


def _checked(function: NetworkFunction, parameters: Tensor, dtype: torch.dtype) -> NetworkFunction:
    if function.dtype != dtype:
        raise ValueError(f"function must be of {dtype}, got {function.dtype}")
    if parameters.dim() != 2 or parameters.shape[1] != function.n_parameters:
        raise ValueError(
            f"parameters must have shape (n_samples, {function.n_parameters}), "
            f"got {tuple(parameters.shape)}"
        )
    return function


def chosen_samples(n_held: int, first: int, n_samples: int | None) -> slice:
    """Samples ``first`` to ``n_samples``, exclusive, or to the last if None.

    Raises:
        ValueError: If there are fewer, or none are meant.
    """
    if n_samples is None:
        n_samples = n_held
    if not 1 <= n_samples <= n_held:
        raise ValueError(f"n_samples must lie between 1 and {n_held}, got {n_samples}")
    if not 0 <= first < n_samples:
        raise ValueError(f"first must lie between 0 and {n_samples - 1}, got {first}")
    return slice(first, n_samples)


def _concatenate(parts: Iterable[NetworkOutputs]) -> NetworkOutputs:
    outputs = list(parts)
    first = outputs[0]
    if len(outputs) == 1:
        return first
    stresses = [part.stress for part in outputs if part.stress is not None]
    told = [p.force_epistemic_std for p in outputs if p.force_epistemic_std is not None]
    return NetworkOutputs(
        energy=torch.cat([part.energy for part in outputs]),
        forces=torch.cat([part.forces for part in outputs]),
        stress=torch.cat(stresses) if stresses else None,
        force_std=torch.cat([part.force_std for part in outputs]),
        energy_std=first.energy_std,
        latent=torch.cat([part.latent for part in outputs]),
        force_epistemic_std=torch.cat(told) if told else None,
    )


def pass_bytes(config: NetworkConfig, *, n_edges: int) -> int:
    """Estimated memory of one sample's pass; at least one byte."""
    components = config.n_features * (config.l_max + 1) ** 2
    if config.parity == "full":
        components *= 2
    return max(1, 4 * n_edges * config.n_layers * components * _VALUES_PER_COMPONENT)


def memory_budget(device: torch.device) -> int:
    """Bytes that one pass may take on a device."""
    if device.type != "cuda":
        return CPU_MEMORY_BYTES
    _, total = torch.cuda.mem_get_info(device)
    return int(CUDA_MEMORY_FRACTION * total)
