"""All samples of a bank in one forward and one hand-written reverse pass, on a CPU."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import torch
from torch import Tensor

from posterion.graph.batch import GraphBatch
from posterion.inference.bank import chosen_samples
from posterion.inference.coupling import AngularColumns
from posterion.inference.fused.edges import EdgeDescriber, Edges
from posterion.inference.fused.geometry import forces_source
from posterion.inference.fused.kernel import compiled
from posterion.inference.fused.layer import ByEdge, FirstLayer, FusedLayer
from posterion.inference.raw_outputs import (
    RawOutputs,
    Units,
    atomic_energy,
    atomic_noise,
    joined,
)
from posterion.inference.weights import samples_of, single_precision
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.network.freezing import freeze
from posterion.network.frozen import FrozenNetwork
from posterion.network.functional import NetworkOutputs

WORKING_SET_BYTES: Final = 64 * 2**20
"""What the samples that are evaluated together may take. More than caches hold is slower: 32
samples of 16 aspirin at once take a sixth longer than eight at a time."""

THREAD_BYTES: Final = 12 * 2**20
"""A thread with less to do costs more, in turns at the interpreter, than it saves."""

_TORCH_THREADS: Final = threading.Lock()
"""Torch has one number of threads for the whole process: nobody reads it while it is lowered."""


class FusedEngine:
    """Generated kernels over samples that were taken apart; see `BankEngine`.

    Nothing is differentiated by weights, geometry is shared, and samples are spread over
    threads.
    """

    name: Final = "fused"
    dtype: Final = torch.float32
    device: Final = torch.device("cpu")

    def __init__(
        self,
        config: NetworkConfig,
        reference: EnergyReference,
        parameters: Tensor,
        *,
        n_threads: int | None = None,
    ) -> None:
        """Take the samples apart and write the kernels; they are compiled when first used.

        Args:
            config: Architecture.
            reference: Energy reference.
            parameters: Shape ``(n_samples, n_parameters)``.
            n_threads: Over which samples are spread; None = as many as torch uses now.
        """
        if n_threads is None:
            with _TORCH_THREADS:
                n_threads = torch.get_num_threads()
        self._n_threads = n_threads
        self._units = Units(config, reference, device=self.device)
        self.n_samples = len(parameters)
        self._frozen = single_precision(freeze(config, parameters))
        angular = AngularColumns()
        first, *others = self._frozen.shapes
        self._first = FirstLayer(first, angular)
        self._others = [FusedLayer(shape, angular) for shape in others]
        self._describe = EdgeDescriber(
            config.elements, config.cutoff, self._frozen.harmonics, angular
        )
        self._collect = compiled(forces_source())
        self._pool = ThreadPoolExecutor(n_threads, "posterion-fused")

    def evaluate(
        self, batch: GraphBatch, *, n_samples: int | None, stress: bool, first: int = 0
    ) -> NetworkOutputs:
        """See `BankEngine`."""
        used = chosen_samples(self.n_samples, first, n_samples)
        edges = self._describe(batch)
        sample_bytes = self._sample_bytes(edges)
        n_threads = min(self._n_threads, _useful_threads(used, sample_bytes))
        parts = list(_parts(used, n_threads=n_threads, sample_bytes=sample_bytes))

        def run(part: slice) -> RawOutputs:
            return self._run(samples_of(self._frozen, part), edges, batch.n_structures)

        raw = [run(part) for part in parts] if n_threads == 1 else self._in_threads(run, parts)
        return self._outputs(joined(raw), edges, batch, stress=stress)

    def _run(self, frozen: FrozenNetwork, edges: Edges, n_structures: int) -> RawOutputs:
        """Forward and reverse pass of some samples."""
        n_samples = len(frozen.embedding)
        first, *others = frozen.layers
        features, start = self._first.start(first, edges, frozen.embedding)
        passed = []
        for layer, weights in zip(self._others, others, strict=True):
            features, one = layer.forward(weights, edges, features)
            passed.append(one)
        latent = features[0][:, :, 0]
        energy, by_latent = atomic_energy(latent, frozen.energy)
        by_edge = ByEdge(
            np.zeros((n_samples, edges.n_edges, len(frozen.harmonics)), dtype=np.float32),
            np.zeros((n_samples, edges.n_edges), dtype=np.float32),
        )
        by_feature = [by_latent[:, :, None]]
        for layer, weights, one in reversed(list(zip(self._others, others, passed, strict=True))):
            by_feature = layer.backward(weights, edges, one, by_feature, by_edge)
        self._first.finish(first, edges, start, by_feature, by_edge)
        forces = np.zeros((n_samples, edges.n_atoms, 3))
        strain = np.zeros((n_samples, n_structures, 3, 3))
        self._collect(
            *by_edge,
            edges.jacobian,
            edges.unit,
            edges.vectors,
            edges.first,
            edges.neighbor,
            edges.structure,
            forces,
            strain,
        )
        return RawOutputs(
            energy=energy,
            noise=atomic_noise(latent, frozen.noise),
            latent=latent,
            forces=torch.from_numpy(forces),
            strain=torch.from_numpy(strain),
        )

    def _in_threads(
        self, run: Callable[[slice], RawOutputs], parts: list[slice]
    ) -> list[RawOutputs]:
        """Run parts side by side, each on one thread: kernels and products release the lock."""
        with _TORCH_THREADS:
            before = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                return list(self._pool.map(run, parts))
            finally:
                torch.set_num_threads(before)

    def _outputs(
        self, raw: RawOutputs, edges: Edges, batch: GraphBatch, *, stress: bool
    ) -> NetworkOutputs:
        """Restore the order of the batch and the units."""
        place = edges.place
        ordered = RawOutputs(
            energy=raw.energy[:, place],
            noise=raw.noise[:, place],
            latent=raw.latent[:, place],
            forces=raw.forces[:, place],
            strain=raw.strain,
        )
        return self._units(ordered, batch, stress=stress)

    def _sample_bytes(self, edges: Edges) -> int:
        """Memory that one sample takes, at least: features of all layers, derivatives by edges."""
        per_atom = sum(layer.values_per_atom for layer in (self._first, *self._others))
        per_edge = 1 + len(self._frozen.harmonics)
        return 4 * (edges.n_atoms * per_atom + edges.n_edges * per_edge)


def _useful_threads(used: slice, sample_bytes: int) -> int:
    """Over how many threads samples are worth spreading."""
    n_samples: int = used.stop - used.start
    return max(1, min(n_samples, n_samples * sample_bytes // THREAD_BYTES))


def _parts(used: slice, *, n_threads: int, sample_bytes: int) -> Iterator[slice]:
    """Runs of samples: as many as threads, more where caches are short."""
    at_once = max(1, WORKING_SET_BYTES // (n_threads * sample_bytes))
    size = min(at_once, -(-(used.stop - used.start) // n_threads))
    for start in range(used.start, used.stop, size):
        yield slice(start, min(used.stop, start + size))
