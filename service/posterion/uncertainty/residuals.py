"""What a bank said and what was true, side by side, once the calibration has been applied.

The calibration factor c of a quantity scales its epistemic and aleatoric standard deviations.
For the exact mixture that means a dilation about its mean: sample k's mean m_k becomes
``m + c (m_k - m)`` and its standard deviation ``c s_k``. The mean stays, so do the forces as
the gradient of the energy. The mixture's own variance divides by n_samples where the
moments divide by n_samples - 1: it is the smaller one by epistemic^2 / n_samples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posterion.uncertainty.calibration import Calibration
from posterion.uncertainty.held_out import HeldOut
from posterion.uncertainty.mixture import MixtureMoments

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Residuals:
    """One quantity on labelled frames, flattened and calibrated.

    Attributes:
        prediction: Mean over the samples, shape ``(n,)``.
        reference: Shape ``(n,)``.
        epistemic: Standard deviation, shape ``(n,)``.
        aleatoric: Standard deviation, shape ``(n,)``.
        sample_residuals: Each sample's mean minus the reference, ``(n_samples, n)``.
        sample_std: Each sample's standard deviation, with the epistemic one that it states
            by itself, if any; ``(n_samples, n)``.
        frame: Frame that each value belongs to, shape ``(n,)``.
    """

    prediction: FloatArray
    reference: FloatArray
    epistemic: FloatArray
    aleatoric: FloatArray
    sample_residuals: FloatArray
    sample_std: FloatArray
    frame: IntArray

    @property
    def error(self) -> FloatArray:
        """Prediction minus reference, shape ``(n,)``."""
        return self.prediction - self.reference

    @property
    def total(self) -> FloatArray:
        """Total standard deviation, shape ``(n,)``."""
        return np.hypot(self.epistemic, self.aleatoric)

    def of(self, chosen: NDArray[np.bool_]) -> "Residuals":
        """The values where ``chosen``, shape ``(n,)``, is true."""
        return Residuals(
            prediction=self.prediction[chosen],
            reference=self.reference[chosen],
            epistemic=self.epistemic[chosen],
            aleatoric=self.aleatoric[chosen],
            sample_residuals=self.sample_residuals[:, chosen],
            sample_std=self.sample_std[:, chosen],
            frame=self.frame[chosen],
        )


def force_residuals(held_out: HeldOut, calibration: Calibration) -> Residuals:
    """Force components, eV/Angstrom: atom by atom, x y z, with all samples evaluated.

    Raises:
        ValueError: If the calibration does not know that number of samples.
    """
    n_samples = held_out.n_samples
    variances = held_out.force_std**2
    if held_out.force_epistemic_std is not None:
        variances = variances + held_out.force_epistemic_std**2
    return _residuals(
        held_out.force_moments(n_samples),
        held_out.force_reference,
        samples=held_out.forces,
        variances=np.repeat(variances[:, :, None], 3, axis=2),
        factor=calibration.for_samples(n_samples).forces.factor,
        frame=np.repeat(np.arange(held_out.n_structures), 3 * held_out.n_atoms),
    )


def energy_residuals(held_out: HeldOut, calibration: Calibration) -> Residuals:
    """Energies of the structures, eV, with all samples evaluated.

    Raises:
        ValueError: If the calibration does not know that number of samples.
    """
    n_samples = held_out.n_samples
    return _residuals(
        held_out.energy_moments(n_samples),
        held_out.energy_reference,
        samples=held_out.energies,
        variances=np.broadcast_to(held_out.energy_std**2, held_out.energies.shape),
        factor=calibration.for_samples(n_samples).energy.factor,
        frame=np.arange(held_out.n_structures),
    )


def _residuals(
    moments: MixtureMoments,
    reference: FloatArray,
    *,
    samples: FloatArray,
    variances: FloatArray,
    factor: float,
    frame: IntArray,
) -> Residuals:
    mean = moments.mean.numpy()
    dilated = mean + factor * (samples - mean)
    return Residuals(
        prediction=mean.reshape(-1),
        reference=reference.reshape(-1),
        epistemic=factor * moments.epistemic.sqrt().numpy().reshape(-1),
        aleatoric=factor * moments.aleatoric.sqrt().numpy().reshape(-1),
        sample_residuals=(dilated - reference).reshape(len(samples), -1),
        sample_std=factor * np.sqrt(variances).reshape(len(samples), -1),
        frame=frame,
    )
