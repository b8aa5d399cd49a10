"""Laws of the codec: what is written is read back bit by bit, whatever it is."""

import msgpack
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posterion.api.codec import MediaType, decode, encode
from posterion.api.nesting import NestingLimits
from posterion.errors import MalformedBody, TooLarge
from tests.support.asgi_caller import read_msgpack

LIMITS = NestingLimits(depth=8, nodes=10_000)

finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | finite | st.text()
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=6),
    max_leaves=30,
)


def depth(node: object) -> int:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else None
    return 0 if children is None else 1 + max(map(depth, children), default=0)


@pytest.mark.parametrize("media_type", list(MediaType))
@given(document=documents)
def test_a_document_survives_unless_it_is_too_deep(media_type: MediaType, document: object) -> None:
    body = encode(document, media_type)
    if depth(document) <= LIMITS.depth:
        assert decode(body, media_type, LIMITS) == document
    else:
        with pytest.raises(MalformedBody, match="nested at most 8 deep"):
            decode(body, media_type, LIMITS)


@pytest.mark.parametrize("media_type", list(MediaType))
@given(value=finite)
def test_every_float64_survives_bit_by_bit(media_type: MediaType, value: float) -> None:
    read = decode(encode([value], media_type), media_type, LIMITS)
    assert np.array(read).tobytes() == np.array([value]).tobytes()


@given(bits=st.integers(0, 2**64 - 1))
def test_raw_arrays_keep_every_bit(bits: int) -> None:
    array = np.array([bits], dtype=np.uint64).view(np.float64)
    assert read_msgpack(encode(array, MediaType.MSGPACK)).tobytes() == array.tobytes()


@pytest.mark.parametrize("order", ["C", "F"])
def test_raw_arrays_are_little_endian_in_c_order(order: str) -> None:
    array = np.asarray([[1.0, 2.0], [3.0, 4.0]], dtype=">f8", order=order)  # type: ignore[call-overload]
    document = msgpack.unpackb(encode(array, MediaType.MSGPACK))
    assert document == {
        "dtype": "<f8",
        "shape": [2, 2],
        "data": np.array([1.0, 2.0, 3.0, 4.0], dtype="<f8").tobytes(),
    }


@given(body=st.binary(max_size=200))
def test_a_msgpack_body_that_passes_the_checks_is_read_or_refused(body: bytes) -> None:
    try:
        document = decode(body, MediaType.MSGPACK, LIMITS)
    except (MalformedBody, TooLarge):
        return
    assert depth(document) <= LIMITS.depth


@given(document=documents, cut=st.integers(1, 20))
def test_a_cut_body_is_never_read(document: object, cut: int) -> None:
    body = encode({"document": document}, MediaType.MSGPACK)
    with pytest.raises(MalformedBody):
        decode(body[:-cut], MediaType.MSGPACK, LIMITS)


@given(text=st.text(alphabet='[]{}"\\,: a', max_size=40))
def test_brackets_in_text_have_no_depth(text: str) -> None:
    body = orjson.dumps([text, {text: text}])
    assert decode(body, MediaType.JSON, LIMITS) == [text, {text: text}]


@given(body=st.text(alphabet='[]{}"\\,:1', max_size=40).map(str.encode))
def test_the_check_of_json_refuses_only_what_is_deep_or_malformed(body: bytes) -> None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        with pytest.raises(MalformedBody):
            decode(body, MediaType.JSON, LIMITS)
    else:
        if depth(document) <= LIMITS.depth:
            assert decode(body, MediaType.JSON, LIMITS) == document
