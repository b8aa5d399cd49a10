"""Which factors and thresholds make a bank's spread mean what it says.

One factor per quantity scales epistemic and aleatoric standard deviations alike, so that
total^2 = epistemic^2 + aleatoric^2 still holds and mean +- z total covers the wanted
fraction of held-out references (z = 1.645 for 90 %). Thresholds of the flags are conformal
bounds of the *calibrated* spread. Both depend on how many posterior samples are evaluated,
so there is one set of numbers for every number of samples from two upwards.
"""

import hashlib
import json
from functools import cached_property
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
OpenFraction = Annotated[float, Field(gt=0.0, lt=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]

FEWEST_SAMPLES: Final = 2
"""A single posterior sample has no spread."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IntervalCalibration(_Frozen):
    """How the standard deviations of one quantity are scaled.

    Attributes:
        factor: Multiplies epistemic and aleatoric standard deviations.
        coverage: Measured fraction of references inside the interval of the level.
    """

    factor: PositiveFloat
    coverage: Fraction


class FlagThreshold(_Frozen):
    """Two bounds on a calibrated spread.

    Attributes:
        metric: Name of the number compared.
        unit: Unit of the number and the bounds.
        per: ``atom`` if the bounds are multiplied by the number of atoms (an energy is
            extensive: a supercell of a trusted cell stays trusted), else ``structure``.
        candidate: Above it a structure is worth a reference calculation.
        failed: Above it the answer should not be used.
        level: Probability that an exchangeable structure stays below ``candidate``.
        candidate_coverage: Measured fraction of frames at or below ``candidate``.
        failed_coverage: Measured fraction of frames at or below ``failed``.
    """

    metric: Literal["force_epistemic_max", "energy_epistemic"]
    unit: Literal["eV/angstrom", "eV"]
    per: Literal["structure", "atom"]
    candidate: NonNegativeFloat
    failed: NonNegativeFloat
    level: Fraction
    candidate_coverage: Fraction
    failed_coverage: Fraction


class SampleCountCalibration(_Frozen):
    """The calibration of one number of evaluated posterior samples.

    Attributes:
        n_samples: The first so many samples of the bank.
        forces: Factor of the force standard deviations.
        energy: Factor of the energy standard deviations.
        force_epistemic_max: Threshold of the largest epistemic e_i of a structure.
        energy_epistemic: Threshold of the epistemic energy.
    """

    n_samples: int = Field(ge=FEWEST_SAMPLES)
    forces: IntervalCalibration
    energy: IntervalCalibration
    force_epistemic_max: FlagThreshold
    energy_epistemic: FlagThreshold


class Evidence(_Frozen):
    """Which frames a number was fitted or measured on.

    Attributes:
        dataset_digest: Digest of the data set.
        n_frames: Number of structures.
        n_force_components: Number of force components.
    """

    dataset_digest: Digest
    n_frames: int = Field(ge=1)
    n_force_components: int = Field(ge=3)


class Calibration(_Frozen):
    """Everything that turns the spread of a bank into calibrated uncertainty and flags.

    Attributes:
        method: How factors and thresholds were found.
        level: Coverage of the interval that the factors were fitted for.
        flag_level: Wanted probability that an ordinary structure is not flagged.
        failed_multiple: ``failed`` thresholds are this multiple of ``candidate``.
        date: Day of the fit, ISO 8601.
        fitted_on: Frames behind factors and thresholds.
        measured_on: Frames behind every coverage; other than ``fitted_on`` once measured
            on a report set.
        entries: One per number of samples, ascending from two without gaps.
    """

    method: Literal["split-conformal"] = "split-conformal"
    level: OpenFraction
    flag_level: OpenFraction
    failed_multiple: Annotated[float, Field(gt=1.0, allow_inf_nan=False)]
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}")
    fitted_on: Evidence
    measured_on: Evidence
    entries: tuple[SampleCountCalibration, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consecutive(self) -> Self:
        found = [entry.n_samples for entry in self.entries]
        expected = list(range(FEWEST_SAMPLES, FEWEST_SAMPLES + len(found)))
        if found != expected:
            raise ValueError(f"entries must be for n_samples {expected}, got {found}")
        return self

    @property
    def n_samples(self) -> int:
        """Largest number of samples the calibration knows."""
        return self.entries[-1].n_samples

    @cached_property
    def identity(self) -> str:
        """``sha256:<hex>`` of the canonical JSON: sorted keys, no spaces, UTF-8."""
        text = json.dumps(
            self.model_dump(mode="json"),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def for_samples(self, n_samples: int) -> SampleCountCalibration:
        """The entry of a number of samples.

        Raises:
            ValueError: If the calibration was not fitted for that many samples.
        """
        if not FEWEST_SAMPLES <= n_samples <= self.n_samples:
            raise ValueError(
                f"the calibration covers {FEWEST_SAMPLES} to {self.n_samples} samples, "
                f"got {n_samples}"
            )
        return self.entries[n_samples - FEWEST_SAMPLES]
