"""Which factors and thresholds make a bank's spread mean what it says.

One factor per quantity scales epistemic and aleatoric standard deviations alike, so that
total^2 = epistemic^2 + aleatoric^2 still holds and mean +- z total covers the wanted
fraction of held-out references (z = 1.645 for 90 %). Thresholds of the flags are where the
*calibrated* spread no longer promises the stated error; in older calibrations, conformal
bounds of the spread itself. All depend on how many posterior samples are evaluated, so there
is one set of numbers for every number of samples, from two upwards, or from one where a single
sample says how little it knows.
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
"""A single posterior sample has no spread; a bank whose method needs none starts at one."""

Metric = Literal["force_epistemic_max", "energy_epistemic", "latent_score_max"]


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


class LatentForce(_Frozen):
    """How the score of an atom's latent density becomes epistemic uncertainty of its force.

    Attributes:
        scale: Standard deviation of each component per nat of score, eV/Angstrom.
        onset: Score below which there is none, nats.
        excess: What beyond the onset counts: ``square``, the excess of the squared score, so
            that the standard deviation approaches scale times score; None, the excess of the
            score, as in banks calibrated before there was a choice.
    """

    scale: PositiveFloat
    onset: NonNegativeFloat = 0.0
    excess: Literal["square"] | None = None


class ErrorTarget(_Frozen):
    """Which errors are to be expected of an answer without a flag.

    Attributes:
        force_error: Largest length of an atom's force error vector, eV/Angstrom.
        energy_error: Error of the energy per atom, eV.
        confidence: Wanted probability that the errors stay below.
    """

    force_error: PositiveFloat = 0.2
    energy_error: PositiveFloat = 0.01
    confidence: OpenFraction = 0.95


class FlagThreshold(_Frozen):
    """Two bounds on a calibrated spread, or on a score of the latent density.

    Attributes:
        metric: Name of the number compared.
        unit: Unit of the number and the bounds.
        per: ``atom`` if the bounds are multiplied by the number of atoms (an energy is
            extensive: a supercell of a trusted cell stays trusted), else ``structure``.
        candidate: Above it a structure is worth a reference calculation.
        failed: Above it the answer should not be used.
        level: Probability that the error of an exchangeable structure below ``candidate``
            stays within the target; where ``error_per_unit`` is None, that the metric stays
            below ``candidate``.
        candidate_coverage: Measured fraction of frames at or below ``candidate``.
        failed_coverage: Measured fraction of frames at or below ``failed``.
        error_per_unit: Target divided by ``candidate``; None where the threshold is a bound of
            the metric and says nothing of errors.
        error_coverage: Measured fraction of the frames at or below ``candidate`` whose error
            stays within the target; None if there are none.
    """

    metric: Metric
    unit: Literal["eV/angstrom", "eV", "nat"]
    per: Literal["structure", "atom"]
    candidate: NonNegativeFloat
    failed: NonNegativeFloat
    level: Fraction
    candidate_coverage: Fraction
    failed_coverage: Fraction
    error_per_unit: PositiveFloat | None = None
    error_coverage: Fraction | None = None

    @property
    def source(self) -> str:
        """Where the bounds come from, as a flag says it."""
        return "calibration" if self.error_per_unit is None else "error-target"


class SampleCountCalibration(_Frozen):
    """The calibration of one number of evaluated posterior samples.

    Attributes:
        n_samples: The first so many samples of the bank.
        forces: Factor of the force standard deviations.
        energy: Factor of the energy standard deviations.
        force_epistemic_max: Threshold of the largest epistemic e_i of a structure; None where
            the method has no epistemic part.
        energy_epistemic: Threshold of the epistemic energy; None likewise.
        latent_score_max: Threshold of the largest score of a structure; None where the bank
            has no latent density.
    """

    n_samples: int = Field(ge=1)
    forces: IntervalCalibration
    energy: IntervalCalibration
    force_epistemic_max: FlagThreshold | None = None
    energy_epistemic: FlagThreshold | None = None
    latent_score_max: FlagThreshold | None = None

    @property
    def thresholds(self) -> dict[Metric, FlagThreshold]:
        """The thresholds there are, by their metric."""
        found = (self.force_epistemic_max, self.energy_epistemic, self.latent_score_max)
        return {threshold.metric: threshold for threshold in found if threshold is not None}


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
        flag_level: Wanted probability that an ordinary structure is not flagged; None where
            ``target`` decides.
        target: Errors that the thresholds stand for; None in older calibrations.
        failed_multiple: ``failed`` thresholds are this multiple of ``candidate``, hence stand
            for this multiple of the target.
        latent_force: What the score of the latent density adds to the epistemic part of a
            force; None = nothing.
        date: Day of the fit, ISO 8601.
        fitted_on: Frames behind factors and thresholds.
        measured_on: Frames behind every coverage; other than ``fitted_on`` once measured
            on a report set.
        entries: One per number of samples, ascending from one or two without gaps.
    """

    method: Literal["split-conformal"] = "split-conformal"
    level: OpenFraction
    flag_level: OpenFraction | None = None
    target: ErrorTarget | None = None
    failed_multiple: Annotated[float, Field(gt=1.0, allow_inf_nan=False)]
    latent_force: LatentForce | None = None
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}")
    fitted_on: Evidence
    measured_on: Evidence
    entries: tuple[SampleCountCalibration, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consecutive(self) -> Self:
        found = [entry.n_samples for entry in self.entries]
        first = min(found[0], FEWEST_SAMPLES)
        expected = list(range(first, first + len(found)))
        if found != expected:
            raise ValueError(f"entries must be for n_samples {expected}, got {found}")
        return self

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.flag_level is None) == (self.target is None):
            raise ValueError("expected either flag_level or target")
        return self

    @property
    def fewest_samples(self) -> int:
        """Smallest number of samples the calibration knows."""
        return self.entries[0].n_samples

    @property
    def n_samples(self) -> int:
        """Largest number of samples the calibration knows."""
        return self.entries[-1].n_samples

    @property
    def needs_latent_density(self) -> bool:
        """Whether a threshold or the epistemic part is of the latent density's score."""
        judged = any(entry.latent_score_max is not None for entry in self.entries)
        return judged or self.latent_force is not None

    @cached_property
    def identity(self) -> str:
        """``sha256:<hex>`` of the canonical JSON: sorted keys, no spaces, UTF-8.

        What is None is left out, so that a field added later changes no older identity.
        """
        text = json.dumps(
            self.model_dump(mode="json", exclude_none=True),
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
        if not self.fewest_samples <= n_samples <= self.n_samples:
            raise ValueError(
                f"the calibration covers {self.fewest_samples} to {self.n_samples} samples, "
                f"got {n_samples}"
            )
        return self.entries[n_samples - self.fewest_samples]
