"""What a caller should know about a bank before trusting it, as plain JSON-able values."""

from dataclasses import dataclass

from pydantic import JsonValue

from posterion.inference.predictor import Predictor
from posterion.uncertainty.calibration import Calibration, FlagThreshold
from posterion.uncertainty.flags import CONTACT_CANDIDATE, CONTACT_FAILED

JsonObject = dict[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class BankCard:
    """The part of a model card that needs more than the manifest.

    Attributes:
        n_samples: Number of posterior samples.
        n_chains: Number of chains they come from.
        calibration: Factors with all samples, level, evidence and identity.
        thresholds: Thresholds of the flags with all samples, by metric, with their units.
        engines: Engine by precision.
    """

    n_samples: int
    n_chains: int
    calibration: JsonObject
    thresholds: JsonObject
    engines: dict[str, str]


def bank_card(predictor: Predictor) -> BankCard:
    """Describe the bank behind a predictor."""
    bank = predictor.bank
    return BankCard(
        n_samples=bank.n_samples,
        n_chains=bank.n_chains,
        calibration=calibration_summary(bank.calibration),
        thresholds=flag_thresholds(bank.calibration),
        engines=predictor.engines,
    )


def calibration_summary(calibration: Calibration) -> JsonObject:
    """Identity, evidence, and the factors that apply when all samples are evaluated."""
    entry = calibration.entries[-1]
    return {
        "identity": calibration.identity,
        "method": calibration.method,
        "level": calibration.level,
        "date": calibration.date,
        "n_samples": entry.n_samples,
        "fitted_on": calibration.fitted_on.model_dump(mode="json"),
        "measured_on": calibration.measured_on.model_dump(mode="json"),
        "forces": entry.forces.model_dump(mode="json"),
        "energy": entry.energy.model_dump(mode="json"),
    }


def flag_thresholds(calibration: Calibration) -> JsonObject:
    """Thresholds by metric, those of the spread with all samples and those of the domain."""
    entry = calibration.entries[-1]
    spread: JsonObject = {
        threshold.metric: _spread(threshold)
        for threshold in (entry.force_epistemic_max, entry.energy_epistemic)
    }
    return {
        **spread,
        "pair_distance": {
            "candidate": CONTACT_CANDIDATE,
            "failed": CONTACT_FAILED,
            "unit": "1",
            "per": "shortest distance seen in training for the element pair",
        },
        "composition_distance": {"candidate": 0.0, "unit": "1", "per": "structure"},
        "n_neighbors": {"candidate": 1.0, "unit": "1", "per": "atom"},
    }


def _spread(threshold: FlagThreshold) -> JsonObject:
    document: JsonObject = threshold.model_dump(mode="json", exclude={"metric"})
    return document
