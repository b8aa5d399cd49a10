"""What all samples share of a batch, on its device: edges, harmonics, places in the table."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from posterion.graph.batch import GraphBatch
from posterion.inference.coupling import AngularColumns
from posterion.network.config import NetworkConfig
from posterion.network.frozen import N_INTERVALS
from posterion.network.harmonics import Polynomial
from posterion.network.spline import DEGREE, weight_polynomials


class DeviceEdges(NamedTuple):
    """Edges in the order of their centre; indices are int64.

    Attributes:
        one_hot: Element of each atom, ``(n_atoms, n_elements)``, float32.
        structure: Structure of each atom.
        vectors: Centre to neighbour, Angstrom, ``(n_edges, 3)``, float64.
        unit: Unit vectors, likewise.
        jacobian: Derivatives of the harmonics, ``(n_edges, n_harmonics, 3)``, float64.
        centre: Atom each edge starts from.
        neighbor: Atom it leads to.
        first: First edge of each atom, then the number of edges.
        arriving: Edges in the order of their neighbour.
        first_arriving: First of them of each atom, then the number of edges.
        angular: See `AngularColumns`, ``(n_edges, n_columns)``, float32.
        knot: Interval of the radial table.
        weight: Of the table's entries for a value, ``(n_edges, TABLE_ROWS)``, float32.
        slope: Of the table's entries for the derivative by the distance, likewise.
    """

    one_hot: Tensor
    structure: Tensor
    vectors: Tensor
    unit: Tensor
    jacobian: Tensor
    centre: Tensor
    neighbor: Tensor
    first: Tensor
    arriving: Tensor
    first_arriving: Tensor
    angular: Tensor
    knot: Tensor
    weight: Tensor
    slope: Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.structure)

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return len(self.centre)


class DeviceEdgeDescriber:
    """Describes the edges of a batch for the kernels of one network."""

    def __init__(
        self,
        config: NetworkConfig,
        harmonics: Sequence[Polynomial],
        angular: AngularColumns,
        *,
        device: torch.device,
    ) -> None:
        """Write polynomials as matrices.

        Args:
            config: Architecture.
            harmonics: Of its edges.
            angular: Combinations of them, complete.
            device: Where batches lie.
        """
        powers = sorted({powers for one in harmonics for powers, _ in one})
        factors = torch.zeros((len(powers), len(harmonics)), dtype=torch.float64)
        for number, polynomial in enumerate(harmonics):
            for term, value in polynomial:
                factors[powers.index(term), number] = value
        columns = torch.zeros((len(harmonics), len(angular.combinations)), dtype=torch.float64)
        for column, combination in enumerate(angular.combinations):
            for number, value in combination:
                columns[number, column] = value
        spline = torch.from_numpy(weight_polynomials().copy())
        self._powers = torch.tensor(powers, dtype=torch.float64).to(device)
        self._factors, self._columns = factors.to(device), columns.to(device)
        self._spline = spline.to(device)
        self._exponents = torch.arange(DEGREE + 1, dtype=torch.float64).to(device)
        self._density = N_INTERVALS / config.cutoff
        species = torch.zeros((119, len(config.elements)), dtype=torch.float32)
        species[list(config.elements), range(len(config.elements))] = 1.0
        self._species = species.to(device)

    def __call__(self, batch: GraphBatch) -> DeviceEdges:
        """Order the edges, and evaluate what depends on geometry alone."""
        n_atoms = len(batch.atomic_numbers)
        by_centre = torch.argsort(batch.edge_index[0], stable=True)
        centre, neighbor = batch.edge_index[:, by_centre].contiguous()
        vectors = batch.vectors[by_centre].double()
        distance = vectors.norm(dim=1, keepdim=True)
        unit = vectors / distance
        harmonic, slopes = self._harmonics(unit)
        along = (slopes * unit[:, None]).sum(dim=2, keepdim=True)
        place = distance[:, 0] * self._density
        knot = place.long().clamp(max=N_INTERVALS - 1)
        weight, slope = self._weights(place - knot)
        return DeviceEdges(
            one_hot=self._species[batch.atomic_numbers],
            structure=batch.structure_index,
            vectors=vectors,
            unit=unit,
            jacobian=(slopes - along * unit[:, None]) / distance[:, None],
            centre=centre,
            neighbor=neighbor,
            first=_starts(centre, n_atoms),
            arriving=torch.argsort(neighbor, stable=True),
            first_arriving=_starts(neighbor, n_atoms),
            angular=(harmonic @ self._columns).float(),
            knot=knot,
            weight=weight.float(),
            slope=slope.float(),
        )

    def _harmonics(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Polynomials of the components, and their derivatives by them."""
        powers = unit[:, None] ** self._powers
        lowered = self._powers * unit[:, None] ** (self._powers - 1.0).clamp(min=0.0)
        x, y, z = powers.unbind(dim=2)
        by_x, by_y, by_z = lowered.unbind(dim=2)
        slopes = torch.stack([by_x * y * z, x * by_y * z, x * y * by_z], dim=1) @ self._factors
        return (x * y * z) @ self._factors, slopes.transpose(1, 2)

    def _weights(self, fraction: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the table's entries, and their derivatives by the distance."""
        powers = fraction[:, None] ** self._exponents
        lowered = self._exponents[1:] * powers[:, :-1]
        return powers @ self._spline.T, self._density * (lowered @ self._spline[:, 1:].T)


def _starts(atoms: Tensor, n_atoms: int) -> Tensor:
    """Where the edges of each atom begin in their order, and how many there are."""
    return torch.nn.functional.pad(torch.bincount(atoms, minlength=n_atoms).cumsum(0), (1, 0))
