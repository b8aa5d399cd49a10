"""Ask about every frame of a file that ASE reads, and write the answers as extended XYZ.

Energies, forces, stress, their standard deviations and flags go where extended XYZ keeps them
(see `record_uncertainty`). Frames are read, asked about and written a few hundred at a time, so
a file may be larger than memory. A frame that cannot be evaluated is written without results,
with its error in `posterion_error`; the exit code is then 1.

    posterion-client predict trajectory.extxyz answers.extxyz --model ethanol
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import ase.io
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from posterion_client._ase_edge import STANDARD_DEVIATIONS, standard_results
from posterion_client._cli.service_client import RETRY_S, client_of
from posterion_client._errors import InvalidArgument, PosterionError, StructureError
from posterion_client._request import MAX_STRUCTURES_PER_REQUEST, PredictOptions
from posterion_client._results import Prediction
from posterion_client._service_arguments import add_precision, add_service_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments.

    Args:
        parser: Of the subcommand.
    """
    parser.add_argument("input", type=Path, help="file of frames")
    parser.add_argument("output", type=Path, help="extended XYZ file that is written")
    add_service_arguments(parser, retry_s=RETRY_S)
    parser.add_argument("--stress", action="store_true", help="of fully periodic frames too")
    add_precision(parser)
    parser.add_argument(
        "--interactive", action="store_true", help="do not yield to simulations on the service"
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask and write.

    Args:
        arguments: Of the command line.

    Returns:
        The exit code.

    Raises:
        InvalidArgument: If a file cannot be read or written.
        PosterionError: If the service cannot answer.
    """
    if arguments.output.exists() and arguments.output.samefile(arguments.input):
        raise InvalidArgument("the output would replace the input; name another file")
    options = PredictOptions(
        stress=arguments.stress,
        precision=arguments.precision,
        priority="interactive" if arguments.interactive else "bulk",
    )
    n_frames = n_flagged = n_errors = 0
    frames = _frames(arguments.input)
    with client_of(arguments) as client:
        while part := list(islice(frames, MAX_STRUCTURES_PER_REQUEST)):
            outcomes = client.predict_many(part, on_error="return", options=options)
            answered = []
            for atoms, outcome in zip(part, outcomes, strict=True):
                answered.append(_answered(atoms, outcome))
                n_errors += isinstance(outcome, PosterionError)
                n_flagged += isinstance(outcome, Prediction) and bool(outcome.flags)
            _write(arguments.output, answered, append=n_frames > 0)
            n_frames += len(part)
            print(f"\r{n_frames} frames", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(f"{n_frames} frames: {n_flagged} flagged, {n_errors} not evaluated; {arguments.output}")
    return 1 if n_errors or not n_frames else 0


def _frames(path: Path) -> Iterator[Atoms]:
    try:
        yield from ase.io.iread(path)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}") from error


def _write(path: Path, frames: list[Atoms], *, append: bool) -> None:
    try:
        ase.io.write(path, frames, format="extxyz", append=append)
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be written: {error}") from error


def _answered(atoms: Atoms, outcome: Prediction | PosterionError) -> Atoms:
    """A copy of a frame that holds the answer in place of its own labels."""
    found: Atoms = atoms.copy()
    if isinstance(outcome, StructureError):
        found.info["posterion_error"] = outcome.code
        return found
    if isinstance(outcome, PosterionError):
        raise outcome
    found.calc = SinglePointCalculator(found, **standard_results(outcome))
    if outcome.uncertainty is not None:
        for name, value in STANDARD_DEVIATIONS.items():
            told = value(outcome.uncertainty)
            if isinstance(told, float):
                found.info[name] = told
            else:
                found.arrays[name] = told
    found.info["posterion_flags"] = " ".join(flag.code for flag in outcome.flags)
    found.info["posterion_digest"] = outcome.model.digest
    return found
