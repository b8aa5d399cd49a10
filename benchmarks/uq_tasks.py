"""What each comparison of uncertainty methods is about: data, network, budget, strange frames.

A task names the frames that are trained on, ordinary frames that are not, and sets of strange
frames, all at one level of theory: else the gap between two methods would be measured, not
their uncertainty. Every number that decides the cost of a cell stands here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import ase.io
import numpy as np
from pydantic import JsonValue

from benchmarks.uq_frames import FAR, Folders, StrangeSet, far_stretched, subset


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One data set on which methods are compared.

    Attributes:
        name: Name in tables and of the folder of results.
        title: What is learnt, for people.
        level_of_theory: Of every label.
        source: Where the data come from.
        data: The ``data`` section of the configuration.
        strange: Strange sets by name.
        budget: Minibatch gradients that a method may use in training, over all members.
        epsilon: Step size of the Markov chains: the largest of 0.1 / 2^k at which the first
            seed's chains ran without a divergence, since each one repeats a chain at half the
            step and so costs more than the budget.
        batch_size: Frames per minibatch.
        network: The ``network`` section of the configuration.
        likelihood: The ``likelihood`` section of the configuration.
    """

    name: str
    title: str
    level_of_theory: str
    source: str
    data: Mapping[str, JsonValue]
    strange: tuple[StrangeSet, ...]
    budget: int
    epsilon: float = 0.1
    batch_size: int = 5
    network: Mapping[str, JsonValue] = field(default_factory=lambda: dict(SMALL_NETWORK))
    likelihood: Mapping[str, JsonValue] = field(default_factory=dict)


SMALL_NETWORK: Final[Mapping[str, JsonValue]] = {
    "cutoff": 4.5,
    "n_layers": 3,
    "n_features": 16,
    "l_max": 1,
}

SPLIT_SEED: Final = 17
"""Every seed of a method sees the same frames: seeds vary what training makes of them."""

_RMD17: Final = "revised MD17 (Christensen and von Lilienfeld, 2020), CC0-1.0"


def ethanol(folders: Folders) -> Task:
    """Ethanol, against hot and stretched ethanol and other molecules."""
    return _rmd17_task(
        folders,
        "ethanol",
        report=("rmd17_ethanol_test01_dev.extxyz",),
        strangers=("malonaldehyde", "toluene"),
        budget=24_000,
    )


def aspirin(folders: Folders) -> Task:
    """Aspirin, against other molecules of the same elements."""
    return _rmd17_task(folders, "aspirin", strangers=("salicylic", "ethanol"), budget=10_000)


def three_bpa(folders: Folders) -> Task:
    """3BPA at 300 K, against 600 K."""
    return _botnet_task(
        folders,
        "3bpa",
        title="3-(benzyloxy)pyridin-2-amine from 300 K dynamics, against 600 K",
        level_of_theory="not stated with the data",
        files=("3bpa_train_300K.extxyz", "3bpa_600K_dev.extxyz"),
        strange="600 K",
        budget=12_000,
    )


def ammonia(folders: Folders) -> Task:
    """Ammonia of low energy, against higher ones on the way over the inversion barrier."""
    frames = list(ase.io.iread(folders.data / "ammonia_bp86_low.extxyz"))
    energies = np.array([atoms.calc.results["energy"] for atoms in frames])
    low = energies - energies.min() <= AMMONIA_LOW_EV
    return Task(
        name="ammonia",
        title=f"ammonia within {AMMONIA_LOW_EV} eV of its minimum, against higher frames",
        level_of_theory="BP86-D3/def2-SVP",
        source="learningmatter-mit/Atomistic-Adversarial-Attacks, MIT",
        data={
            "files": [str(subset(folders, "ammonia-low", frames, low))],
            "n_train": int(low.sum()) - 36,
            "n_calibration": 20,
            "n_report": 16,
            "seed": SPLIT_SEED,
        },
        strange=(
            StrangeSet(name="higher energy", path=subset(folders, "ammonia-high", frames, ~low)),
        ),
        budget=24_000,
        epsilon=0.025,
    )


AMMONIA_LOW_EV: Final = 0.25


def acetylacetone(folders: Folders) -> Task:
    """Acetylacetone, against another trajectory of it."""
    return _botnet_task(
        folders,
        "acetylacetone",
        title="acetylacetone from 300 K dynamics, against independent 300 K dynamics",
        level_of_theory="PBE+D3/def2-SVP",
        files=("acac_train_300K.extxyz", "acac_test_MD_300K.extxyz"),
        strange="other trajectory",
        budget=10_000,
    )


