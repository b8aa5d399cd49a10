"""The command `posterion-client mdi-engine`, and the same engine as a plugin."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from posterion_client._elements import NUMBERS
from posterion_client._errors import InvalidArgument, PosterionError
from posterion_client._mpi import world
from posterion_client._service_arguments import add_run_arguments, service_settings
from posterion_client.mdi._engine import Engine, commands_of
from posterion_client.mdi._link import MdiLibrary, accepted, mdi_library
from posterion_client.mdi._system import System, read_structure

PLUGIN = "posterion_mdi"
"""Name under which a driver loads the plugin."""


def plugin_folder() -> Path:
    """What a driver gives as ``-plugin_path``, and what must be on its ``PYTHONPATH``."""
    return Path(__file__).parent / "plugin"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command.

    Args:
        parser: Of the command.
    """
    parser.add_argument(
        "-mdi",
        "--mdi",
        metavar="'OPTIONS'",
        help="options of MDI, e.g. '-role ENGINE -name posterion -method MPI'",
    )
    parser.add_argument(
        "--plugin-path",
        action="store_true",
        help=f"print the folder of the plugin {PLUGIN}, and end",
    )
    _add_system_arguments(parser)


def run(arguments: Namespace) -> int:
    """Answer an MDI driver with energies, forces and stress of a Posterion service.

    Args:
        arguments: Parsed.

    Returns:
        0 after the driver's EXIT, 1 where a command could not be answered, 2 where a setting
        is wrong.
    """
    if arguments.plugin_path:
        sys.stdout.write(f"{plugin_folder()}\n")
        return 0
    try:
        system = _system(arguments)
        library = _library(arguments.mdi)
    except InvalidArgument as error:
        _complain(error)
        return 2
    try:
        _serve(library, system)
    except Exception as error:  # noqa: BLE001 - the library raises no narrower one
        _complain(error)
        if "MPI" in arguments.mdi.split():
            # The driver waits for an answer that will not come.
            world().Abort(1)
        return 1
    finally:
        system.close()
    return 0


def open_plugin(state: object, *, wait: bool) -> None:
    """Begin as a plugin of a driver in the same process.

    Args:
        state: What MDI gives the plugin.
        wait: Whether the driver launched the plugin, and the commands are awaited here, or
            opened it, and they come by themselves.

    Raises:
        PosterionError: If a setting is wrong.
    """
    library = mdi_library()
    library.MDI_Set_plugin_state(state)
    words = [library.MDI_Plugin_get_arg(i) for i in range(library.MDI_Plugin_get_argc())]
    parser = ArgumentParser(prog=PLUGIN)
    _add_system_arguments(parser)
    system = _system(parser.parse_args(words))
    link = accepted(library, commands_of(system))
    engine = Engine(link, system)

    refused = False

    def execute(command: str, comm: int, obj: object) -> int:  # noqa: ARG001
        # MDI minds the return code of what it receives, not of what it sends: after a refusal
        # the next question is refused too, or it would be answered about the atoms before.
        nonlocal refused
        if refused:
            return 1
        try:
            engine.answer(command)
        except Exception as error:  # noqa: BLE001 - nothing passes through the C code of MDI
            _complain(error)
            refused = True
            return 1
        return 0

    library.MDI_Set_execute_command_func(execute, None)
    if wait:
        engine.serve()
        system.close()


def _add_system_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--elements",
        nargs="+",
        default=[],
        metavar="SYMBOL",
        help="element of every atom type, of type 1 first, for drivers that send >TYPES",
    )
    parser.add_argument(
        "--structure",
        type=Path,
        metavar="FILE",
        help="atoms to begin with, for drivers that ask for them; read by ASE",
    )
    parser.add_argument(
        "--isolated",
        action="store_true",
        help="the driver's cell is only a box around a molecule",
    )
    add_run_arguments(parser)


def _system(arguments: Namespace) -> System:
    unknown = [symbol for symbol in arguments.elements if symbol not in NUMBERS]
    if unknown:
        raise InvalidArgument(f"{unknown[0]!r} is no element")
    system = System(
        settings=service_settings(arguments),
        elements=arguments.elements,
        isolated=arguments.isolated,
    )
    if arguments.structure is not None:
        read_structure(system, arguments.structure)
    return system


def _library(options: str | None) -> MdiLibrary:
    if not options:
        raise InvalidArgument("-mdi is missing, e.g. -mdi '-role ENGINE -name e -method MPI'")
    library = mdi_library()
    try:
        library.MDI_Init(options)
    except Exception as error:
        raise InvalidArgument(f"{error} with the options {options!r}") from error
    return library


def _serve(library: MdiLibrary, system: System) -> None:
    link = accepted(library, commands_of(system))
    Engine(link, system).serve()


def _complain(error: Exception) -> None:
    said = str(error) if isinstance(error, PosterionError) else f"{type(error).__name__} {error}"
    sys.stderr.write(f"posterion-client mdi-engine: {' '.join(said.split())}\n")
    sys.stderr.flush()
