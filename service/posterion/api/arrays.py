"""How an array on the wire, nested lists or raw bytes, becomes a numpy array.

A value of the wrong type (a string, a boolean, null) makes the request invalid. Numbers in
a wrong shape are an error of their structure alone.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Final, TypeGuard

import numpy as np
from numpy.typing import NDArray

from posterion.api.codec import RAW_ARRAY_FIELDS
from posterion.errors import Fault, InvalidRequest, InvalidStructure

_INTEGER_DTYPES: Final = frozenset(
    {"|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", ">i2", ">i4", ">i8"}
)
_FLOAT_DTYPES: Final = frozenset({"<f4", "<f8", ">f4", ">f8"})
_INTEGER_TYPES: Final = frozenset({int})
_NUMBER_TYPES: Final = frozenset({int, float})


class WrongTypeError(Exception):
    """A value has a type that no array of its field can have.

    Attributes:
        fault: Where, relative to the structure, and what was expected.
    """

    def __init__(self, fault: Fault) -> None:
        """Keep the fault."""
        super().__init__(fault.detail)
        self.fault = fault


def wrong_type(pointer: str, expected: str, value: object) -> WrongTypeError:
    """Say that a value has the wrong type, without quoting it.

    Args:
        pointer: Where it is, relative to the structure.
        expected: What should be there.
        value: What is.
    """
    return WrongTypeError(
        Fault(pointer=pointer, detail=f"expected {expected}, got {_json_type(value)}")
    )


def refuse_types(faults: Sequence[Fault]) -> InvalidRequest:
    """The error of a request with values of wrong types.

    Args:
        faults: Where; pointers into the request.
    """
    return InvalidRequest("a value has the wrong type; see errors", faults=tuple(faults))


def wrong_shape(pointer: str, expected: str) -> InvalidStructure:
    """Say that the numbers of a structure do not form the array they should.

    Args:
        pointer: Where, relative to the structure.
        expected: Which shape they should form.
    """
    detail = f"expected {expected}"
    return InvalidStructure(f"{pointer}: {detail}", faults=(Fault(pointer=pointer, detail=detail),))


def float_rows(value: object, pointer: str) -> NDArray[np.float64]:
    """Read rows of three real numbers.

    Args:
        value: Nested lists or a raw array.
        pointer: Where it is, relative to the structure.

    Returns:
        Shape ``(n, 3)``; may hold NaN or infinity if they came as MessagePack.

    Raises:
        WrongTypeError: If something in it is not a number.
        InvalidStructure: If it is ragged or of another shape.
    """
    expected = "rows of three numbers"
    if _is_raw(value):
        array = _raw_array(value, pointer, dtypes=_FLOAT_DTYPES | _INTEGER_DTYPES, row=[3])
        return array.astype(np.float64)
    if not isinstance(value, list):
        raise wrong_type(pointer, expected, value)
    if not _is_rows_of_three(value):
        check_leaves(value, pointer, _NUMBER_TYPES, "a number")
        raise wrong_shape(pointer, expected)
    if not set(map(type, chain.from_iterable(value))) <= _NUMBER_TYPES:
        check_leaves(value, pointer, _NUMBER_TYPES, "a number")
    flat = np.fromiter(chain.from_iterable(value), dtype=np.float64, count=3 * len(value))
    return flat.reshape(-1, 3)


def integers(value: object, pointer: str) -> NDArray[np.int64]:
    """Read a list of integers.

    Args:
        value: A list or a raw array.
        pointer: Where it is, relative to the structure.

    Returns:
        Shape ``(n,)``.

    Raises:
        WrongTypeError: If something in it is not an integer; booleans are not.
        InvalidStructure: If it is nested, or a number needs more than 64 bits.
    """
    if _is_raw(value):
        array = _raw_array(value, pointer, dtypes=_INTEGER_DTYPES, row=[])
        if array.dtype == np.uint64 and (array.astype(np.uint64) > np.iinfo(np.int64).max).any():
            raise wrong_shape(pointer, "integers of at most 63 bits and a sign")
        return array.astype(np.int64)
    if not isinstance(value, list):
        raise wrong_type(pointer, "a list of integers", value)
    if not set(map(type, value)) <= _INTEGER_TYPES:
        check_leaves(value, pointer, _INTEGER_TYPES, "an integer")
        raise wrong_shape(pointer, "a flat list of integers")
    try:
        return np.array(value, dtype=np.int64)
    except OverflowError:
        raise wrong_shape(pointer, "integers of at most 63 bits and a sign") from None


def declared_rows(value: object) -> int:
    """How many rows a value says it has, before it is read; 0 if it is no array."""
    if isinstance(value, list):
        return len(value)
    if _is_raw(value) and isinstance(value["shape"], list) and value["shape"]:
        first = value["shape"][0]
        return first if type(first) is int else 0
    return 0


def check_leaves(value: object, pointer: str, types: frozenset[type], expected: str) -> None:
    """Raise for the first value inside nested lists that has another type.

    Args:
        value: Nested lists; their depth was bounded when the body was read.
        pointer: Where they are, relative to the structure.
        types: Exact types that are right.
        expected: Name of such a value.

    Raises:
        WrongTypeError: With the place of the first wrong value.
    """
    if isinstance(value, list):
        if set(map(type, value)) <= types:
            return
        for index, item in enumerate(value):
            check_leaves(item, f"{pointer}/{index}", types, expected)
    elif type(value) not in types:
        raise wrong_type(pointer, expected, value)


def _is_rows_of_three(rows: list[object]) -> bool:
    return set(map(type, rows)) <= {list} and set(map(len, rows)) <= {3}  # type: ignore[arg-type]


def _is_raw(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict) and value.keys() == RAW_ARRAY_FIELDS


def _raw_array(
    raw: dict[str, object], pointer: str, *, dtypes: frozenset[str], row: list[int]
) -> NDArray[np.generic]:
    # The lengths of a row are fixed before the bytes are counted: [0, 2**63] needs none of them.
    dtype, shape, data = raw["dtype"], raw["shape"], raw["data"]
    if not isinstance(dtype, str) or dtype not in dtypes:
        names = ", ".join(sorted(dtypes))
        raise WrongTypeError(Fault(pointer=f"{pointer}/dtype", detail=f"expected one of {names}"))
    if not isinstance(shape, list) or len(shape) > 2:
        raise wrong_type(f"{pointer}/shape", "a list of at most two lengths", shape)
    if not all(type(length) is int and length >= 0 for length in shape):
        raise wrong_type(f"{pointer}/shape", "lengths that are not negative", shape)
    if not isinstance(data, bytes):
        raise wrong_type(f"{pointer}/data", "bytes (raw arrays travel in MessagePack)", data)
    if not shape or shape[1:] != row:
        expected = ", ".join(["n", *map(str, row)])
        raise wrong_shape(pointer, f"a raw array of shape [{expected}], got {shape}")
    n_expected = math.prod(shape) * np.dtype(dtype).itemsize
    if len(data) != n_expected:
        raise wrong_shape(
            pointer, f"{n_expected} bytes for the declared shape and type, got {len(data)}"
        )
    return np.frombuffer(data, dtype=dtype).reshape(shape)


def _json_type(value: object) -> str:
    names = {
        type(None): "null",
        bool: "a boolean",
        int: "an integer",
        float: "a number with a fraction",
        str: "a string",
        bytes: "bytes",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "something else")
