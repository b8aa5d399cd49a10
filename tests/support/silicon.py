"""A small bank of silicon, trained: crystals of eight atoms with the energies of Tersoff."""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.calculators.tersoff import Tersoff, TersoffParameters
from ase.io import write

from posterion.training.job import train
from posterion_store import Store
from tests.support.training_runs import sampler, training_config

NAME = "silicon"
N_FRAMES = 120
# J. Tersoff, Phys. Rev. B 39, 5566 (1989), table I.
_TERSOFF = TersoffParameters(
    m=3, gamma=1.0, lambda3=0.0, c=1.0039e5, d=16.217, h=-0.59825, n=0.78734, beta=1.1e-6,
    lambda2=1.7322, B=471.18, R=2.85, D=0.15, lambda1=2.4799, A=1830.8,
)  # fmt: skip
_NETWORK = {
    "cutoff": 4.0,
    "n_layers": 2,
    "n_features": 4,
    "l_max": 1,
    "n_radial": 6,
    "radial_hidden": 8,
    "readout_hidden": 4,
}


def silicon_frames(n_frames: int = N_FRAMES, *, seed: int = 14) -> list[Atoms]:
    """Strained, shaken crystals with energy (eV), forces and stress of Tersoff's potential."""
    generator = np.random.default_rng(seed)
    calculator: Any = Tersoff({("Si", "Si", "Si"): _TERSOFF})
    frames = []
    for _ in range(n_frames):
        crystal: Any = bulk("Si", cubic=True)
        strain = np.eye(3) + generator.normal(scale=0.015, size=(3, 3))
        crystal.set_cell(crystal.cell @ strain, scale_atoms=True)
        crystal.positions += generator.normal(scale=generator.uniform(0.02, 0.12), size=(8, 3))
        results = {
            name: calculator.get_property(name, crystal) for name in ("energy", "forces", "stress")
        }
        crystal.calc = SinglePointCalculator(crystal, **results)  # type: ignore[no-untyped-call]
        frames.append(crystal)
    return frames


def publish_silicon(store: Store, folder: Path) -> str:
    """Train a bank and publish it.

    Args:
        store: Where it is published, as ``silicon``.
        folder: Where frames and checkpoints go.

    Returns:
        The digest of its manifest.
    """
    frames = folder / "silicon.extxyz"
    write(frames, silicon_frames())
    config = training_config(
        (frames,),
        name=NAME,
        description="Crystals of silicon, strained and shaken.",
        level_of_theory="Tersoff 1989",
        network=_NETWORK,
        data={"files": [frames], "n_train": 60, "n_calibration": 40, "n_report": 20},
        pretraining={"steps": 400, "learning_rate": 0.01, "average_decay": 0.95},
        method=sampler(ramp_steps=40, burn_in_steps=60, thinning_steps=15),
    )
    # A minute's chain has not converged, and says so on its card; what is tested here is cells.
    train(
        config,
        store=store,
        folder=folder / "run",
        report=lambda progress: None,
        accept_diagnostics=True,
    )
    return store.resolve(NAME)
