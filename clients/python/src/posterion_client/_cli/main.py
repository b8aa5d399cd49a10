"""The command line: which subcommands there are, and how their errors end it.

Exit codes: 0 done · 1 the service, a check or the MD code failed · 2 wrong usage.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final, Protocol

from posterion_client._errors import InvalidArgument, PosterionError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "predict": ("_cli.predict", "ask about every frame of a file, and write the answers"),
    "ping": ("_cli.ping", "say who answers and how long a step takes"),
    "lammps": ("_cli.lammps", "run a LAMMPS input script with the service's forces"),
    "ipi-driver": ("_cli.ipi_driver", "answer i-PI over its socket"),
    "mdi-engine": ("mdi", "answer a driver of the MolSSI Driver Interface"),
    "selftest": ("_cli.selftest", "certify an MD code and its adapter against a service"),
}
"""Module below `posterion_client`, and what it does. A module is imported when it is named."""

DESCRIPTION: Final = """\
Energies, forces and their uncertainty from a Posterion service.

The service is looked for at --url, then in POSTERION_URL, then at http://127.0.0.1:8000;
`posterion serve` starts one.
"""


class Command(Protocol):
    """What a subcommand's module has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Describe its arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; the exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        arguments: Of the command line; default is this process's.

    Returns:
        The exit code.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="posterion-client",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for name, (_, purpose) in COMMANDS.items():
        commands.add_parser(name, help=purpose, add_help=False)
    # Only the named command is imported: each one needs what others do without.
    named = parser.parse_args(given[:1]).command
    return _run(named, given[1:])


def _run(name: str, arguments: Sequence[str]) -> int:
    module, purpose = COMMANDS[name]
    try:
        command: Command = import_module(f"posterion_client.{module}")
    except ImportError as error:
        return _ended(f"{name} needs a package that is missing here: {error}", EXIT_USAGE)
    parser = argparse.ArgumentParser(
        prog=f"posterion-client {name}",
        description=command.__doc__ or purpose,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    logging.basicConfig(format="posterion-client: %(message)s", level=logging.WARNING)
    try:
        return command.run(parser.parse_args(list(arguments)))
    except InvalidArgument as error:
        return _ended(str(error), EXIT_USAGE)
    except PosterionError as error:
        return _ended(str(error), EXIT_FAILED)
    except BrokenPipeError:
        return EXIT_FAILED


def _ended(said: str, code: int) -> int:
    print(f"posterion-client: {said}", file=sys.stderr)
    return code
