"""``posterion-client ipi-driver``: forces for i-PI over its socket."""

import argparse
import sys
from typing import Final

from posterion_client._errors import PosterionError
from posterion_client.ipi import pes_path
from posterion_client.ipi._evaluator import BeadEvaluator
from posterion_client.ipi._settings import read_settings
from posterion_client.ipi._socket_driver import SocketDriver, connected

EPILOG: Final = """\
Start i-PI with an <ffsocket>, then this; the elements are those of --template or --symbols:

  i-pi input.xml &
  posterion-client ipi-driver --unix --address posterion --template start.xyz

In an input with <ffdirect> i-PI loads the PES file itself; --pes-path prints where it is.
i-PI need not be installed where this runs.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes.

    Args:
        parser: Of the subcommand.
    """
    parser.description = "Answers i-PI over its socket with the forces of a Posterion service."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--pes-path", action="store_true", help="print the path of the PES file, and end")
    add("--unix", action="store_true", help="a UNIX domain socket instead of TCP")
    add("--address", default="localhost", help="host, or name of the UNIX socket")
    add("--port", type=int, default=12345, help="TCP port (default %(default)s)")
    add("--sockets-prefix", default="/tmp/ipi_", help="of the UNIX socket (default %(default)s)")  # noqa: S108 - i-PI's
    add("--template", help="file with the atoms in i-PI's order, read by ASE")
    add("--symbols", help="elements instead, separated by spaces")
    add("--url", help="address of the service (default: POSTERION_URL)")
    add("--model", help="model to ask")
    add("--version", help="version, digest or alias of the model")
    add("--digest", help="sample set that must answer")
    add("--committee", action="store_true", help="answer what each posterior sample says")
    add(
        *("-o", "--param"),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other parameter of the PES file, e.g. pbc=False; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the path, or answer i-PI until it ends.

    Args:
        arguments: What the command was given.

    Returns:
        Exit status: 1 where a step could not be answered.
    """
    if arguments.pes_path:
        sys.stdout.write(f"{pes_path()}\n")
        return 0
    try:
        evaluate = BeadEvaluator(read_settings(parameters_of(arguments)), _say)
        connection = connected(
            unix=arguments.unix,
            address=arguments.address,
            port=arguments.port,
            prefix=arguments.sockets_prefix,
        )
        SocketDriver(connection, evaluate).serve()
    except PosterionError as error:
        sys.stderr.write(f"posterion: {error}\n")
        return 1
    return 0


def parameters_of(arguments: argparse.Namespace) -> dict[str, object]:
    """The parameters of the PES file that the command was given.

    Args:
        arguments: What the command was given.
    """
    named = ("template", "symbols", "url", "model", "version", "digest")
    given = {name: getattr(arguments, name) for name in named}
    found: dict[str, object] = {n: value for n, value in given.items() if value is not None}
    if arguments.committee:
        found["committee"] = True
    for text in arguments.param:
        name, _, value = text.partition("=")
        found[name.strip()] = _value(value.strip())
    return found


def _value(text: str) -> object:
    """A number, true or false, or the text, as i-PI reads parameters."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _say(line: str) -> None:
    sys.stdout.write(f"posterion: {line}\n")
    sys.stdout.flush()
