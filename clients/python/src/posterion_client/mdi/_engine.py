"""Answers the commands of a driver, in the atomic units of MDI."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posterion_client._errors import InvalidArgument, UnsupportedProperty
from posterion_client.md import Evaluation, StepUncertainty
from posterion_client.mdi._link import NODE, Link
from posterion_client.mdi._system import System

FloatArray = NDArray[np.float64]

NODE_COMMANDS: Final = ("@", NODE)
COMMANDS: Final = (
    *(">NATOMS", "<NATOMS", ">ELEMENTS", "<ELEMENTS", ">COORDS", "<COORDS"),
    *(">CELL", "<CELL", ">CELL_DISPL", "<CELL_DISPL"),
    *(">TOTCHARGE", "<TOTCHARGE", ">ELEC_MULT", "<ELEC_MULT"),
    *("<ENERGY", "<PE", "<FORCES", "<STRESS", "<UNCERTAINTY", "<FORCES_STD"),
    *("SCF", "<@", *NODE_COMMANDS, "EXIT"),
)
"""What every driver may send; ``>TYPES`` only where types have elements."""


def commands_of(system: System) -> tuple[str, ...]:
    """What a driver may send.

    Args:
        system: Before the driver is there.
    """
    return (*COMMANDS, ">TYPES") if system.elements else COMMANDS


class Engine:
    """Answers commands about one system.

    Args:
        link: To the driver.
        system: Its atoms.
    """

    def __init__(self, link: Link, system: System) -> None:
        self._link = link
        self._system = system
        self._bohr = link.factor("bohr", "angstrom")
        self._hartree = link.factor("hartree", "electron_volt")
        self._receive: Mapping[str, Callable[[], None]] = {
            ">NATOMS": self._receive_count,
            ">ELEMENTS": self._receive_elements,
            ">TYPES": self._receive_types,
            ">COORDS": self._receive_positions,
            ">CELL": self._receive_cell,
            ">CELL_DISPL": self._receive_displacement,
            ">TOTCHARGE": self._receive_charge,
            ">ELEC_MULT": self._receive_multiplicity,
        }
        self._integers: Mapping[str, Callable[[], list[int]]] = {
            "<NATOMS": lambda: [system.n_atoms],
            "<ELEMENTS": self._numbers,
            "<ELEC_MULT": lambda: [system.settings["spin_multiplicity"]],
        }
        self._floats: Mapping[str, Callable[[], FloatArray]] = {
            "<COORDS": self._positions,
            "<CELL": self._cell,
            "<CELL_DISPL": self._displacement,
            "<TOTCHARGE": lambda: np.array([float(system.settings["charge"])]),
            "<ENERGY": self._energy,
            "<PE": self._energy,
            "<FORCES": lambda: system.evaluation().forces * self._per_force,
            "<STRESS": self._stress,
            "<UNCERTAINTY": self._uncertainty,
            "<FORCES_STD": lambda: _spread(system.evaluation()).force_epistemic * self._per_force,
        }

    @property
    def _per_force(self) -> float:
        return self._bohr / self._hartree

    def serve(self) -> None:
        """Answer until the driver says EXIT.

        Raises:
            PosterionError: If a command cannot be answered.
        """
        while True:
            command = self._link.command()
            if command == "EXIT":
                return
            self.answer(command)

    def answer(self, command: str) -> None:
        """Answer one command.

        Args:
            command: Its name.

        Raises:
            InvalidArgument: If there is no such command.
            PosterionError: If it cannot be answered.
        """
        if command in self._floats:
            self._link.send_floats(self._floats[command]())
        elif command in self._receive:
            self._receive[command]()
        elif command in self._integers:
            self._link.send_integers(self._integers[command]())
        elif command == "<@":
            self._link.send_node()
        elif command == "SCF":
            self._system.evaluation()
        elif command not in (*NODE_COMMANDS, "EXIT"):
            raise InvalidArgument(
                f"the command {command} is not known; known are {' '.join(COMMANDS)}"
            )

    def _receive_count(self) -> None:
        self._system.n_atoms = int(self._link.integers(1)[0])

    def _receive_elements(self) -> None:
        self._system.set_numbers(self._link.integers(self._system.n_atoms))

    def _receive_types(self) -> None:
        types = self._link.integers(self._system.n_atoms)
        if not self._system.elements:
            raise InvalidArgument(
                "the driver sends >TYPES: say with --elements which element each type is"
            )
        self._system.set_types(types.astype(np.int64))

    def _receive_positions(self) -> None:
        n_atoms = self._system.n_atoms
        self._system.positions = self._link.floats(3 * n_atoms).reshape(n_atoms, 3) * self._bohr

    def _receive_cell(self) -> None:
        self._system.cell = self._link.floats(9).reshape(3, 3) * self._bohr

    def _receive_displacement(self) -> None:
        self._system.displacement = self._link.floats(3) * self._bohr

    def _receive_charge(self) -> None:
        charge = float(self._link.floats(1)[0])
        if not charge.is_integer():
            raise InvalidArgument(f">TOTCHARGE must be a whole number, got {charge}")
        self._system.set_electrons(charge=int(charge))

    def _receive_multiplicity(self) -> None:
        self._system.set_electrons(multiplicity=int(self._link.integers(1)[0]))

    def _numbers(self) -> list[int]:
        if self._system.numbers is None:
            raise InvalidArgument("the driver asks for <ELEMENTS, which it never sent")
        return [int(number) for number in self._system.numbers]

    def _positions(self) -> FloatArray:
        if self._system.positions is None:
            raise InvalidArgument("the driver asks for <COORDS, which it never sent")
        return self._system.positions / self._bohr

    def _cell(self) -> FloatArray:
        cell = self._system.cell
        return np.zeros((3, 3)) if cell is None else cell / self._bohr

    def _displacement(self) -> FloatArray:
        found = self._system.displacement
        return np.zeros(3) if found is None else found / self._bohr

    def _energy(self) -> FloatArray:
        return np.array([self._system.evaluation().energy / self._hartree])

    def _stress(self) -> FloatArray:
        """The virial by the volume, so positive under pressure."""
        stress = self._system.evaluation().stress
        if stress is None:
            raise UnsupportedProperty("<STRESS exists only where all directions are periodic")
        return -stress * (self._bohr**3 / self._hartree)

    def _uncertainty(self) -> FloatArray:
        said = self._system.evaluation()
        spread = _spread(said)
        force = self._per_force
        return np.array(
            [
                spread.energy_epistemic / self._hartree,
                spread.force_max * force,
                spread.force_rms * force,
                float(said.level),
            ]
        )


def _spread(said: Evaluation) -> StepUncertainty:
    if said.uncertainty is None:
        raise UnsupportedProperty("the service did not say how certain it is")
    return said.uncertainty
