"""All samples of a bank in one forward and one hand-written reverse pass, on a CPU."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posterion.graph.batch import GraphBatch
from posterion.inference.bank import chosen_samples
from posterion.inference.coupling import AngularColumns
from posterion.inference.fused.edges import EdgeDescriber
from posterion.inference.fused.network_pass import NetworkPass
from posterion.inference.raw_outputs import RawOutputs, Units
from posterion.inference.weights import single_precision
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.network.freezing import freeze
from posterion.network.functional import NetworkOutputs

THREAD_BYTES: Final = 2 * 2**20
"""A thread with less to work on, some 2 ms, costs more than it saves."""

KEPT_BYTES: Final = 64 * 2**20
"""Working memory above this is given back: one large structure must not cost a service its
memory for good."""


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
        self._n_threads = torch.get_num_threads() if n_threads is None else n_threads
        self._units = Units(config, reference, device=self.device)
        self.n_samples = len(parameters)
        self._n_features = config.n_features
        frozen, angular = single_precision(freeze(config, parameters)), AngularColumns()
        self._n_noise = frozen.noise.out.shape[-1]
        self._pass = NetworkPass(frozen, angular)
        self._describe = EdgeDescriber(config.elements, config.cutoff, frozen.harmonics, angular)
        self._pool = ThreadPoolExecutor(self._n_threads, "posterion-fused")
        self._memory: list[NDArray[np.float32]] = []

    def evaluate(
        self, batch: GraphBatch, *, n_samples: int | None, stress: bool, first: int = 0
    ) -> NetworkOutputs:
        """See `BankEngine`."""
        used = chosen_samples(self.n_samples, first, n_samples)
        edges = self._describe(batch)
        n_used = used.stop - used.start
        energy = np.empty((n_used, edges.n_atoms), dtype=np.float32)
        noise = np.empty((n_used, edges.n_atoms, self._n_noise), dtype=np.float32)
        latent = np.empty((n_used, edges.n_atoms, self._n_features), dtype=np.float32)
        forces = np.zeros((n_used, edges.n_atoms, 3))
        strain = np.zeros((n_used, batch.n_structures, 3, 3))
        answers = (energy, noise, latent, forces, strain)

        def run(part: slice) -> None:
            own = slice(part.start - used.start, part.stop - used.start)
            with self._working_memory(self._pass.memory(edges)) as work:
                self._pass(part, edges, work, [one[own] for one in answers])

        parts = list(_parts(used, self._useful_threads(n_used, 4 * self._pass.memory(edges))))
        if len(parts) == 1:
            run(used)
        else:
            list(self._pool.map(run, parts))
        raw = RawOutputs(*map(torch.from_numpy, answers))
        return self._units(raw, batch, stress=stress)

    def _useful_threads(self, n_samples: int, sample_bytes: int) -> int:
        """Over how many threads samples are worth spreading."""
        useful = n_samples * sample_bytes // THREAD_BYTES
        return max(1, min(self._n_threads, n_samples, useful))

    @contextmanager
    def _working_memory(self, n: int) -> Iterator[NDArray[np.float32]]:
        """Numbers to work on; kept if few, since new memory costs a fault per page."""
        work = self._memory.pop() if self._memory else np.empty(0, dtype=np.float32)
        if len(work) < n:
            work = np.empty(n, dtype=np.float32)
        yield work
        if work.nbytes <= KEPT_BYTES:
            self._memory.append(work)


def _parts(used: slice, n_threads: int) -> Iterator[slice]:
    """Runs of samples, one per thread."""
    size = -(-(used.stop - used.start) // n_threads)
    for start in range(used.start, used.stop, size):
        yield slice(start, min(used.stop, start + size))
