"""A network whose weights no longer change, taken apart for fast evaluation.

What training needs and an answer does not is gone: radial networks become spline tables of the
distance, and normalisations, path weights and the weights of elements are folded into plain
matrices.

Features are kept in blocks, one per irrep, of shape ``(n_atoms, 2 l + 1, n_features)``.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from torch import Tensor

from posterion.network.harmonics import Polynomial

N_INTERVALS: Final = 192
"""Of a radial table, from 0 to the cutoff."""


class Term(NamedTuple):
    """One product of components: target += value * source * harmonic."""

    source: int
    harmonic: int
    target: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """How a block of features, times harmonics of one degree, reaches a block of sums.

    Attributes:
        source: Block of features.
        target: Block of sums.
        slot: Place among the paths that reach the same target, from 0.
        terms: Components within their blocks, harmonics counted over all degrees; values are
            scaled so that the largest is 1 in magnitude.
    """

    source: int
    target: int
    slot: int
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """What all samples have in common.

    The first column block of target 0 are its own scalars, the g-th further one gates the
    g-th target of the kind ``gated``.

    Attributes:
        n_features: Channels of every block.
        sources: Components 2 l + 1 of every block of features that enters.
        targets: Components of every block of sums, before the gate.
        kinds: What the gate does to each target: ``even`` (silu), ``odd`` (tanh), ``gated``.
        paths: How sources reach targets, in the order of the columns of the radial table.
        scales: Factors of silu, of tanh, and of a gate's silu.
    """

    n_features: int
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    kinds: tuple[str, ...]
    paths: tuple[Path, ...]
    scales: tuple[float, float, float]


class LayerWeights(NamedTuple):
    """Matrices of one layer, float64; every tensor has a leading sample axis.

    Attributes:
        mix_in: Per source, ``(n_samples, n_features, n_features)``.
        radial: Spline coefficients, ``(n_samples, N_INTERVALS + DEGREE, n_paths * n_features)``.
        mix_out: Per target, ``(n_samples, n_slots * n_features, n_columns)``.
        inherit: Per target and source, ``(n_samples, n_elements, n_features, n_columns)``;
            None where the self-connection does not lead from this source to this target.
    """

    mix_in: tuple[Tensor, ...]
    radial: Tensor
    mix_out: tuple[Tensor, ...]
    inherit: tuple[tuple[Tensor | None, ...], ...]


class ReadoutWeights(NamedTuple):
    """silu(z @ hidden) @ out + offset, with a leading sample axis."""

    hidden: Tensor
    out: Tensor
    offset: Tensor


class FrozenNetwork(NamedTuple):
    """All samples of a bank, float64 on the CPU.

    Attributes:
        harmonics: Spherical harmonics of the unit vector from an atom to its neighbour.
        shapes: Of the layers.
        layers: Their weights.
        embedding: Scalars of each element, ``(n_samples, n_elements, n_features)``.
        energy: Readout of atomic energies.
        noise: Readout of the noise.
    """

    harmonics: tuple[Polynomial, ...]
    shapes: tuple[LayerShape, ...]
    layers: tuple[LayerWeights, ...]
    embedding: Tensor
    energy: ReadoutWeights
    noise: ReadoutWeights
