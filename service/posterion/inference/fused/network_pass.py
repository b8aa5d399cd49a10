"""Forward and reverse pass of a frozen network, as one compiled function."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posterion.inference.coupling import AngularColumns
from posterion.inference.fused.edges import Edges
from posterion.inference.fused.geometry import write_forces
from posterion.inference.fused.kernel import compiled
from posterion.inference.fused.layer import FirstLayer, FusedLayer
from posterion.inference.fused.program import Program
from posterion.inference.fused.readout import read_noise, read_out
from posterion.network.frozen import FrozenNetwork

_EDGES: Final = (
    *("order", "species", "spans", "structure", "vectors", "first", "neighbor"),
    *("jacobian", "unit", "angular", "knot", "weight", "slope"),
)
_ANSWERS: Final = ("energy", "noise", "latent", "forces", "strain")

FloatArray = NDArray[np.float32]


class NetworkPass:
    """Samples of one architecture, through all layers and back."""

    def __init__(self, frozen: FrozenNetwork, angular: AngularColumns) -> None:
        """Write the program; it is compiled when first used.

        Args:
            frozen: Samples in single precision.
            angular: Takes up the combinations of harmonics that the layers need.
        """
        self._n_harmonics = len(frozen.harmonics)
        program = self._program = Program(*_EDGES, *_ANSWERS)
        first = FirstLayer(program, frozen.shapes[0], frozen.layers[0], angular, frozen.embedding)
        others = [
            FusedLayer(program, shape, weights, angular)
            for shape, weights in zip(frozen.shapes[1:], frozen.layers[1:], strict=True)
        ]
        program.body.line("n = first.shape[0] - 1")
        program.body.line("m = neighbor.shape[0]")
        program.body.line(f"by_harmonic = view(work, edge, m, {self._n_harmonics})")
        program.body.line(f"by_distance = view(work, edge + m * {self._n_harmonics}, m, 1)")
        with program.body.loop("k", "weights.shape[0]"):
            program.body.line("w = weights[k]")
            self._write_sample(first, others, frozen)
        self._weights: FloatArray = program.packed()
        self._run = compiled(program.text)

    def _write_sample(
        self, first: FirstLayer, others: list[FusedLayer], frozen: FrozenNetwork
    ) -> None:
        program = self._program
        features = first.start()
        for layer in others:
            features = layer.forward(features)
        program.clear("by_harmonic")
        program.clear("by_distance")
        read_noise(program, features[0], frozen.noise)
        by_feature = [read_out(program, features[0], frozen.energy)]
        for layer in reversed(others):
            by_feature = layer.backward(by_feature)
        first.finish(by_feature)
        collect = program.kernel(
            "collect", None, lambda to, name: write_forces(to, name, self._n_harmonics)
        )
        program.call(
            collect,
            *("by_harmonic", "by_distance", "jacobian", "unit", "vectors", "first", "neighbor"),
            *("order", "structure", "forces[k]", "strain[k]"),
        )

    def __call__(
        self,
        part: slice,
        edges: Edges,
        work: FloatArray,
        answers: Sequence[NDArray[np.floating[Any]]],
    ) -> None:
        """Evaluate some samples.

        Args:
            part: Which.
            edges: Of the batch.
            work: Working memory, at least ``memory(edges)`` numbers.
            answers: Of these samples, in the order of the batch: energies of atoms, ``(K,
                n_atoms)``, noise, ``(K, n_atoms, n_outputs)``, latent scalars, ``(K, n_atoms,
                n_features)``; overwritten. Forces,
                ``(K, n_atoms, 3)``, derivatives by strain, ``(K, n_structures, 3, 3)``; added to.
        """
        _, *places = self._places(edges)
        arrays = (getattr(edges, name) for name in _EDGES)
        self._run(self._weights[part], work, *places, *arrays, *answers)

    def memory(self, edges: Edges) -> int:
        """Numbers that one sample works on."""
        return self._places(edges)[0]

    def _places(self, edges: Edges) -> tuple[int, int, int, int]:
        return self._program.memory(
            n_atoms=edges.n_atoms, n_edges=edges.n_edges, n_per_edge=1 + self._n_harmonics
        )
