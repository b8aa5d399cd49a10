"""The structures the client's tests ask about."""

from typing import Any, Final

from ase import Atoms, build

from posterion_client import Structure


def molecule(name: str) -> Atoms:
    """A molecule of ASE's collection."""
    atoms = build.molecule(name)  # type: ignore[no-untyped-call] # ASE has no types here
    assert isinstance(atoms, Atoms)
    return atoms


def silicon() -> Atoms:
    """The primitive cell of silicon: fully periodic, triclinic."""
    return build.bulk("Si")


def aluminium_slab() -> Atoms:
    """Periodic in two directions, without a third lattice vector."""
    atoms = build.fcc111("Al", size=(1, 1, 2))  # type: ignore[no-untyped-call] # as above
    assert isinstance(atoms, Atoms)
    return atoms


ETHANOL: Final = Structure.from_ase(molecule("CH3CH2OH"))
URANIUM: Final = Structure(symbols=["U"], positions=[[0.0, 0.0, 0.0]])
"""An element the stand-in does not know."""
FAR: Final = Structure(symbols=["H", "H"], positions=[[0.0, 0.0, 0.0], [101.0, 0.0, 0.0]])
"""A structure the stand-in flags."""


def call(method: Any, *arguments: Any) -> Any:  # noqa: ANN401 - ASE has few types
    """Call a function of ASE that has no types."""
    return method(*arguments)
