"""Label frames outside the training distribution: hot and stretched ethanol, other molecules.

    python benchmarks/reference_sets.py FOLDER [SET ...] [--data DIR]

``known-cool``, frames at 300 K of molecules that a bank was made with, needs the rMD17 files.

Geometries come from Langevin dynamics with GFN2-xTB (or from stretching one bond of them),
labels from PBE/def2-SVP, the level of revised MD17. One SET.geometries.extxyz, SET.extxyz
and, if a calculation failed, SET.failures.txt per set. Killed and started again, the same
command continues; a frame that failed is replaced by a spare one. FOLDER lies outside the
repository: the frames are not part of it.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import ase.io
import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.neighborlist import build_neighbor_list, natural_cutoffs
from scipy.sparse.csgraph import connected_components

from posterion.labelling.exploration import Exploration, explore
from posterion.labelling.frame_file import FrameFile
from posterion.labelling.labels import finished, label
from posterion.labelling.reference import PyscfReference, TbliteReference

CHEAP: Final = TbliteReference()
LEVEL: Final = PyscfReference(xc="PBE", basis="def2-SVP", grid_level=2)
N_FRAMES: Final = 50
N_SPARE: Final = 10
"""Geometries beyond the number wanted, in case a calculation fails."""

HOT: Final = Exploration(
    n_frames=N_FRAMES + N_SPARE,
    n_trajectories=6,
    temperature_K=1000.0,
    equilibration_fs=500.0,
    seed=20261127,
)
ETHANOL: Final = "CH3CH2OH"
OTHERS: Final = {
    "dimethyl-ether-hot": "CH3OCH3",
    "acetaldehyde-hot": "CH3CHO",
    "methylamine-hot": "H3CNH2",
    "acetamide-hot": "CH3CONH2",
    "propane-hot": "C3H8",
    "pyrrole-hot": "C4H4NH",
}
BONDS: Final = ("CH", "HO", "CC", "CO")
"""Stretched in turn, as sorted pairs of elements."""

SMALLEST_STRETCH: Final = 0.1
LARGEST_STRETCH: Final = 0.6
KNOWN: Final = ("ethanol", "malonaldehyde", "benzene", "uracil", "toluene")
COOL: Final = replace(HOT, n_frames=12, n_trajectories=2, temperature_K=300.0)
SETS: Final = ("ethanol-hot", "ethanol-stretched", *OTHERS, "known-cool")


def hot(name: str) -> Iterator[Atoms]:
    """Frames of a molecule at 1000 K."""
    frames = list(explore(molecule(name), CHEAP, HOT))
    order = np.random.default_rng(HOT.seed).permutation(len(frames))
    for number in order:
        yield with_source(frames[number], f"{name} at 1000 K, Langevin, GFN2-xTB")


def cool(data: Path) -> Iterator[Atoms]:
    """Frames at 300 K of the smaller molecules of revised MD17, in turn."""
    sets = []
    for name in KNOWN:
        start = next(ase.io.iread(data / f"rmd17_{name}_train01.extxyz"))
        bare = Atoms(start.numbers, positions=start.positions)
        sets.append([with_source(f, f"{name} at 300 K") for f in explore(bare, CHEAP, COOL)])
    for frames in zip(*sets, strict=True):
        yield from frames


def stretched() -> Iterator[Atoms]:
    """Ethanol at 300, 400 and 500 K with one bond 10 to 60 % longer than it was."""
    rng = np.random.default_rng(HOT.seed)
    frames: list[Atoms] = []
    for temperature in (300.0, 400.0, 500.0):
        plan = replace(HOT, n_frames=20, n_trajectories=2, temperature_K=temperature)
        frames.extend(explore(molecule(ETHANOL), CHEAP, plan))
    for number, index in enumerate(rng.permutation(len(frames))):
        bond = BONDS[number % len(BONDS)]
        stretch = rng.uniform(SMALLEST_STRETCH, LARGEST_STRETCH)
        frame = one_bond_longer(frames[index], bond, stretch, rng)
        yield with_source(frame, f"ethanol, {bond} bond stretched by {100 * stretch:.1f} %")


def one_bond_longer(atoms: Atoms, bond: str, stretch: float, rng: np.random.Generator) -> Atoms:
    """Move the smaller of the two groups that a bond joins along the bond.

    Args:
        atoms: A molecule.
        bond: The two elements, sorted.
        stretch: Relative change of the bond's length.
        rng: Picks among the bonds of that kind.

    Returns:
        A copy with the bond stretched and the groups rigid.

    Raises:
        ValueError: If the molecule has no such bond, or it is part of a ring.
    """
    # ASE adds a skin of 0.3 A to every atom unless told otherwise: C and O of C-C-O would bond.
    neighbors = build_neighbor_list(
        atoms, cutoffs=natural_cutoffs(atoms, mult=1.25), self_interaction=False, skin=0.0
    )
    connected = neighbors.get_connectivity_matrix().tolil()
    pairs = [
        (int(a), int(b))
        for a, b in zip(*connected.nonzero(), strict=True)
        if a < b and "".join(sorted((atoms.symbols[a], atoms.symbols[b]))) == bond
    ]
    if not pairs:
        raise ValueError(f"{atoms.symbols} has no bond of {bond}")
    a, b = pairs[rng.integers(len(pairs))]
    connected[a, b] = connected[b, a] = 0
    groups = connected_components(connected, directed=False)[1]
    if groups[a] == groups[b]:
        raise ValueError(f"the bond of atoms {a} and {b} is part of a ring")
    moving, fixed = (a, b) if (groups == groups[a]).sum() < (groups == groups[b]).sum() else (b, a)
    longer: Atoms = atoms.copy()
    direction = atoms.positions[moving] - atoms.positions[fixed]
    longer.positions[groups == groups[moving]] += stretch * direction
    longer.info |= {"bond": bond, "stretch": float(stretch)}
    return longer


def with_source(frame: Atoms, source: str) -> Atoms:
    """Say in the frame where its geometry comes from."""
    frame.info["source"] = source
    frame.info["geometry_level"] = frame.info.pop("level_of_theory")
    return frame


def geometries(name: str, folder: Path, data: Path | None) -> list[Atoms]:
    """Make the geometries of a set, or read them if they are there."""
    path = folder / f"{name}.geometries.extxyz"
    if not path.exists():
        if name == "known-cool":
            if data is None:
                sys.exit("known-cool starts from the rMD17 files: say where with --data")
            frames = list(cool(data))
        elif name == "ethanol-stretched":
            frames = list(stretched())
        else:
            frames = list(hot(OTHERS.get(name, ETHANOL)))
        unfinished = path.with_suffix(".part")
        ase.io.write(unfinished, frames, format="extxyz")
        unfinished.rename(path)
    return list(ase.io.read(path, index=":"))


def label_set(name: str, folder: Path, data: Path | None) -> None:
    """Label the frames of a set that have no label yet."""
    frames = geometries(name, folder, data)
    file = FrameFile(folder / f"{name}.extxyz")
    done = finished(frames, LEVEL, file)
    todo = [index for index in range(len(frames)) if index not in done]
    start, n_failed, n_done = time.monotonic(), 0, len(done)
    wanted = N_FRAMES - n_done
    outcomes = label(frames, todo, LEVEL)
    while n_done < N_FRAMES:
        outcome = next(outcomes, None)
        if outcome is None:
            sys.exit(f"{name}: only {n_done} of {N_FRAMES} frames could be labelled")
        if outcome.frame is None:
            n_failed += 1
            with (folder / f"{name}.failures.txt").open("a", encoding="utf-8") as log:
                log.write(f"geometry {outcome.index}: {outcome.reason}\n")
            continue
        file.append(outcome.frame)
        n_done += 1
        each = (time.monotonic() - start) / (n_done - len(done) + n_failed)
        left = each * (N_FRAMES - n_done)
        print(
            f"{name} {n_done}/{N_FRAMES}, {each:.1f} s each, {left / 60:.0f} min left", flush=True
        )
    print(f"{name}: {N_FRAMES} frames, {n_failed} failed, {wanted} computed now", flush=True)


def main() -> None:
    """Label the sets that were asked for, all by default."""
    parser = argparse.ArgumentParser(description="Label frames outside the training data.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    parser.add_argument("--data", type=Path, help="folder of the rMD17 files, for known-cool")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.sets or SETS:
        if name not in SETS:
            parser.error(f"no set {name!r}; there are {', '.join(SETS)}")
        label_set(name, arguments.folder, arguments.data)


if __name__ == "__main__":
    main()
