"""What held-out frames teach about finished samples: noise, factors, thresholds, density."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from posterion.inference.engine_choice import choose_engine
from posterion.inference.held_out_frames import evaluate_held_out, training_latents
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.training.datasets import DataSplit
from posterion.training.energy_noise import fit_energy_noise, with_energy_noise
from posterion.uncertainty.calibration import FEWEST_SAMPLES, Calibration, ErrorTarget
from posterion.uncertainty.fitting import fit_calibration, with_measured_coverage
from posterion.uncertainty.held_out import HeldOut
from posterion.uncertainty.latent_density import LatentDensity
from posterion.uncertainty.latent_fitting import fit_latent_density
from posterion.uncertainty.latent_force import fit_latent_force, with_latent_epistemic

LatentRole: TypeAlias = Literal["whole", "beyond-training"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationWish:
    """How a method wants its samples calibrated.

    Attributes:
        target: What an answer without a flag promises.
        date: Day of the fit, ISO 8601.
        latent: Whether the score of the latent density is the epistemic part of the forces,
            or widens it beyond training; None = neither.
    """

    target: ErrorTarget
    date: str
    latent: LatentRole | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrated:
    """What the frames outside training say.

    Attributes:
        reference: Energy reference with the fitted noise.
        calibration: Fitted on the calibration frames, measured on the report frames.
        held_out: Predictions and references of the report frames.
        latent_density: Of the training atoms, in the scalars of the first sample.
        widened: Whether it widens the spread of the forces beyond training.
    """

    reference: EnergyReference
    calibration: Calibration
    held_out: HeldOut
    latent_density: LatentDensity
    widened: bool


def calibrate(
    parameters: Tensor,
    network: NetworkConfig,
    reference: EnergyReference,
    split: DataSplit,
    wish: CalibrationWish,
    *,
    device: str,
) -> Calibrated:
    """Fit on the calibration frames, measure coverage on the report frames.

    Args:
        parameters: Samples in the order of evaluation, ``(n_samples, n_parameters)``.
        network: Their network.
        reference: Energy reference with the noise of the likelihood.
        split: Training, calibration and report frames.
        wish: Target and needs of the method.
        device: Where to evaluate.

    Returns:
        Everything that the manifest holds beside the samples and the figures.
    """
    engine = choose_engine(network, reference, parameters, device=device).engine
    numbers, latent = training_latents(
        engine, [frame.structure for frame in split.train.frames], cutoff=network.cutoff
    )
    density = fit_latent_density(numbers, latent, elements=network.elements)
    seen, held_out = (
        evaluate_held_out(engine, frames.frames, cutoff=network.cutoff, latent_density=density)
        for frames in (split.calibration, split.report)
    )
    fitted_reference = fit_energy_noise(reference, seen)
    seen, held_out = (with_energy_noise(part, fitted_reference) for part in (seen, held_out))
    rule = None
    if wish.latent is not None:
        rule = fit_latent_force(seen, beyond_training=wish.latent == "beyond-training")
        seen, held_out = (with_latent_epistemic(part, rule) for part in (seen, held_out))
    fitted = fit_calibration(
        seen,
        target=wish.target,
        # A method publishes a single sample only if it needs no spread.
        fewest_samples=min(len(parameters), FEWEST_SAMPLES),
        latent_force=rule,
        dataset_digest=split.calibration.digest,
        date=wish.date,
    )
    return Calibrated(
        reference=fitted_reference,
        calibration=with_measured_coverage(fitted, held_out, dataset_digest=split.report.digest),
        held_out=held_out,
        latent_density=density,
        widened=wish.latent == "beyond-training",
    )
