"""What an MDI engine answers, with the library replaced by a list of messages."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from posterion_client import InvalidArgument, PosterionError
from posterion_client._service_arguments import plain_settings
from posterion_client.mdi._engine import COMMANDS, Engine, commands_of
from posterion_client.mdi._system import System

FACTORS = {("bohr", "angstrom"): 0.5, ("hartree", "electron_volt"): 25.0}


class Messages:
    """A driver that said everything beforehand."""

    def __init__(self, commands: Sequence[str], values: Sequence[Sequence[float]]) -> None:
        self.commands, self.values = list(commands), list(values)
        self.sent: list[list[float]] = []

    def command(self) -> str:
        return self.commands.pop(0)

    def integers(self, count: int) -> NDArray[np.int32]:
        return np.array(self.values.pop(0)[:count], dtype=np.int32)

    def floats(self, count: int) -> NDArray[np.float64]:
        return np.array(self.values.pop(0)[:count], dtype=np.float64)

    def send_integers(self, values: Sequence[int]) -> None:
        self.sent.append(list(values))

    def send_floats(self, values: NDArray[np.float64]) -> None:
        self.sent.append(values.ravel().tolist())

    def send_node(self) -> None:
        self.sent.append([])

    def factor(self, unit: str, other: str) -> float:
        return FACTORS[unit, other]


def system(**fields: object) -> System:
    """A system of which nothing is known."""
    settings = plain_settings("http://127.0.0.1:9", model="m", digest="d", precision="float32")
    return System(settings=settings, **fields)  # type: ignore[arg-type] # fields of the test


def talk(
    about: System, commands: Sequence[str], values: Sequence[Sequence[float]] = ()
) -> list[list[float]]:
    """What an engine sends until EXIT."""
    link = Messages([*commands, "EXIT"], values)
    Engine(link, about).serve()
    return link.sent


def test_what_is_sent_comes_back() -> None:
    cell = [10.0, 0, 0, 1, 11, 0, 2, 3, 12]
    commands = [">NATOMS", ">ELEMENTS", ">COORDS", ">CELL", "@DEFAULT"]
    values: list[list[float]] = [[2], [8, 1], [0, 0, 0, 2, 0, 0], cell]
    about = system()
    found = talk(about, [*commands, "<NATOMS", "<ELEMENTS", "<COORDS", "<CELL", "<@"], values)
    assert found == [[2], [8, 1], values[2], cell, []]
    assert about.positions is not None
    assert about.positions[1].tolist() == [1.0, 0.0, 0.0]  # Angstrom


def test_electrons_are_said_before_the_first_question() -> None:
    about = system()
    found = talk(
        about,
        [">TOTCHARGE", ">ELEC_MULT", "<TOTCHARGE", "<ELEC_MULT"],
        [[-1.0], [2]],
    )
    assert found == [[-1.0], [2]]
    assert (about.settings["charge"], about.settings["spin_multiplicity"]) == (-1, 2)


def test_types_are_elements_by_their_order() -> None:
    about = system(elements=("H", "O"))
    assert talk(about, [">NATOMS", ">TYPES", "<ELEMENTS"], [[3], [2, 1, 1]]) == [[8, 1, 1]]
    assert commands_of(about) == (*COMMANDS, ">TYPES")
    assert ">TYPES" not in commands_of(system())


@pytest.mark.parametrize(
    ("commands", "values", "said"),
    [
        ([">COORDS"], [[0.0] * 3], "must send >NATOMS first"),
        ([">NATOMS", ">NATOMS"], [[2], [3]], "began with 2 atoms, the driver now sends 3"),
        ([">NATOMS"], [[0]], "sent 0 atoms"),
        ([">NATOMS", ">TYPES"], [[1], [1]], "say with --elements"),
        ([">NATOMS", ">ELEMENTS", ">ELEMENTS"], [[1], [1], [8]], "cannot change"),
        ([">NATOMS", ">COORDS", "<PE"], [[1], [0.0] * 3], "must send >ELEMENTS or >TYPES first"),
        ([">NATOMS", ">ELEMENTS", "<FORCES"], [[1], [1]], "must send >COORDS first"),
        ([">TOTCHARGE"], [[0.5]], "must be a whole number"),
        (["<ELEMENTS"], [], "which it never sent"),
        (["<CHARGES"], [], "the command <CHARGES is not known"),
    ],
)
def test_what_cannot_be_answered(
    commands: Sequence[str], values: Sequence[Sequence[float]], said: str
) -> None:
    with pytest.raises(PosterionError, match=said):
        talk(system(), commands, values)


def test_a_type_without_an_element() -> None:
    with pytest.raises(PosterionError, match="names types 1 to 1"):
        talk(system(elements=("H",)), [">NATOMS", ">TYPES"], [[2], [1, 2]])


def test_an_unknown_command_names_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="<STRESS"):
        talk(system(), ["RUN"])
