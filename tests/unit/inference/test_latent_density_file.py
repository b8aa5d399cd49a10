"""A latent density is read back bit by bit, or refused by the name of its fault."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from posterion.inference.latent_density_file import (
    DENSITY_FORMAT,
    decode_latent_density,
    encode_latent_density,
)
from posterion.uncertainty.latent_density import LatentDensity
from posterion.uncertainty.latent_fitting import fit_latent_density

ELEMENTS = (1, 6, 8)
N_FEATURES = 4
Arrays = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def density() -> LatentDensity:
    rng = np.random.default_rng(0)
    numbers = np.array([1] * 60 + [6] * 30 + [8] * 10)
    return fit_latent_density(numbers, rng.normal(size=(100, N_FEATURES)), elements=ELEMENTS)


def decoded(data: bytes) -> LatentDensity:
    return decode_latent_density(data, elements=ELEMENTS, n_features=N_FEATURES)


def test_a_density_survives_bit_by_bit(density: LatentDensity) -> None:
    again = decoded(encode_latent_density(density))
    assert [m.elements for m in again.mixtures] == [m.elements for m in density.mixtures]
    for one, other in zip(again.mixtures, density.mixtures, strict=True):
        for field in ("log_weights", "means", "whitening", "zero"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def single_precision(arrays: Arrays) -> None:
    arrays["0.means"] = arrays["0.means"].astype(np.float32)


def not_finite(arrays: Arrays) -> None:
    arrays["0.whitening"] = np.full_like(arrays["0.whitening"], np.nan)


def other_width(arrays: Arrays) -> None:
    arrays["1.means"] = arrays["1.means"][:, :3]


def empty(arrays: Arrays) -> None:
    arrays["0.log_weights"] = arrays["0.log_weights"][:0]


def repeated_element(arrays: Arrays) -> None:
    arrays["1.elements"] = np.array([1])


def missing_array(arrays: Arrays) -> None:
    del arrays["0.zero"]


def real_elements(arrays: Arrays) -> None:
    arrays["0.elements"] = arrays["0.elements"].astype(np.float64)


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (single_precision, r"0.means: expected float64 of shape \(1, 4\), got float32"),
        (not_finite, "0.whitening: expected finite numbers"),
        (other_width, r"1.means: expected float64 of shape \(1, 4\), got .* \(1, 3\)"),
        (empty, r"0.log_weights: expected float64 of shape \(0,\)"),
        (repeated_element, r"expected mixtures of elements \[1, 6, 8\], got \[1, 1\]"),
        (missing_array, "expected arrays .* of each mixture"),
        (real_elements, "0.elements: expected int64"),
    ],
)
def test_a_wrong_array_is_refused_by_name(
    density: LatentDensity, harm: Callable[[Arrays], None], complaint: str
) -> None:
    arrays = load(encode_latent_density(density))
    harm(arrays)
    with pytest.raises(ValueError, match=complaint):
        decoded(save(arrays, {"format": DENSITY_FORMAT}))


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="not a safetensors file"):
        decoded(b"\x80\x04 a pickle")
    with pytest.raises(ValueError, match="format"):
        decoded(save({"a": np.zeros(1)}, {"format": "something else"}))
