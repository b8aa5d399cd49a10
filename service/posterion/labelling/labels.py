"""Labels for structures: energies and forces of a reference, frame by frame, resumable.

What is written says which frame of the input it answers (``source_index``) and at which
level of theory, so that a second run continues where the first one ended, and a file made
of other geometries or at another level is refused rather than mixed.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import Final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from posterion.errors import ConfigurationError, InvalidStructure
from posterion.labelling.exploration import labelled
from posterion.labelling.failures import LabellingIncomplete
from posterion.labelling.frame_file import FrameFile
from posterion.labelling.reference import CALCULATION_ERRORS, Reference
from posterion.structures.ase_io import structure_from_atoms

SAME_POSITION: Final = 1e-6
"""Positions this close are the same, Angstrom; the file holds eight decimals."""

THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one frame.

    Attributes:
        index: Of the frame in the input.
        frame: With labels, None if the calculation failed.
        reason: Why it failed, empty if it did not.
    """

    index: int
    frame: Atoms | None
    reason: str = ""


def finished(frames: Sequence[Atoms], reference: Reference, file: FrameFile) -> set[int]:
    """Indices of the frames that the file already holds labels of.

    A frame that a killed run left incomplete is removed from the file.

    Args:
        frames: The input.
        reference: The level of theory asked for.
        file: Where labels are written.

    Returns:
        Indices into ``frames``.

    Raises:
        ConfigurationError: If the file holds labels of other geometries or another level.
        DatasetError: If the file cannot be read.
    """
    done = set()
    for number, written in enumerate(file.recover()):
        index = _source_index(written, frames)
        level = written.info.get("level_of_theory")
        where = f"{file.path}, frame {number}"
        if index is None:
            raise ConfigurationError(f"{where} is no label of these frames; give another --out")
        if level != reference.level_of_theory:
            raise ConfigurationError(
                f"{where} was computed at {level!r}, not {reference.level_of_theory!r}; give "
                "another --out"
            )
        done.add(index)
    return done


def label(
    frames: Sequence[Atoms], todo: Sequence[int], reference: Reference, *, n_jobs: int = 1
) -> Iterator[Outcome]:
    """Compute labels, in the order of ``todo``.

    Args:
        frames: The input.
        todo: Indices of the frames to compute.
        reference: Level of theory.
        n_jobs: Processes side by side; each one is given one thread.

    Yields:
        One outcome per index.

    Raises:
        CalculatorUnavailable: If the program behind the reference is not installed.
        LabellingIncomplete: If a process was killed.
    """
    reference.calculator()
    one = partial(_outcome, reference)
    chosen = [frames[index] for index in todo]
    if n_jobs == 1:
        yield from map(one, todo, chosen)
        return
    with _one_thread_each():
        pool = ProcessPoolExecutor(
            n_jobs, mp_context=get_context("spawn"), initializer=_end_with_parent
        )
        try:
            yield from pool.map(one, todo, chosen)
        except BrokenProcessPool as error:
            raise LabellingIncomplete(
                "a process was killed, perhaps for want of memory; what is written is kept, "
                "and the same command with fewer --jobs continues"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let this process end when the one that started it is killed."""
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=_wait_and_exit, args=(parent,), daemon=True).start()


def _wait_and_exit(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _outcome(reference: Reference, index: int, atoms: Atoms) -> Outcome:
    try:
        structure = structure_from_atoms(atoms)
        if structure.charge != 0 or structure.spin_multiplicity != 1:
            return Outcome(index=index, frame=None, reason="expected a neutral singlet")
        energy, forces = _evaluated(atoms, reference)
    except InvalidStructure as error:
        return Outcome(index=index, frame=None, reason=error.detail)
    except CALCULATION_ERRORS as error:
        return Outcome(index=index, frame=None, reason=f"{type(error).__name__}: {error}")
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        return Outcome(index=index, frame=None, reason="energy or forces are not finite")
    inherited = {key: value for key, value in atoms.info.items() if key != "level_of_theory"}
    info = inherited | {"source_index": index, "level_of_theory": reference.level_of_theory}
    return Outcome(index=index, frame=labelled(atoms, energy, forces, info))


def _evaluated(atoms: Atoms, reference: Reference) -> tuple[float, NDArray[np.float64]]:
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.calc = reference.calculator()
    return float(bare.get_potential_energy()), np.asarray(bare.get_forces(), dtype=np.float64)


def _source_index(written: Atoms, frames: Sequence[Atoms]) -> int | None:
    """Which of the frames a written one is, None if it is none of them."""
    index = written.info.get("source_index")
    if not isinstance(index, (int, np.integer)) or not 0 <= index < len(frames):
        return None
    asked = frames[int(index)]
    same = np.array_equal(asked.numbers, written.numbers) and np.allclose(
        asked.positions, written.positions, rtol=0, atol=SAME_POSITION
    )
    return int(index) if same else None


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside inherit one thread, unless the environment already says."""
    added = {name: "1" for name in THREAD_VARIABLES if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
