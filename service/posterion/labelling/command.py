"""What a person sees of exploring and labelling: one bar with ETA, then where the frames are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import ase.build
from ase import Atoms
from rich.console import Console

from posterion.errors import ConfigurationError
from posterion.labelling.exploration import Exploration, explore
from posterion.labelling.failures import LabellingIncomplete
from posterion.labelling.frame_file import FrameFile
from posterion.labelling.labels import finished, label
from posterion.labelling.reference import Reference
from posterion.observability.progress import progress_bars
from posterion.structures.ase_io import read_images

N_REASONS: Final = 5
"""Failed frames whose reasons are told in full."""


def run_exploration(start: str, reference: Reference, plan: Exploration, *, out: Path) -> None:
    """Visit geometries by dynamics and write them with the labels of the cheap level.

    Args:
        start: A file ASE reads, whose last frame is the start, or the name of a molecule
            that ``ase.build.molecule`` knows.
        reference: Drives the dynamics.
        plan: Temperature, numbers, times, seed.
        out: File to write; it must not exist.

    Raises:
        PosterionError: What went wrong; frames of finished trajectories are kept.
    """
    if out.exists():
        raise ConfigurationError(f"--out {out}: expected a new file, this one exists")
    atoms, file = _start(start), FrameFile(out)
    console = Console()
    with progress_bars(console) as bars:
        task = bars.add_task(f"{plan.temperature_K:g} K", total=plan.n_frames, note="")
        for frame in explore(atoms, reference, plan):
            file.append(frame)
            bars.update(task, advance=1, note=f"trajectory {frame.info['trajectory']}")
    console.print(f"{plan.n_frames} frames in {out}, labelled at {reference.level_of_theory}")


def run_labelling(path: Path, reference: Reference, *, out: Path, n_jobs: int) -> None:
    """Label the frames of a file that have no label yet.

    Args:
        path: A file ASE reads; labels it holds are ignored.
        reference: Level of theory.
        out: File to write or to continue.
        n_jobs: Processes side by side.

    Raises:
        LabellingIncomplete: If calculations failed; the others are kept, and the same
            command tries these again.
        PosterionError: What else went wrong; nothing that is written is lost.
    """
    if out.resolve() == path.resolve():
        raise ConfigurationError(f"--out {out}: expected another file than the input")
    frames, file = read_images(path), FrameFile(out)
    done = finished(frames, reference, file)
    todo = [index for index in range(len(frames)) if index not in done]
    failed: dict[int, str] = {}
    console = Console()
    with progress_bars(console) as bars:
        task = bars.add_task("labels", total=len(frames), completed=len(done), note="")
        for outcome in label(frames, todo, reference, n_jobs=n_jobs):
            if outcome.frame is None:
                failed[outcome.index] = outcome.reason
            else:
                file.append(outcome.frame)
            bars.update(task, advance=1, note=f"{len(failed)} failed" if failed else "")
    if failed:
        raise LabellingIncomplete(
            f"{len(failed)} of {len(frames)} frames have no label: {_told(failed)}; the "
            f"others are in {out}, and the same command tries these again"
        )
    console.print(f"{len(frames)} frames in {out}, labelled at {reference.level_of_theory}")


def _start(start: str) -> Atoms:
    path = Path(start)
    if path.is_file():
        return read_images(path)[-1]
    try:
        molecule: Atoms = ase.build.molecule(start)
    except (KeyError, NotImplementedError) as error:
        raise ConfigurationError(
            f"expected a file or a molecule that ase.build.molecule knows, got {start!r}"
        ) from error
    return molecule


def _told(failed: dict[int, str]) -> str:
    indices: Sequence[int] = list(failed)
    reasons = [f"{index} ({failed[index]})" for index in indices[:N_REASONS]]
    return ", ".join(reasons + [str(index) for index in indices[N_REASONS:]])
