"""``posterion explore`` and ``posterion label``: what they take and what they start."""

from pathlib import Path
from typing import Annotated, Final

import typer

CALCULATORS: Final = "tblite, pyscf, emt, lennard-jones"

Calculator = Annotated[
    str, typer.Option("--calculator", metavar="NAME", help=f"One of {CALCULATORS}.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of the calculator; repeat for several. tblite: method, accuracy. pyscf: "
        "xc, basis, density_fitting, auxiliary_basis, dispersion, grid_level, energy_tolerance. "
        "lennard-jones: epsilon, sigma, cutoff.",
    ),
]
Output = Annotated[Path, typer.Option("--out", metavar="FILE", help="extxyz to write.")]
Jobs = Annotated[
    int, typer.Option("--jobs", min=1, help="Frames computed side by side, one thread each.")
]
Temperature = Annotated[
    float, typer.Option(min=1.0, metavar="K", help="Temperature of the dynamics.")
]
NFrames = Annotated[int, typer.Option("--frames", min=1, help="Frames to keep.")]
NTrajectories = Annotated[
    int, typer.Option("--trajectories", min=1, help="Independent runs that the frames come from.")
]
Spacing = Annotated[
    float, typer.Option("--spacing", min=1.0, metavar="FS", help="Time between kept frames.")
]
Seed = Annotated[int, typer.Option(min=0, help="All randomness.")]


def explore(  # noqa: PLR0913 - one parameter per option
    start: Annotated[
        str, typer.Argument(metavar="FILE|MOLECULE", help="Structure file, or a name ASE knows.")
    ],
    *,
    out: Output,
    calculator: Calculator = "tblite",
    settings: Settings = None,
    temperature: Temperature = 500.0,
    frames: NFrames = 300,
    trajectories: NTrajectories = 6,
    spacing: Spacing = 50.0,
    seed: Seed = 0,
) -> None:
    """Collect geometries of a molecule or a cell by dynamics with a cheap calculator.

    The frames carry that calculator's energies and forces; `posterion label` replaces them.

    Example: posterion explore H3CNH2 --temperature 500 --frames 300 --out geometries.extxyz
    """
    from posterion.labelling.command import run_exploration
    from posterion.labelling.exploration import Exploration
    from posterion.labelling.reference import chosen_reference

    plan = Exploration(
        n_frames=frames,
        n_trajectories=trajectories,
        temperature_K=temperature,
        spacing_fs=spacing,
        seed=seed,
    )
    run_exploration(start, chosen_reference(calculator, settings or ()), plan, out=out)


def label(
    structures: Annotated[
        Path, typer.Argument(metavar="FILE", help="Structures, in any format ASE reads.")
    ],
    *,
    calculator: Calculator,
    out: Output,
    settings: Settings = None,
    jobs: Jobs = 1,
) -> None:
    """Compute reference energies and forces, and write frames to train on.

    Killed and started again, the same command continues. Frames whose calculation fails are
    named, the others are kept, and the exit code is 1.

    Example: posterion label geometries.extxyz --calculator pyscf --set xc=PBE --set
    basis=def2-SVP --out frames.extxyz
    """
    from posterion.labelling.command import run_labelling
    from posterion.labelling.reference import chosen_reference

    reference = chosen_reference(calculator, settings or ())
    run_labelling(structures, reference, out=out, n_jobs=jobs)
