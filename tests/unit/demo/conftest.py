"""Results as a sound service gives them, to be spoilt one at a time."""

from dataclasses import replace

import numpy as np
import pytest

from posterion.demo.answers import Answer, Answers
from posterion.demo.dynamics import Moment, Trajectory
from posterion.demo.molecules import Subject, subjects
from posterion_client import (
    EnergyUncertainty,
    Flag,
    ForcesUncertainty,
    ModelIdentity,
    PosterionError,
    Prediction,
    Uncertainty,
    UnsupportedElement,
)

THRESHOLD = 0.1
MODEL = ModelIdentity(
    name="ethanol", version="0" * 16, digest=f"sha256:{'0' * 64}", n_samples=8, engine="vectorized"
)


def prediction(subject: Subject, spread: float) -> Prediction:
    """An answer whose least certain atom has this epistemic standard deviation, eV/Angstrom."""
    n_atoms = len(subject.atoms)
    epistemic = np.full((n_atoms, 3), 0.1 * spread)
    epistemic[0] = spread
    flag = Flag(
        code="force-epistemic-high",
        severity="candidate",
        atoms=(0,),
        metric="force_epistemic_max",
        value=spread,
        threshold=THRESHOLD,
        unit="eV/angstrom",
        threshold_source="calibration",
        coverage=0.99,
        calibration_id=None,
    )
    flagged = spread > THRESHOLD
    return Prediction(
        energy=-4210.0,
        forces=np.full((n_atoms, 3), 0.5),
        stress=None,
        uncertainty=Uncertainty(
            calibrated=True,
            energy=EnergyUncertainty(epistemic=0.003, aleatoric=0.004, total=0.005),
            forces=ForcesUncertainty(
                epistemic=epistemic,
                aleatoric=np.full(n_atoms, 0.01),
                total=epistemic,
                max=spread,
                rms=0.5 * spread,
                argmax_atom=0,
            ),
            samples=None,
        ),
        n_samples=8,
        flags=(flag,) if flagged else (),
        status="flagged" if flagged else "ok",
        model=MODEL,
        timing=None,
        request_id=None,
    )


@pytest.fixture
def answers() -> Answers:
    """Two sound structures, a flagged one, a refused one."""
    rest, thermal, stretched, thiol = subjects()
    outcomes: list[tuple[Subject, Prediction | PosterionError]] = [
        (rest, prediction(rest, 0.02)),
        (thermal, prediction(thermal, 0.04)),
        (stretched, prediction(stretched, 0.9)),
        (thiol, UnsupportedElement("16 is not known")),
    ]
    return Answers(
        model=MODEL,
        force_threshold=THRESHOLD,
        items=tuple(
            Answer(subject=subject, outcome=outcome, call_ms=12.5) for subject, outcome in outcomes
        ),
        request_ms=30.0,
    )


@pytest.fixture
def trajectory() -> Trajectory:
    """A run whose total energy ends 0.9 meV (0.1 meV per atom) above its start."""
    start = Moment(
        potential=-4210.0,
        kinetic=0.35,
        energy_epistemic=0.003,
        force_max=2.0,
        force_epistemic_max=0.05,
        flags=(),
        call_ms=40.0,
    )
    after = replace(start, potential=-4209.9, kinetic=0.25, call_ms=20.0)
    end = replace(start, potential=-4210.1, kinetic=0.4509, call_ms=22.0)
    return Trajectory(moments=(start, after, end), n_atoms=9)
