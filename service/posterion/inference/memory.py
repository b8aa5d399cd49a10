"""Which errors of torch mean that memory ran out.

CUDA's allocator raises a class of its own; the CPU's, and libraries below torch, raise a plain
RuntimeError that only its text tells apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

_TEXTS: Final = (
    "DefaultCPUAllocator: ",  # "can't allocate memory", "not enough memory"
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)


@contextmanager
def python_memory_error() -> Iterator[None]:
    """Turn whatever torch raises when memory runs out into Python's own MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch says that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    return any(each in text for each in _TEXTS)
