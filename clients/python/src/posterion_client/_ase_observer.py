"""What becomes of flags during a run of ASE, and of uncertainties in its files."""

import logging
from pathlib import Path
from typing import Protocol

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from posterion_client._ase_calculator import PosterionCalculator
from posterion_client._ase_edge import STANDARD_DEVIATIONS, named_value
from posterion_client._errors import InvalidArgument
from posterion_client._halting import Halt, UncertaintyExceeded, check_halt, halting_flags
from posterion_client._results import Flag, ModelIdentity, Uncertainty

logger = logging.getLogger("posterion_client")


class Steps(Protocol):
    """What counts steps: any dynamics or optimiser of ASE."""

    nsteps: int


class UncertaintyObserver:
    """Watches the flags of a run: warns, keeps flagged frames, ends the run.

    >>> dynamics.attach(UncertaintyObserver(atoms, path="flagged.extxyz"), interval=10)
    ... # doctest: +SKIP

    Every flagged frame is a warning of the logger ``posterion_client``. Attached to dynamics
    or an optimiser it costs no request: the calculator has the answer.

    Args:
        atoms: Those of the run; their calculator is a `PosterionCalculator`.
        halt: Flags of which severity, or a worse one, end the run; ``never`` = none.
        path: Extended XYZ file to which flagged frames are appended, with energy, forces and
            what `record_uncertainty` adds; None = none are kept.
        steps: The dynamics or the optimiser, to name the step; default is to count calls.

    Raises:
        InvalidArgument: If a setting is wrong.
    """

    def __init__(
        self,
        atoms: Atoms,
        *,
        halt: Halt = "failed",
        path: str | Path | None = None,
        steps: Steps | None = None,
    ) -> None:
        check_halt(halt)
        self._atoms = atoms
        self._halt = halt
        self._path = path
        self._steps = steps
        self._n_calls = 0
        self._n_flagged = 0

    @property
    def n_flagged(self) -> int:
        """How many frames it saw that have a flag."""
        return self._n_flagged

    def __call__(self) -> None:
        """Look at the frame as it is now.

        Raises:
            UncertaintyExceeded: If a flag ends the run.
            InvalidArgument: If the calculator is another one.
        """
        step = self._n_calls if self._steps is None else self._steps.nsteps
        self._n_calls += 1
        calculator = _answered(self._atoms)
        if not calculator.flags:
            return
        self._n_flagged += 1
        said = "; ".join(_sentence(flag) for flag in calculator.flags)
        logger.warning("step %d: %s", step, said)
        if self._path is not None:
            self._keep(calculator, step, self._path)
        codes = {
            severity: [flag.code for flag in calculator.flags if flag.severity == severity]
            for severity in ("candidate", "failed")
        }
        found = halting_flags(self._halt, candidate=codes["candidate"], failed=codes["failed"])
        if found:
            raise UncertaintyExceeded(f"ended at step {step}: {said}", flags=found)

    def _keep(self, calculator: PosterionCalculator, step: int, path: str | Path) -> None:
        """Append a copy: the atoms of the run stay as they are."""
        frame = self._atoms.copy()  # type: ignore[no-untyped-call] # ASE has no types here
        frame.calc = SinglePointCalculator(frame, **calculator.results)  # type: ignore[no-untyped-call] # likewise
        frame.info["step"] = step
        _record(frame, calculator)
        write(path, frame, format="extxyz", append=True)


def record_uncertainty(atoms: Atoms) -> None:
    """Copy the uncertainties of the last answer to where ASE's file writers keep them.

    The writers drop what they do not know in ``results``. This puts ``energy_std``,
    ``energy_epistemic_std`` and ``energy_aleatoric_std`` (eV), ``posterion_flags`` (codes,
    separated by spaces) and ``posterion_digest`` into ``atoms.info``, and ``forces_std``,
    ``forces_epistemic_std`` (``(n_atoms, 3)``) and ``forces_aleatoric_std`` (``(n_atoms,)``)
    into ``atoms.arrays`` (eV/Angstrom).

    Args:
        atoms: Atoms whose calculator is a `PosterionCalculator`; evaluated if needed.

    Raises:
        InvalidArgument: If the calculator is another one, or asks for no uncertainty.
    """
    calculator = _answered(atoms)
    if calculator.uncertainty is None:
        raise InvalidArgument("the calculator was told to leave the uncertainty out")
    _record(atoms, calculator)


def _answered(atoms: Atoms) -> PosterionCalculator:
    """The calculator, with the answer about the atoms as they are now."""
    calculator = atoms.calc
    if not isinstance(calculator, PosterionCalculator):
        raise InvalidArgument(
            f"atoms.calc must be a PosterionCalculator, got {type(calculator).__name__}"
        )
    calculator.get_property("energy", atoms)
    return calculator


def _record(atoms: Atoms, calculator: PosterionCalculator) -> None:
    uncertainty: Uncertainty | None = calculator.uncertainty
    model: ModelIdentity | None = calculator.model
    assert model is not None
    for name in STANDARD_DEVIATIONS if uncertainty is not None else ():
        assert uncertainty is not None
        value = named_value(name, uncertainty)
        if isinstance(value, np.ndarray):
            atoms.arrays[name] = value.copy()
        else:
            atoms.info[name] = value
    atoms.info["posterion_flags"] = " ".join(flag.code for flag in calculator.flags)
    atoms.info["posterion_digest"] = model.digest


def _sentence(flag: Flag) -> str:
    where = f" at atoms {list(flag.atoms)}" if flag.atoms else ""
    return (
        f"{flag.code} ({flag.severity}){where}: {flag.metric} is {flag.value:.4g} {flag.unit}, "
        f"the threshold {flag.threshold:.4g}"
    )
