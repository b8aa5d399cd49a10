"""What the samples of a bank say of some structures, before it is reduced to predictions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posterion.graph.batch import Graph

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What the samples say of some structures, float64 on the CPU; axes as NetworkOutputs.

    Every operation on them takes all structures at once: what is called for each of a hundred
    small molecules costs more than what it computes.

    Attributes:
        n_atoms: Atoms of each structure; these follow each other on the axes of atoms.
        latent_scores: Those of the bank's latent density, shape ``(n_atoms,)``, if it has one.
    """

    n_atoms: tuple[int, ...]
    energies: Tensor
    forces: Tensor
    stress: Tensor | None
    force_std: Tensor
    energy_std: Tensor
    force_epistemic_std: Tensor | None
    latent_scores: FloatArray | None

    @property
    def finite(self) -> bool:
        """Whether every number is."""
        tensors = (
            self.energies,
            self.forces,
            self.stress,
            self.force_std,
            self.energy_std,
            self.force_epistemic_std,
        )
        scored = self.latent_scores is None or bool(np.isfinite(self.latent_scores).all())
        return scored and all(bool(t.isfinite().all()) for t in tensors if t is not None)

    def apart(self, graphs: Sequence[Graph]) -> "list[Answers]":
        """The same, structure by structure.

        Args:
            graphs: The structures; only of fully periodic ones is the stress kept.
        """

        def atoms(tensor: Tensor) -> tuple[Tensor, ...]:
            return torch.split(tensor, list(self.n_atoms), dim=1)

        own, scores = self.force_epistemic_std, self.latent_scores
        forces, force_std = atoms(self.forces), atoms(self.force_std)
        own_std = None if own is None else atoms(own)
        ends = np.cumsum(self.n_atoms)
        latent = None if scores is None else np.split(scores, ends[:-1])
        return [
            Answers(
                n_atoms=(n_atoms,),
                energies=self.energies[:, index : index + 1],
                forces=forces[index],
                stress=self.stress[:, index : index + 1]
                if self.stress is not None and graph.structure.fully_periodic
                else None,
                force_std=force_std[index],
                energy_std=self.energy_std[index : index + 1],
                force_epistemic_std=None if own_std is None else own_std[index],
                latent_scores=None if latent is None else latent[index],
            )
            for index, (n_atoms, graph) in enumerate(zip(self.n_atoms, graphs, strict=True))
        ]

    def joined(self, more: "Answers") -> "Answers":
        """These samples and further ones of the same structures."""

        def both(here: Tensor | None, there: Tensor | None) -> Tensor | None:
            return None if here is None or there is None else torch.cat([here, there])

        return replace(
            self,
            energies=torch.cat([self.energies, more.energies]),
            forces=torch.cat([self.forces, more.forces]),
            stress=both(self.stress, more.stress),
            force_std=torch.cat([self.force_std, more.force_std]),
            force_epistemic_std=both(self.force_epistemic_std, more.force_epistemic_std),
        )

    @property
    def rows(self) -> list[slice]:
        """Where the atoms of each structure are."""
        ends = accumulate(self.n_atoms)
        return [slice(end - n, end) for n, end in zip(self.n_atoms, ends, strict=True)]