def silicon(folders: Folders) -> Task:
    """Bulk silicon from dynamics, against surfaces and vacancies; stands in for silica glass."""
    frames = list(ase.io.iread(folders.data / "mlearn_Si_training.extxyz"))
    groups = np.array([atoms.info["group"] for atoms in frames])
    bulk = np.isin(groups, ["AIMD-NVT", "Elastic"])
    n_train = int(bulk.sum()) - 45
    return Task(
        name="silicon",
        title="crystalline silicon, against surfaces and vacancies",
        level_of_theory="PBE (by its literature)",
        source="materialsvirtuallab/mlearn, BSD-3-Clause",
        data={
            "files": [str(subset(folders, "silicon-bulk", frames, bulk))],
            "n_train": n_train,
            "n_calibration": 25,
            "n_report": 20,
            "seed": SPLIT_SEED,
        },
        strange=tuple(
            StrangeSet(
                name=group.lower(),
                path=subset(folders, f"silicon-{group.lower()}", frames, groups == group),
                max_frames=30,
            )
            for group in ("Surface", "Vacancy")
        ),
        budget=12_000,
        batch_size=1,
    )


def water(folders: Folders) -> Task:
    """Liquid water, 64 molecules: no strange frames at its level of theory are at hand."""
    return Task(
        name="water",
        title="liquid water, 64 molecules in a periodic cube",
        level_of_theory="not stated with the data",
        source="deepmodeling/deepmd-kit, LGPL-3.0",
        data={
            "files": [str(folders.data / "water192_train.extxyz")],
            "n_train": 30,
            "n_calibration": 20,
            "n_report": 10,
            "seed": SPLIT_SEED,
        },
        strange=(),
        budget=9_000,
        batch_size=1,
    )


TASKS: Final[Mapping[str, Callable[[Folders], Task]]] = {
    "ethanol": ethanol,
    "ammonia": ammonia,
    "3bpa": three_bpa,
    "aspirin": aspirin,
    "acetylacetone": acetylacetone,
    "silicon": silicon,
    "water": water,
}

ONE_SEED: Final = frozenset({"aspirin", "acetylacetone", "silicon", "water"})
"""Tasks that are run with one seed, by fewer methods."""


def _rmd17_task(
    folders: Folders,
    molecule: str,
    *,
    report: Sequence[str] = (),
    strangers: Sequence[str],
    budget: int,
) -> Task:
    train = 800
    sets = [
        StrangeSet(name=other, path=folders.data / f"rmd17_{other}_train01.extxyz", max_frames=100)
        for other in strangers
    ]
    if folders.reference is not None:
        sets = [
            StrangeSet(name=path.stem.removeprefix(f"{molecule}-"), path=path)
            for path in sorted(folders.reference.glob(f"{molecule}-*.extxyz"))
            if not path.name.endswith(".geometries.extxyz")
        ] + sets
        stretched = folders.reference / f"{molecule}-stretched.extxyz"
        if stretched.exists():
            sets.append(StrangeSet(name=FAR, path=far_stretched(folders, stretched)))
    data: dict[str, JsonValue] = {
        "files": [str(folders.data / f"rmd17_{molecule}_train01.extxyz")],
        "n_train": train,
        "n_calibration": 100,
        "n_report": 100,
        "seed": SPLIT_SEED,
    }
    if report:
        data |= {"report_files": [str(folders.data / name) for name in report], "n_report": 300}
    return Task(
        name=molecule,
        title=f"{molecule} from 500 K dynamics, against strange geometries and molecules",
        level_of_theory="PBE/def2-SVP",
        source=_RMD17,
        data=data,
        strange=tuple(sets),
        budget=budget,
    )


def _botnet_task(
    folders: Folders,
    name: str,
    *,
    title: str,
    level_of_theory: str,
    files: tuple[str, str],
    strange: str,
    budget: int,
) -> Task:
    """A molecule of davkovacs/BOTNet-datasets: 500 frames, and a file of strange ones."""
    train, others = files
    return Task(
        name=name,
        title=title,
        level_of_theory=level_of_theory,
        source="davkovacs/BOTNet-datasets, MIT",
        data={
            "files": [str(folders.data / train)],
            "n_train": 380,
            "n_calibration": 60,
            "n_report": 60,
            "seed": SPLIT_SEED,
        },
        strange=(StrangeSet(name=strange, path=folders.data / others),),
        budget=budget,
    )
