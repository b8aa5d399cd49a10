"""How a document becomes the bytes of a body, and back.

`application/vnd.msgpack` carries arrays as raw little-endian numbers; `application/json`
carries them as nested lists with the shortest digits that give the same float64 back.
"""

import json
from collections.abc import Mapping
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

Encoding = Literal["msgpack", "json"]

MEDIA_TYPES: Mapping[Encoding, str] = {
    "msgpack": "application/vnd.msgpack",
    "json": "application/json",
}
PROBLEM_TYPE = "application/problem+json"


def encode_array(array: NDArray[np.float64], encoding: Encoding) -> object:
    """Bring a float64 array into the form the encoding carries it in."""
    if encoding == "json":
        return array.tolist()
    return {
        "dtype": "<f8",
        "shape": list(array.shape),
        "data": array.astype("<f8", copy=False).tobytes(order="C"),
    }


def encode_document(document: Mapping[str, object], encoding: Encoding) -> bytes:
    """Write a document, whose arrays are encoded already, as a body."""
    if encoding == "json":
        return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    import msgpack  # noqa: PLC0415 - md works without it

    packed: bytes = msgpack.packb(document)
    return packed


def decode_document(content: bytes, media_type: str) -> object:
    """Read a body; its raw arrays stay mappings of dtype, shape and data.

    Args:
        content: The whole body.
        media_type: Its media type without parameters.

    Raises:
        ValueError: If the media type is another one, or the body is not a document of it.
    """
    if media_type == MEDIA_TYPES["msgpack"]:
        import msgpack  # noqa: PLC0415 - md works without it

        return msgpack.unpackb(content)
    if media_type in (MEDIA_TYPES["json"], PROBLEM_TYPE):
        return _decode_json(content)
    raise ValueError(f"expected {MEDIA_TYPES['msgpack']} or {MEDIA_TYPES['json']}")


def _decode_json(content: bytes) -> object:
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("the document is nested too deeply") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
