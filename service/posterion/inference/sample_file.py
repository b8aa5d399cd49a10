"""How one posterior sample is written as bytes, and read back without trusting them.

A sample is a safetensors file with the single float32 tensor ``parameters``; safetensors
has no path to code execution, and everything else about the file is checked here.
"""

import json
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

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
    try:
        tensors = load(data)
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"not a safetensors file of plain arrays: {error}") from error
    _check_format(data)
    if set(tensors) != {_TENSOR}:
        raise ValueError(f"expected the one tensor {_TENSOR!r}, got {sorted(tensors)}")
    parameters = tensors[_TENSOR]
    if parameters.dtype != np.float32 or parameters.shape != (n_parameters,):
        raise ValueError(
            f"expected float32 parameters of shape ({n_parameters},), "
            f"got {parameters.dtype} of shape {parameters.shape}"
        )
    n_bad = int(np.count_nonzero(~np.isfinite(parameters)))
    if n_bad:
        raise ValueError(f"expected finite parameters, {n_bad} of {n_parameters} are not")
    return parameters


def _check_format(data: bytes) -> None:
    """Compare the format written in the header, which safetensors has found well formed."""
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    found = header.get("__metadata__", {}).get("format")
    if found != SAMPLE_FORMAT:
        raise ValueError(f"expected format {SAMPLE_FORMAT!r}, got {found!r}")
