"""How documents become bytes and bytes become documents: JSON and MessagePack.

Both carry the same document. MessagePack may hold an array of numbers as
``{"dtype": "<f8", "shape": [n, 3], "data": <bytes>}`` in C order; replies always do.
"""

from enum import StrEnum
from typing import Final

import msgpack
import numpy as np
import orjson
from numpy.typing import NDArray

from posterion.api.nesting import NestingLimits, check_json, check_msgpack
from posterion.errors import MalformedBody

RAW_ARRAY_FIELDS: Final = frozenset({"dtype", "shape", "data"})
"""Keys of an array that travels as raw bytes."""


class MediaType(StrEnum):
    """The encodings of requests and replies."""

    JSON = "application/json"
    MSGPACK = "application/vnd.msgpack"
    FRAME = "application/vnd.posterion.frame"


ENCODINGS: Final = tuple(MediaType)
DOCUMENTS: Final = (MediaType.JSON, MediaType.MSGPACK)
"""The encodings of any document; a frame says only what a prediction needs."""


def decode(body: bytes, media_type: MediaType, limits: NestingLimits) -> object:
    """Read one document.

    Args:
        body: The bytes of the request.
        media_type: What they are said to be.
        limits: Depth and number of nodes, checked before anything is built.

    Returns:
        Plain dictionaries, lists, strings, numbers, booleans, None and, in MessagePack,
        bytes. JSON yields no NaN or infinity; MessagePack may.

    Raises:
        MalformedBody: If the body is not one document of that type.
        TooLarge: If it holds too many nodes.
    """
    if media_type is MediaType.JSON:
        return _decode_json(body, limits)
    return _decode_msgpack(body, limits)


def encode(document: object, media_type: MediaType) -> bytes:
    """Write one document.

    Args:
        document: Plain values and float64 or int64 arrays, all finite.
        media_type: How to write it.

    Returns:
        The bytes; a float64 read back from them is the same float64.
    """
    if media_type is MediaType.JSON:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    packed: bytes = msgpack.packb(document, default=_raw_array, use_bin_type=True)
    return packed


def _decode_json(body: bytes, limits: NestingLimits) -> object:
    check_json(body, limits)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # The parser's own message may quote the text; line and column do not.
        raise MalformedBody(
            f"expected a JSON text, got something else at line {error.lineno}, "
            f"column {error.colno} (NaN, Infinity and numbers beyond float64 are not JSON)"
        ) from None


def _decode_msgpack(body: bytes, limits: NestingLimits) -> object:
    check_msgpack(body, limits)
    try:
        return msgpack.unpackb(
            body, raw=False, strict_map_key=True, object_pairs_hook=_unique_string_keys
        )
    except (ValueError, msgpack.UnpackException):
        raise MalformedBody("expected one MessagePack object with UTF-8 strings as keys") from None


def _unique_string_keys(pairs: list[tuple[object, object]]) -> dict[str, object]:
    document = {key: value for key, value in pairs if isinstance(key, str)}
    if len(document) != len(pairs):
        raise MalformedBody("expected each key of an object once, and as a string")
    return document


def _raw_array(value: object) -> dict[str, object]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"cannot write {type(value).__name__}")
    array: NDArray[np.generic] = np.ascontiguousarray(value)
    dtype = array.dtype.newbyteorder("<")
    return {
        "dtype": dtype.str,
        "shape": list(array.shape),
        "data": array.astype(dtype, copy=False).tobytes(),
    }
