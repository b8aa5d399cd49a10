"""Answer i-PI over its socket with the forces of a running service.

Start i-PI with an <ffsocket>, then this. The elements, which i-PI does not tell its drivers,
are those of --template or --symbols:

    i-pi input.xml &
    posterion-client ipi-driver --unix --address posterion --template start.xyz

In an input with <ffdirect> i-PI loads the PES file itself; --pes-path prints where it is.
i-PI need not be installed where this runs. Exit code 1 if a step could not be answered.
"""

import argparse

from posterion_client.ipi import pes_path
from posterion_client.ipi._evaluator import BeadEvaluator
from posterion_client.ipi._settings import read_settings
from posterion_client.ipi._socket_driver import SOCKETS_PREFIX, SocketDriver, connected

_NAMED = ("template", "symbols", "url", "model", "version", "digest")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments.

    Args:
        parser: Of the subcommand.
    """
    add = parser.add_argument
    add("--pes-path", action="store_true", help="print the path of the PES file, and end")
    add("--unix", action="store_true", help="a UNIX domain socket instead of TCP")
    add("--address", default="localhost", help="host, or name of the UNIX socket")
    add("--port", type=int, default=12345, help="TCP port (default %(default)s)")
    add("--sockets-prefix", default=SOCKETS_PREFIX, help="of UNIX sockets (default %(default)s)")
    add("--template", help="file with the atoms in i-PI's order, read by ASE")
    add("--symbols", help="the elements instead, separated by spaces")
    add("--url", help="address of the service")
    add("--model", help="model to ask; default is the service's")
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
        arguments: Of the command line.

    Returns:
        The exit code.

    Raises:
        PosterionError: If a setting is wrong, or a step cannot be answered.
    """
    if arguments.pes_path:
        print(pes_path())
        return 0
    evaluate = BeadEvaluator(read_settings(_parameters(arguments)), _say)
    connection = connected(
        unix=arguments.unix,
        address=arguments.address,
        port=arguments.port,
        prefix=arguments.sockets_prefix,
    )
    try:
        SocketDriver(connection, evaluate).serve()
    finally:
        evaluate.close()
    return 0


def _parameters(arguments: argparse.Namespace) -> dict[str, object]:
    found: dict[str, object] = {
        name: getattr(arguments, name) for name in _NAMED if getattr(arguments, name) is not None
    }
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
    print(f"posterion-client: {line}", flush=True)
