"""Is a body too deep or too crowded to be parsed?

Both checks read the bytes before a parser builds objects from them: recursion and memory
are bounded by what was declared, not by what a parser survives.
"""

from typing import Final, NamedTuple

import numpy as np

from posterion.errors import MalformedBody, TooLarge


class NestingLimits(NamedTuple):
    """How deep and how crowded a document may be.

    Attributes:
        depth: Containers inside each other, at most.
        nodes: Containers and strings in all, at most.
    """

    depth: int
    nodes: int

    @property
    def values(self) -> int:
        """Most values of any kind in MessagePack, where each costs a step of this check."""
        return 2 * self.nodes


_QUOTE: Final = ord('"')
_MARKS: Final = b'"[]{}'
_NOT_MARKS: Final = bytes(set(range(256)) - set(_MARKS))
_AS_SQUARE: Final = bytes.maketrans(b"{}", b"[]")


def check_json(body: bytes, limits: NestingLimits) -> None:
    """Refuse a JSON text that is nested too deeply or holds too many nodes.

    Only brackets outside strings count. Removing every innermost pair lowers the depth by
    exactly one, so what is left after ``limits.depth`` rounds is too deep or unbalanced,
    and neither is acceptable.

    Args:
        body: The text; it need not be valid JSON.
        limits: What to refuse.

    Raises:
        MalformedBody: If it is too deep.
        TooLarge: If it holds too many nodes.
    """
    marks = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, delete=_NOT_MARKS)
    brackets = _outside_strings(marks).translate(_AS_SQUARE)
    n_quotes = marks.count(b'"')
    if brackets.count(b"[") + n_quotes // 2 > limits.nodes:
        raise _too_crowded(limits)
    for _ in range(limits.depth):
        shallower = brackets.replace(b"[]", b"")
        if not shallower:
            return
        if len(shallower) == len(brackets):
            break
        brackets = shallower
    raise MalformedBody(
        f"expected a JSON text with balanced brackets, nested at most {limits.depth} deep"
    )


def _outside_strings(marks: bytes) -> bytes:
    """Drop quotes and what stands between an odd one and the next."""
    codes = np.frombuffer(marks, dtype=np.uint8)
    is_quote = codes == _QUOTE
    # Counts wrap at 256, which keeps their parity.
    inside = np.add.accumulate(is_quote, dtype=np.uint8) & 1
    outside = codes[(inside == 0) & ~is_quote]
    return bytes(outside)


def _too_crowded(limits: NestingLimits) -> TooLarge:
    return TooLarge(
        f"expected at most {limits.nodes} arrays, objects and strings in one document; "
        "send long arrays as raw bytes in MessagePack"
    )


_VARIABLE: Final = -1
_ARRAY: Final = -2
_MAP: Final = -3
_REFUSED: Final = -4


def _token_sizes() -> tuple[int, ...]:
    """Bytes after the first one, by first byte; negative: see the constants."""
    sizes = [0] * 256
    sizes[0x80:0x90] = [_MAP] * 16
    sizes[0x90:0xA0] = [_ARRAY] * 16
    sizes[0xA0:0xC0] = range(32)
    sizes[0xC1] = _REFUSED
    sizes[0xC4:0xC7] = [_VARIABLE] * 3
    sizes[0xC7:0xCA] = [_REFUSED] * 3
    sizes[0xCA:0xD4] = [4, 8, 1, 2, 4, 8, 1, 2, 4, 8]
    sizes[0xD4:0xD9] = [_REFUSED] * 5
    sizes[0xD9:0xDC] = [_VARIABLE] * 3
    sizes[0xDC:0xE0] = [_ARRAY, _ARRAY, _MAP, _MAP]
    return tuple(sizes)


_TOKEN_SIZES: Final = _token_sizes()
_ONE_BYTE: Final = bytes(
    first for first, size in enumerate(_TOKEN_SIZES) if size == 0 and not 0xA0 <= first < 0xC0
)
_LENGTH_BYTES: Final = {
    **dict.fromkeys((0xC4, 0xD9), 1),
    **dict.fromkeys((0xC5, 0xDA, 0xDC, 0xDE), 2),
    **dict.fromkeys((0xC6, 0xDB, 0xDD, 0xDF), 4),
}


def check_msgpack(body: bytes, limits: NestingLimits) -> None:
    """Refuse a MessagePack body that is deep, crowded, truncated or has extension types.

    A declared length never exceeds the bytes that are left for it, so that the parser
    behind allocates no more than a complete document would need.

    Args:
        body: The bytes.
        limits: What to refuse.

    Raises:
        MalformedBody: If it is not one complete MessagePack object, is too deep, or holds
            an extension type.
        TooLarge: If it holds too many nodes.
    """
    end = len(body)
    position = 0
    n_nodes = 0
    n_values = 0
    remaining = [1]  # objects still to come in each open container
    n_expected = 1  # their sum
    while remaining:
        if remaining[-1] == 0:
            remaining.pop()
            continue
        remaining[-1] -= 1
        if position >= end:
            raise _truncated()
        n_expected -= 1
        first = body[position]
        size = _TOKEN_SIZES[first]
        position += 1
        if size >= 0:
            position += size
            n_nodes += 0xA0 <= first < 0xC0
            continue
        n_nodes += 1
        length, position = _declared_length(body, first, position)
        if size == _VARIABLE:
            position += length
            continue
        remaining.append(length if size == _ARRAY else 2 * length)
        n_expected += remaining[-1]
        n_values += remaining[-1]
        if n_expected > end - position:
            raise _truncated()
        n_skipped = length if size == _ARRAY and _one_byte_each(body, position, length) else 0
        position += n_skipped
        n_expected -= n_skipped
        remaining[-1] -= n_skipped
        _check_crowd(n_nodes, n_values, limits, depth=len(remaining) - 1)
    if position != end:
        raise MalformedBody("expected exactly one complete MessagePack object")
    _check_crowd(n_nodes, n_values, limits)


def _one_byte_each(body: bytes, position: int, length: int) -> bool:
    """Whether a list holds nothing but numbers below 128 and the like, a byte each."""
    return not body[position : position + length].translate(None, delete=_ONE_BYTE)


def _truncated() -> MalformedBody:
    return MalformedBody("expected a complete MessagePack object, but the body is truncated")


def _check_crowd(n_nodes: int, n_values: int, limits: NestingLimits, *, depth: int = 0) -> None:
    if depth > limits.depth:
        raise MalformedBody(f"expected a document nested at most {limits.depth} deep")
    if n_nodes > limits.nodes or n_values > limits.values:
        raise _too_crowded(limits)


def _declared_length(body: bytes, first: int, position: int) -> tuple[int, int]:
    """Length that a header declares, and where its content starts."""
    if _TOKEN_SIZES[first] == _REFUSED:
        raise MalformedBody("expected plain MessagePack values, got an extension or reserved type")
    n_bytes = _LENGTH_BYTES.get(first, 0)
    if n_bytes == 0:
        return first & 0x0F, position
    start = position + n_bytes
    return int.from_bytes(body[position:start], "big"), start
