"""How a file of named arrays is read without trusting it.

safetensors has no path to code execution; whoever reads the arrays checks what they hold.
"""

import json

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load


def read_arrays(data: bytes, *, file_format: str) -> dict[str, NDArray[np.generic]]:
    """Read a safetensors file of a stated format.

    Args:
        data: The file.
        file_format: What its metadata must say.

    Returns:
        The arrays by name.

    Raises:
        ValueError: If the bytes are no such file; the message says why.
    """
    try:
        arrays = load(data)
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"not a safetensors file of plain arrays: {error}") from error
    # safetensors has found the header well formed, but does not hand over its metadata.
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    found = header.get("__metadata__", {}).get("format")
    if found != file_format:
        raise ValueError(f"expected format {file_format!r}, got {found!r}")
    return arrays
