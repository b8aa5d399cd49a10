"""The results of the demo as a table in a terminal."""

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from posterion.demo.answers import Answer, Answers
from posterion.demo.dynamics import TIMESTEP_FS, Trajectory
from posterion_client import PosterionError

_NONE = "–"


def results_table(answers: Answers, trajectory: Trajectory) -> Table:
    """One row per structure and one for the run.

    Args:
        answers: About the four structures.
        trajectory: The run at constant energy.
    """
    table = Table(
        box=box.HORIZONTALS,
        padding=0,
        show_edge=False,
        caption=(
            "σ: calibrated epistemic standard deviation; of the force, on the least certain atom, "
            f"flagged above {answers.force_threshold:.3f} eV/Å"
        ),
        caption_justify="left",
    )
    table.add_column("ethanol", no_wrap=True)
    for heading in ("energy\n\neV", "σ of\nenergy\nmeV", "max\nforce\neV/Å", "σ of\nforce\neV/Å"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("flags", no_wrap=True)
    table.add_column("ms\nper\ncall", justify="right", no_wrap=True)
    table.add_column("drift\nmeV/\natom", justify="right", no_wrap=True)
    for answer in answers.items:
        table.add_row(*_structure_cells(answer), f"{answer.call_ms:.1f}", _NONE)
    table.add_section()
    table.add_row(*_trajectory_cells(trajectory))
    return table


def _structure_cells(answer: Answer) -> tuple[str | Text, ...]:
    outcome = answer.outcome
    if isinstance(outcome, PosterionError):
        return (answer.subject.title, *[_NONE] * 4, Text(outcome.code, style="red"))
    assert outcome.uncertainty is not None, "the demo asks for the uncertainty"
    codes = "\n".join(flag.code for flag in outcome.flags)
    return (
        answer.subject.title,
        f"{outcome.energy:.3f}",
        f"{1e3 * outcome.uncertainty.energy.epistemic:.1f}",
        f"{np.linalg.norm(outcome.forces, axis=1).max():.3f}",
        f"{outcome.uncertainty.forces.max:.3f}",
        Text(codes, style="yellow") if codes else "none",
    )


def _trajectory_cells(trajectory: Trajectory) -> tuple[str, ...]:
    moments = trajectory.moments
    n_steps = len(moments) - 1
    return (
        f"NVE, {n_steps * TIMESTEP_FS:g} fs",
        f"{np.mean([each.potential for each in moments]):.3f}",
        f"{1e3 * max(each.energy_epistemic for each in moments):.1f}",
        f"{max(each.force_max for each in moments):.3f}",
        f"{max(each.force_epistemic_max for each in moments):.3f}",
        f"{trajectory.n_flagged} of {len(moments)}" if trajectory.n_flagged else "none",
        f"{trajectory.call_ms:.1f}",
        f"{trajectory.drift_mev_per_atom:.3f}",
    )
