"""Run a LAMMPS input script with the forces of a Posterion service.

The script has, behind the definition of its atoms, the line

    fix posterion all external pf/callback 1 1

with any ID. Energy and virial then count as the atoms' own, and thermo_style can show

    f_posterion[1]  epistemic standard deviation of the energy
    f_posterion[2]  the largest one of an atom's force
    f_posterion[3]  root mean square over the atoms
    f_posterion[4]  0 no flag, 1 candidate, 2 failed

With `fix std all property/atom d_posterion_std` that of each atom's force can be dumped. MPI:
`mpiexec -n 2 posterion-client lammps ...`. Units metal or real.

    posterion-client lammps in.ethanol --elements C H O
"""

import argparse
import signal
from pathlib import Path

from posterion_client._service_arguments import add_run_arguments, service_settings
from posterion_client.lammps import LammpsRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments.

    Args:
        parser: Of the subcommand.
    """
    parser.add_argument("script", type=Path, help="LAMMPS input script")
    parser.add_argument(
        "--elements", nargs="+", required=True, help="symbol of each atom type, in order"
    )
    add_run_arguments(parser)
    parser.add_argument(
        "--lammps-arguments",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="...",
        help="last: what LAMMPS itself is to be told, e.g. -log none -screen none",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the script.

    Args:
        arguments: Of the command line.

    Returns:
        The exit code; an error of the service or of LAMMPS ends the process by itself.

    Raises:
        InvalidArgument: If the script has no place for the forces.
    """
    # Ctrl-C ends LAMMPS as it does without Python, in the middle of a run too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    settings = service_settings(arguments)
    with LammpsRun(arguments.elements, settings, arguments=arguments.lammps_arguments) as running:
        try:
            running.script(arguments.script)
        except Exception as error:
            if (
                type(error).__module__.partition(".")[0] != "lammps"
                and type(error) is not Exception
            ):
                raise
            return 1  # LAMMPS has said it in its log and on the screen
    return 0
