"""How one posterior sample is written as bytes, and read back without trusting them.

A sample is a safetensors file with the single float32 tensor ``parameters``.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from posterion.inference.array_file import read_arrays

SAMPLE_FORMAT: Final = "posterion-sample/1"
_TENSOR: Final = "parameters"


def encode_sample(parameters: NDArray[np.float32]) -> bytes:
    """Write one parameter vector, shape ``(n_parameters,)``, float32."""
    data: bytes = save({_TENSOR: np.ascontiguousarray(parameters)}, {"format": SAMPLE_FORMAT})
    return data


def decode_sample(data: bytes, *, n_parameters: int) -> NDArray[np.float32]:
    """Read one parameter vector.

    Args:
        data: The file.
        n_parameters: Length that the network needs.

    Returns:
        The parameters, shape ``(n_parameters,)``.

    Raises:
        ValueError: If the bytes are not a sample of this network; the message says why.
    """
    tensors = read_arrays(data, file_format=SAMPLE_FORMAT)
    if set(tensors) != {_TENSOR}:
        raise ValueError(f"expected the one tensor {_TENSOR!r}, got {sorted(tensors)}")
    found = tensors[_TENSOR]
    if found.dtype != np.float32 or found.shape != (n_parameters,):
        raise ValueError(
            f"expected float32 parameters of shape ({n_parameters},), "
            f"got {found.dtype} of shape {found.shape}"
        )
    parameters = found.astype(np.float32, copy=False)
    n_bad = int(np.count_nonzero(~np.isfinite(parameters)))
    if n_bad:
        raise ValueError(f"expected finite parameters, {n_bad} of {n_parameters} are not")
    return parameters
