"""How a field of a reply is read, or refused by its place in the document.

A reply comes from outside. Each reader states what it expects; what does not fit raises
`InvalidReply` with the JSON pointer of the field, instead of a `KeyError` far from the cause.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from posterion_client._errors import InvalidReply

_RAW_DTYPES = frozenset({"<f8", "<f4", "<i8", "<i4"})


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a decoded reply and the place it came from.

    Attributes:
        value: The decoded value.
        pointer: RFC 6901 JSON pointer of the value; empty for the document.
    """

    value: object
    pointer: str = ""

    def __getitem__(self, key: str) -> "Node":
        """The field ``key``, which must be there."""
        fields = self.mapping()
        if key not in fields:
            self.refuse(f"a field {key!r}")
        return Node(fields[key], f"{self.pointer}/{key}")

    def get(self, key: str) -> "Node | None":
        """The field ``key``, or None where it is missing or null."""
        value = self.mapping().get(key)
        return None if value is None else Node(value, f"{self.pointer}/{key}")

    def mapping(self) -> Mapping[str, object]:
        """The value as an object with named fields."""
        if not isinstance(self.value, dict):
            self.refuse("an object")
        return self.value

    def items(self) -> tuple["Node", ...]:
        """The elements of a list."""
        if not isinstance(self.value, list):
            self.refuse("a list")
        return tuple(Node(value, f"{self.pointer}/{i}") for i, value in enumerate(self.value))

    def text(self) -> str:
        """The value as a string."""
        if not isinstance(self.value, str):
            self.refuse("a string")
        return self.value

    def boolean(self) -> bool:
        """The value as true or false."""
        if not isinstance(self.value, bool):
            self.refuse("true or false")
        return self.value

    def integer(self) -> int:
        """The value as a whole number."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self.refuse("a whole number")
        return self.value

    def number(self) -> float:
        """The value as a finite number."""
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            self.refuse("a number")
        if not np.isfinite(self.value):
            self.refuse("a finite number")
        return float(self.value)

    def array(self, *shape: int | None) -> NDArray[np.float64]:
        """The value as a read-only array of finite numbers.

        Args:
            shape: Expected shape; None stands for any length.

        Returns:
            A float64 array of that shape, bit for bit what was sent.
        """
        array = self._raw_array() if isinstance(self.value, dict) else self._listed_array()
        fits = array.ndim == len(shape) and all(
            wanted in (None, got) for wanted, got in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = tuple("any" if length is None else length for length in shape)
            self.refuse(f"an array of shape {wanted}, got shape {array.shape}")
        if not np.isfinite(array).all():
            self.refuse("finite numbers only")
        array.setflags(write=False)
        return array

    def refuse(self, expected: str) -> NoReturn:
        """Raise `InvalidReply`, naming the place, what was expected and what came."""
        came = repr(self.value)
        came = came if len(came) <= 60 else f"{came[:57]}..."
        place = self.pointer or "the document"
        raise InvalidReply(f"expected {expected} at {place} of the reply, got {came}")

    def _raw_array(self) -> NDArray[np.float64]:
        dtype = self["dtype"].text()
        if dtype not in _RAW_DTYPES:
            self["dtype"].refuse(f"one of {sorted(_RAW_DTYPES)}")
        shape = tuple(length.integer() for length in self["shape"].items())
        data = self["data"].value
        if not isinstance(data, bytes):
            self["data"].refuse("bytes")
        if min(shape, default=0) < 0 or len(data) != math.prod(shape) * np.dtype(dtype).itemsize:
            self["data"].refuse(f"the {dtype} numbers of shape {shape}, got {len(data)} bytes")
        return np.frombuffer(data, dtype=dtype).reshape(shape).astype(np.float64, copy=False)

    def _listed_array(self) -> NDArray[np.float64]:
        if not isinstance(self.value, list):
            self.refuse("an array")
        try:
            array = np.asarray(self.value)
        except ValueError:
            self.refuse("a list of equal rows")
        if array.dtype.kind not in "fiu" and array.size > 0:
            self.refuse("an array of numbers")
        return array.astype(np.float64)
