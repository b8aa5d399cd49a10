"""Minimum-energy paths on a potential that answers many structures at once.

A climbing band (Henkelman, Uberuaga and Jónsson, J. Chem. Phys. 113, 9901, 2000) whose images
are evaluated together, and what posterior samples say about the height of its barrier.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.mep import NEB
from ase.optimize import BFGS
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]

INTERVAL_LEVEL: Final = 0.90
MAX_ITERATIONS: Final = 300
UNIT_VECTOR_LIMIT: Final = 1e-6
"""Angstrom^2: hydrogens nearer to one line than that define no plane."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What was said about some structures of one molecule.

    Attributes:
        energies: Shape ``(n_images,)``, eV.
        forces: Shape ``(n_images, n_atoms, 3)``, eV/Angstrom.
        sample_energies: Shape ``(n_images, n_samples)``, eV.
        epistemic: Calibrated epistemic standard deviation of the energies, ``(n_images,)``, eV.
        failed: Whether an image carries a flag of severity ``failed``, ``(n_images,)``.
    """

    energies: FloatArray
    forces: FloatArray
    sample_energies: FloatArray
    epistemic: FloatArray
    failed: NDArray[np.bool_]


Ask = Callable[[Sequence[Atoms]], Answers]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReactionPath:
    """A relaxed path.

    Attributes:
        images: Its structures, both minima included.
        answers: About all of them.
        n_requests: Requests that were made.
        residual: Largest force component left, the climbing image included, eV/Angstrom.
    """

    images: tuple[Atoms, ...]
    answers: Answers
    n_requests: int
    residual: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """Height of a barrier, and what posterior samples disagree on about it.

    Attributes:
        value: Of the mean energies: highest image over the first one, eV.
        per_sample: The same of every sample's own energies, eV.
        std: Standard deviation of ``per_sample``, n - 1 in the denominator; None of one sample.
        interval: Where one more draw of the posterior lies with a probability of 90 %: Student's
            t about the mean of the samples, eV; None of one sample.
        calibration: What the bank multiplies the spread of an energy by; None of one sample.
        calibrated_interval: ``interval``, its half-width times ``calibration``.
    """

    value: float
    per_sample: tuple[float, ...]
    std: float | None = None
    interval: tuple[float, float] | None = None
    calibration: float | None = None
    calibrated_interval: tuple[float, float] | None = None


class JointBand(NEB):
    """A band that asks about all of its images together.

    Args:
        images: Path to start from.
        ask: Potential.
    """

    def __init__(self, images: Sequence[Atoms], ask: Ask) -> None:
        super().__init__(list(images), climb=True, method="improvedtangent")
        self._ask = ask
        self.n_requests = 0
        self.answers: Answers | None = None

    def get_forces(self) -> FloatArray:
        """Forces of the band on the inner images' atoms, one below another, eV/Angstrom."""
        answers = self.answers = self._ask(self.images)
        self.n_requests += 1
        for image, energy, forces in zip(
            self.images, answers.energies, answers.forces, strict=True
        ):
            image.calc = SinglePointCalculator(image, energy=float(energy), forces=forces)
        forces_of_band: FloatArray = super().get_forces()
        return forces_of_band


def mirrored(pyramid: Atoms) -> Atoms:
    """The molecule after inversion: its mirror image in the plane of the last three atoms' normal.

    Args:
        pyramid: One atom and the three that surround it.

    Returns:
        A copy, reflected through the centre of mass.
    """
    normal = np.cross(
        pyramid.positions[2] - pyramid.positions[1], pyramid.positions[3] - pyramid.positions[1]
    )
    length = float(np.linalg.norm(normal))
    if length < UNIT_VECTOR_LIMIT:
        raise ValueError("expected three atoms that define a plane, got three on a line")
    normal /= length
    image: Atoms = pyramid.copy()
    height = (pyramid.positions - pyramid.get_center_of_mass()) @ normal
    image.positions -= 2.0 * height[:, None] * normal
    return image


def climb(
    first: Atoms, last: Atoms, ask: Ask, *, n_images: int, largest_force: float
) -> ReactionPath:
    """Relax a band between two minima until its highest image sits on the saddle.

    Args:
        first: A minimum.
        last: Another one, its atoms in the same order.
        ask: Potential.
        n_images: Images, minima included.
        largest_force: Converged when no component of the band's force is larger, eV/Angstrom.

    Returns:
        The path, as far as it converged; ``residual`` says how far that is.
    """
    images = [first.copy() for _ in range(n_images - 1)] + [last.copy()]
    for index, image in enumerate(images):
        share = index / (n_images - 1)
        image.positions = (1.0 - share) * first.positions + share * last.positions
    band = JointBand(images, ask)
    # ASE optimises anything that is "optimizable"; its annotation says Atoms.
    optimizer = BFGS(band, logfile=None, maxstep=0.05)  # type: ignore[arg-type]
    optimizer.run(fmax=largest_force, steps=MAX_ITERATIONS)
    residual = float(np.abs(band.get_forces()).max())
    assert band.answers is not None, "the band has just been evaluated"
    return ReactionPath(
        images=tuple(images),
        answers=band.answers,
        n_requests=band.n_requests,
        residual=residual,
    )


def barrier_of(answers: Answers) -> Barrier:
    """Height of the barrier along a path, and its interval from the samples.

    The images stay those of the mean energy. A sample's own saddle lies elsewhere, but near a
    stationary point the energy changes only by the square of that distance.
    """
    energies, samples = answers.energies, answers.sample_energies
    top = int(energies.argmax())
    heights = samples.max(axis=0) - samples[0]
    value = float(energies[top] - energies[0])
    per_sample = tuple(heights.tolist())
    if heights.size < 2:
        return Barrier(value=value, per_sample=per_sample)
    std = float(heights.std(ddof=1))
    quantile = stats.t.ppf(0.5 + 0.5 * INTERVAL_LEVEL, heights.size - 1)
    half = float(quantile * std * np.sqrt(1.0 + 1.0 / heights.size))
    centre = float(heights.mean())
    calibration = float(answers.epistemic[top] / samples[top].std(ddof=1))
    return Barrier(
        value=value,
        per_sample=per_sample,
        std=std,
        interval=(centre - half, centre + half),
        calibration=calibration,
        calibrated_interval=(centre - calibration * half, centre + calibration * half),
    )
