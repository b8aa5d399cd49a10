"""What a report is made of: predictions for the report frames, and where the bank comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from posterion.training.config import TrainingConfig
from posterion.training.transfer import TransferSource
from posterion.uncertainty.calibration import Calibration
from posterion.uncertainty.domain import TrainingDomain
from posterion.uncertainty.held_out import HeldOut


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportInput:
    """Everything a model card says, before it is written.

    Attributes:
        name: Bank name.
        description: One paragraph.
        licence: Licence of the sample set.
        level_of_theory: Of the reference data.
        created_at: ISO 8601, UTC.
        method: Kind of the method.
        periodic: Whether trained on periodic structures.
        held_out: Predictions and references of the report frames.
        calibration: Fitted on other frames; its coverages measured on these.
        domain: Of the training structures.
        datasets: Manifest entries: role, source, n_frames, digest.
        network: The network section of the manifest.
        sampler: Settings of the method and of what its members were trained with.
        outcome: How many samples of what, in a few words.
        meaning: What the samples are, and what is epistemic in them.
        diagnostics: How the members ran.
        reading: How the diagnostics are to be read.
        software: Versions of the packages that drew the samples.
    """

    name: str
    description: str
    licence: str
    level_of_theory: str
    created_at: str
    method: str
    periodic: bool
    held_out: HeldOut
    calibration: Calibration
    domain: TrainingDomain
    datasets: Sequence[Mapping[str, JsonValue]]
    network: Mapping[str, JsonValue]
    sampler: Mapping[str, JsonValue]
    outcome: str
    meaning: str
    diagnostics: Mapping[str, JsonValue]
    reading: str
    software: Mapping[str, str]


def sampler_section(
    config: TrainingConfig, transfer: TransferSource | None = None
) -> dict[str, JsonValue]:
    """Settings of the method and of what its members were trained with, for the manifest.

    Args:
        config: The run.
        transfer: Sample set that the prior is centred on, if any; its digest is recorded.

    Returns:
        The section.
    """
    sections = {"method", "prior", "likelihood", "pretraining", "batch_size", "n_chains", "seed"}
    chosen: dict[str, JsonValue] = config.model_dump(mode="json", include=sections)
    if transfer is not None:
        prior = config.prior.model_dump(mode="json", exclude={"store"})
        chosen["prior"] = prior | {"source": transfer.digest}
    return chosen
