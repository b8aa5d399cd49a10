"""Banks of every kind of epistemic spread, and differences to hold gradients to."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from posterion.inference.loading import SampleBank
from posterion.inference.predictor import Predictor
from posterion.network.functional import NetworkFunction
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import UncertaintyGradient
from posterion.structures.structure import Structure
from posterion.uncertainty.calibration import LatentForce
from tests.support.banks import REFERENCE, random_bank, thermal_ethanol
from tests.support.predictions import predicted

FloatArray = NDArray[np.float64]

STEP: Final = 5e-4
"""Angstrom. The truncation of differences of fourth order is about its fourth power, the
rounding of an energy of 4000 eV adds 1e-12 / STEP."""
SPREAD: Final = 0.1


def evidential_bank() -> SampleBank:
    """Each sample says itself what it does not know of a force."""
    bank = random_bank(with_latent_density=True)
    config = bank.config.model_copy(update={"noise_readout": "evidential"})
    function = NetworkFunction(config, REFERENCE, dtype=torch.float64, device="cpu")
    generator = torch.Generator().manual_seed(5)
    start = function.initial_parameters(generator)
    noise = torch.randn((bank.n_samples, len(start)), generator=generator, dtype=torch.float64)
    return replace(bank, config=config, parameters=(start + SPREAD * noise).float())


def widened_bank(rule: LatentForce) -> SampleBank:
    """The latent density adds to the spread of some atoms of `warm` and not of others."""
    bank = random_bank(with_latent_density=True)
    return replace(bank, calibration=bank.calibration.model_copy(update={"latent_force": rule}))


BANKS: Final[dict[str, Callable[[], SampleBank]]] = {
    "spread": partial(random_bank, with_latent_density=True),
    "widened": partial(widened_bank, LatentForce(scale=0.02, onset=2.5, excess="square")),
    "older rule": partial(widened_bank, LatentForce(scale=0.02, onset=2.5)),
    "evidential": evidential_bank,
}


def warm() -> Structure:
    return thermal_ethanol(1)[0]


def gradients(
    predictor: Predictor, structures: Sequence[Structure], options: EvaluationOptions
) -> list[UncertaintyGradient]:
    found = [one.uncertainty_gradient for one in predicted(predictor, structures, options)]
    assert all(each is not None and each.of == options.gradient_of for each in found)
    return [each for each in found if each is not None]


def slopes(
    predictor: Predictor,
    options: EvaluationOptions,
    displaced: Callable[[FloatArray], Structure],
    shape: tuple[int, ...],
) -> FloatArray:
    """Differences of the value: of fourth order, along each entry of a displacement."""
    steps = STEP * np.eye(int(np.prod(shape))).reshape(-1, *shape)
    structures = [displaced(k * step) for step in steps for k in (1, -1, 2, -2)]
    values = np.array([each.value for each in gradients(predictor, structures, options)])
    near, mirrored, far, opposite = values.reshape(-1, 4).T
    slope: FloatArray = (8.0 * (near - mirrored) - (far - opposite)) / (12.0 * STEP)
    return slope.reshape(shape)


def in_cell(structure: Structure, change: FloatArray) -> Structure:
    """Another cell at the same fractional coordinates."""
    assert structure.cell is not None
    cell = structure.cell + change
    fractional = np.linalg.solve(structure.cell.T, structure.positions.T).T
    return replace(structure, cell=cell, positions=fractional @ cell)
