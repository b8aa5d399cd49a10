"""How a document becomes bytes, always the same bytes, and how it is read back strictly.

Keys sorted by code point, no white space, UTF-8 without escapes for printable characters,
numbers as Python prints them (the shortest text that reads back to the same float64), no
NaN or infinity. Equal documents therefore have equal digests on every machine.
"""

import json
import math
from collections.abc import Iterator
from typing import NoReturn

from pydantic import JsonValue


def encode(document: JsonValue) -> bytes:
    """Write a document in its canonical form.

    Raises:
        ValueError: If a number is not finite or a string is not valid Unicode; the message
            names the place as a JSON pointer.
    """
    for pointer, value in _leaves(document, ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{pointer}: expected a finite number, got {value}")
        if isinstance(value, str) and not _is_unicode(value):
            raise ValueError(f"{pointer}: expected valid Unicode, got {value!r}")
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def decode(data: bytes) -> dict[str, JsonValue]:
    """Read a JSON object, refusing what other readers might understand differently.

    Raises:
        ValueError: If the bytes are not UTF-8, not JSON, not an object, or hold NaN,
            infinity or one key twice.
    """
    try:
        document = json.loads(
            data.decode(), object_pairs_hook=_distinct, parse_constant=_refuse_constant
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if isinstance(document, dict):
        return document
    raise ValueError(f"expected a JSON object, got {data[:40].decode(errors='replace')!r}")


def _leaves(value: JsonValue, pointer: str) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{pointer}/{key}", key
            yield from _leaves(item, f"{pointer}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{pointer}/{index}")
    else:
        yield pointer, value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _distinct(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    document = dict(pairs)
    if len(document) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"expected each key once, got {', '.join(twice)} more than once")
    return document


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"expected finite numbers, got {text}")
