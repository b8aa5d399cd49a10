"""What is sent arrives, and what is answered is read, bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posterion_client import Client, Encoding, InvalidArgument, InvalidReply, Structure
from posterion_client._encoding import (
    MEDIA_TYPES,
    decode_document,
    encode_array,
    encode_document,
)
from posterion_client._fields import Node
from tests.unit.client.stand_in import STIFFNESS, StandIn

ENCODINGS: tuple[Encoding, ...] = ("msgpack", "json")
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)
AWKWARD = np.array([[0.1, -0.0, 5e-324], [1e-17, 1 / 3, np.nextafter(1.0, 2.0)]])


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(values=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_array_round_trip_is_exact(
    encoding: Encoding, values: list[tuple[float, float, float]]
) -> None:
    array = np.array(values, dtype=np.float64)
    body = encode_document({"forces": encode_array(array, encoding)}, encoding)
    document = Node(decode_document(body, MEDIA_TYPES[encoding]))
    assert document["forces"].array(len(values), 3).tobytes() == array.tobytes()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_positions_arrive_and_forces_return_bit_for_bit(encoding: Encoding) -> None:
    service = StandIn()
    structure = Structure(numbers=[1, 6], positions=AWKWARD)
    with Client(transport=service.transport, encoding=encoding) as client:
        forces = client.predict(structure).forces
    (sent,) = service.documents()
    arrived = np.asarray(sent["structures"][0]["positions"], dtype=np.float64)
    assert arrived.tobytes() == AWKWARD.tobytes()
    assert forces.tobytes() == (-STIFFNESS * AWKWARD).tobytes()


def test_both_encodings_give_the_same_prediction() -> None:
    structure = Structure(numbers=[1, 6], positions=AWKWARD * 1e3)
    predictions = []
    for encoding in ENCODINGS:
        with Client(transport=StandIn().transport, encoding=encoding) as client:
            predictions.append(client.predict(structure))
    binary, text = predictions
    assert binary.energy == text.energy
    assert binary.flags == text.flags
    assert binary.uncertainty is not None
    assert text.uncertainty is not None
    np.testing.assert_array_equal(
        binary.uncertainty.forces.total, text.uncertainty.forces.total, strict=True
    )


def test_request_says_what_it_is_and_what_it_wants() -> None:
    for encoding, media_type in MEDIA_TYPES.items():
        service = StandIn()
        with Client(transport=service.transport, encoding=encoding) as client:
            client.predict(Structure(numbers=[1], positions=[[0, 0, 0]]))
        headers = service.seen[0].headers
        assert headers["content-type"] == media_type
        assert headers["accept"] == f"{media_type}, application/problem+json"


def test_unknown_encoding_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="'pickle'"):
        Client(encoding="pickle")  # type: ignore[arg-type] # the mistake under test


def test_narrow_and_whole_numbers_widen_exactly() -> None:
    for dtype in ("<f4", "<i8", "<i4"):
        values = np.arange(6, dtype=dtype).reshape(2, 3)
        raw = {"dtype": dtype, "shape": [2, 3], "data": values.tobytes()}
        np.testing.assert_array_equal(Node(raw).array(2, 3), np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"dtype": ">f8", "shape": [1], "data": b"\0" * 8}, "/dtype"),
        ({"dtype": "|O", "shape": [1], "data": b"\0" * 8}, "/dtype"),
        ({"dtype": "<f8", "shape": [2], "data": b"\0" * 8}, "got 8 bytes"),
        ({"dtype": "<f8", "shape": [1], "data": b"\0" * 9}, "got 9 bytes"),
        ({"dtype": "<f8", "shape": [-1], "data": b"\0" * 8}, "of shape (-1,)"),
        ({"dtype": "<f8", "shape": [1.0], "data": b"\0" * 8}, "whole number"),
        ({"dtype": "<f8", "shape": [1], "data": "AAAAAAAA"}, "bytes at /data"),
        ({"dtype": "<f8", "shape": [1, 1], "data": b"\0" * 8}, "shape (1, 1)"),
        ({"dtype": "<f8", "shape": [1], "data": np.float64(np.nan).tobytes()}, "finite"),
        ({"shape": [1], "data": b"\0" * 8}, "'dtype'"),
        ([[1.0], [2.0, 3.0]], "equal rows"),
        (["1.0"], "numbers"),
        ([None], "numbers"),
        ([True], "numbers"),
        ([float("inf")], "finite"),
        ([1.0, 2.0], "got shape (2,)"),
        (3.0, "an array"),
    ],
)
def test_array_of_another_kind_is_refused(value: object, said: str) -> None:
    with pytest.raises(InvalidReply) as caught:
        Node(value).array(1)
    assert said in caught.value.detail


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b'{"a": NaN}', "application/json"),
        (b'{"a": -Infinity}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"\x91" * 100_000, "application/vnd.msgpack"),
        (b"\xff\xfe", "application/problem+json"),
        (b"", "application/json"),
        (b"", "application/vnd.msgpack"),
        (b"\xc1", "application/vnd.msgpack"),
        (b"\xc0\xc0", "application/vnd.msgpack"),
        (b"\xa1\xff", "application/vnd.msgpack"),
        (b"{}", "text/html"),
    ],
)
def test_what_is_no_document_is_refused(content: bytes, media_type: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the parsers' messages are theirs
        decode_document(content, media_type)
