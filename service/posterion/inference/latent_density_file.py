"""How a latent density is written as bytes, and read back without trusting them.

A safetensors file with four float64 arrays per mixture, named ``0.means`` and so on; which
elements each mixture describes stands in an array of its own, so nothing but arrays is read.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from posterion.inference.array_file import read_arrays
from posterion.uncertainty.latent_density import ElementMixture, LatentDensity

DENSITY_FILE: Final = "latent_density.safetensors"
"""Name of the file in the manifest."""

DENSITY_FORMAT: Final = "posterion-latent-density/1"

_FLOATS: Final = ("log_weights", "means", "whitening", "zero")
_FIELDS: Final = ("elements", *_FLOATS)


def encode_latent_density(density: LatentDensity) -> bytes:
    """Write a density."""
    arrays = {}
    for index, mixture in enumerate(density.mixtures):
        arrays[f"{index}.elements"] = np.array(mixture.elements, dtype=np.int64)
        arrays[f"{index}.zero"] = np.array([mixture.zero])
        for field in ("log_weights", "means", "whitening"):
            arrays[f"{index}.{field}"] = np.ascontiguousarray(getattr(mixture, field))
    data: bytes = save(arrays, {"format": DENSITY_FORMAT})
    return data


def decode_latent_density(
    data: bytes, *, elements: tuple[int, ...], n_features: int
) -> LatentDensity:
    """Read a density.

    Args:
        data: The file.
        elements: Atomic numbers it must describe, each once.
        n_features: Final scalars of the network.

    Returns:
        The density.

    Raises:
        ValueError: If the bytes are not a density of this network; the message says why.
    """
    arrays = read_arrays(data, file_format=DENSITY_FORMAT)
    expected = {
        f"{index}.{field}" for index in range(len(arrays) // len(_FIELDS)) for field in _FIELDS
    }
    if not arrays or set(arrays) != expected:
        raise ValueError(f"expected arrays {list(_FIELDS)} of each mixture, got {sorted(arrays)}")
    mixtures = tuple(
        _mixture(arrays, index, n_features=n_features)
        for index in range(len(arrays) // len(_FIELDS))
    )
    density = LatentDensity(mixtures=mixtures)
    if density.elements != tuple(sorted(elements)):
        raise ValueError(
            f"expected mixtures of elements {sorted(elements)}, got {list(density.elements)}"
        )
    return density


def _mixture(
    arrays: dict[str, NDArray[np.generic]], index: int, *, n_features: int
) -> ElementMixture:
    found = {field: arrays[f"{index}.{field}"] for field in _FIELDS}
    n_components = len(found["log_weights"]) if found["log_weights"].ndim == 1 else 0
    shapes = {
        "log_weights": (n_components,),
        "means": (n_components, n_features),
        "whitening": (n_components, n_features, n_features),
        "zero": (1,),
    }
    for field, shape in shapes.items():
        array = found[field]
        if n_components == 0 or array.shape != shape or array.dtype != np.float64:
            raise ValueError(
                f"{index}.{field}: expected float64 of shape {shape}, "
                f"got {array.dtype} of shape {array.shape}"
            )
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{index}.{field}: expected finite numbers")
    numbers = found["elements"]
    if numbers.dtype != np.int64 or numbers.ndim != 1:
        raise ValueError(f"{index}.elements: expected int64 of one axis, got {numbers.dtype}")
    return ElementMixture(
        elements=tuple(numbers.tolist()),
        log_weights=found["log_weights"].astype(np.float64, copy=False),
        means=found["means"].astype(np.float64, copy=False),
        whitening=found["whitening"].astype(np.float64, copy=False),
        zero=float(found["zero"].item()),
    )
