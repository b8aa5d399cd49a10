"""Certify an MD code and its adapter against a running service.

Runs the real code: one evaluation of a molecule and of a triclinic cell, whose energy, forces
(atom by atom) and stress (off-diagonals too) must be the service's; forces and stress must be
derivatives of the energy; 200 steps at constant energy must follow ASE's velocity Verlet, and
with float32 drift by less than 1 meV per atom. Exit code 0 only if every check holds.

    posterion serve --in-process &
    posterion-client selftest --client ase
"""

import argparse
import json
import sys
from pathlib import Path

import ase.io
from ase import Atoms

from posterion_client._cli.service_client import RETRY_S, client_of
from posterion_client._errors import InvalidArgument
from posterion_client._service_arguments import add_service_arguments
from posterion_client.selftest._codes import CODES, code_named
from posterion_client.selftest._jobs import N_STEPS
from posterion_client.selftest._run import certify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments.

    Args:
        parser: Of the subcommand.
    """
    parser.add_argument("--client", required=True, choices=list(CODES), help="which code")
    add_service_arguments(parser, retry_s=RETRY_S)
    parser.add_argument(
        "--structure",
        type=Path,
        help="file that ASE reads, periodic in all directions or in none; default ethanol, or "
        "silicon where the model knows that only",
    )
    parser.add_argument("--steps", type=int, default=N_STEPS, help="at constant energy (200)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the certificate as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Make the checks and print the certificate.

    Args:
        arguments: Of the command line.

    Returns:
        The exit code.

    Raises:
        InvalidArgument: If the code is not installed, or the structure cannot be read.
    """
    structure = None if arguments.structure is None else _structure(arguments.structure)
    with client_of(arguments) as client:
        try:
            certificate = certify(
                code_named(arguments.client),
                client,
                told=lambda text: print(f".. {text}", file=sys.stderr, flush=True),
                model=arguments.model,
                structure=structure,
                n_steps=arguments.steps,
            )
        except RuntimeError as error:  # what a code's own process ended with
            print(f"posterion-client: {arguments.client} failed: {error}", file=sys.stderr)
            return 1
    print(certificate.table())
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(certificate.document(), indent=1) + "\n")
    return 0 if certificate.holds else 1


def _structure(path: Path) -> Atoms:
    try:
        found = ase.io.read(path)
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}") from error
    return found[-1] if isinstance(found, list) else found
