"""A body that is not what it says it is, is refused with the code that says so."""

import re

import orjson
import pytest

from posterion.api.app import create_app
from posterion.api.settings import ApiSettings
from tests.support.asgi_caller import JSON, MSGPACK, AsgiCaller
from tests.support.fake_backend import SpringBackend
from tests.support.problems import check_problem
from tests.support.requests import WATER, document

WATER_BODY = orjson.dumps(document(WATER))


RAW = {"dtype": "<f8", "shape": [1, 3], "data": bytes(24)}
EMPTY = {"dtype": "<f8", "data": b""}


BAD_RAW_ARRAYS: dict[str, tuple[object, str, str | None]] = {
    "object type": ({**RAW, "dtype": "|O"}, "invalid-request", "/dtype"),
    "complex type": ({**RAW, "dtype": "<c16"}, "invalid-request", "/dtype"),
    "type is a number": ({**RAW, "dtype": 8}, "invalid-request", "/dtype"),
    "shape is a number": ({**RAW, "shape": 3}, "invalid-request", "/shape"),
    "shape holds a boolean": ({**RAW, "shape": [True, 3]}, "invalid-request", "/shape"),
    "negative shape": ({**RAW, "shape": [-1, -3]}, "invalid-request", "/shape"),
    "three axes": ({**RAW, "shape": [1, 1, 3]}, "invalid-request", "/shape"),
    "data is a list": ({**RAW, "data": [0]}, "invalid-request", "/data"),
    "another field": ({**RAW, "order": "F"}, "invalid-request", ""),
    "one axis": ({**RAW, "shape": [3]}, "invalid-structure", ""),
    "two columns": ({**RAW, "shape": [1, 2], "data": bytes(16)}, "invalid-structure", ""),
    "short data": ({**RAW, "data": bytes(23)}, "invalid-structure", ""),
    "huge shape": ({**RAW, "shape": [2**62, 3]}, "structure-too-large", None),
    "huge columns": ({**RAW, "shape": [0, 2**62]}, "invalid-structure", ""),
    "no rows of 2^62": ({**EMPTY, "shape": [0, 2**62]}, "invalid-structure", ""),
    "no rows of 2^63": ({**EMPTY, "shape": [0, 2**63]}, "invalid-structure", ""),
    "no rows of 2^64 - 1": ({**EMPTY, "shape": [0, 2**64 - 1]}, "invalid-structure", ""),
    "no columns": ({**EMPTY, "shape": [1, 0]}, "invalid-structure", ""),
    "2^63 empty rows": ({**EMPTY, "shape": [2**63, 0]}, "structure-too-large", None),
    "no axes": ({**RAW, "shape": [], "data": bytes(8)}, "invalid-structure", ""),
    "no rows of True": ({**EMPTY, "shape": [0, True]}, "invalid-request", "/shape"),
    "no rows of 3.0": ({**EMPTY, "shape": [0, 3.0]}, "invalid-request", "/shape"),
    "no rows of -3": ({**EMPTY, "shape": [0, -3]}, "invalid-request", "/shape"),
}


@pytest.mark.parametrize("name", BAD_RAW_ARRAYS)
def test_a_raw_array_is_what_it_declares(caller: AsgiCaller, name: str) -> None:
    array, code, place = BAD_RAW_ARRAYS[name]
    asked = document({"numbers": [1], "positions": array})
    problem = caller.predict_msgpack(asked, prefer="handling=strict", accept=JSON).json()
    assert problem["code"] == code
    pointers = [fault["pointer"] for fault in problem["errors"]]
    assert pointers == ([] if place is None else [f"/structures/0/positions{place}"])


@pytest.mark.parametrize("shape", [[], [0, 3], [0, 2**62], [0, 2**63], [0, 2**64 - 1]])
def test_raw_numbers_have_one_axis(caller: AsgiCaller, shape: list[int]) -> None:
    data = b"" if shape else bytes(8)
    numbers = {"dtype": "<i8", "shape": shape, "data": data}
    check_only_its_structure_fails(caller, {**WATER, "numbers": numbers}, "/numbers")


@pytest.mark.parametrize("shape", [[2**63, 0], [0, 2**63], [2**62, 3], [9]])
def test_a_raw_cell_has_rows_of_three(caller: AsgiCaller, shape: list[int]) -> None:
    data = bytes(72) if shape == [9] else b""
    cell = {"dtype": "<f8", "shape": shape, "data": data}
    check_only_its_structure_fails(caller, {**WATER, "cell": cell}, "/cell")


def test_raw_arrays_without_rows_are_a_structure_without_atoms(caller: AsgiCaller) -> None:
    numbers = {"dtype": "<i8", "shape": [0], "data": b""}
    empty = {"numbers": numbers, "positions": {**EMPTY, "shape": [0, 3]}}
    check_only_its_structure_fails(caller, empty, "/numbers", "at least one atom")


def check_only_its_structure_fails(
    caller: AsgiCaller, structure: object, place: str, detail: str = "raw array|bytes"
) -> None:
    """The second structure is invalid at ``place``, and the first is evaluated."""
    reply = caller.predict_msgpack(document(WATER, structure), accept=JSON)
    assert reply.status_code == 200, reply.text
    first, second = reply.json()["results"]
    assert first["status"] == "ok"
    assert second["error"]["code"] == "invalid-structure"
    (fault,) = second["error"]["errors"]
    assert fault["pointer"] == f"/structures/1{place}"
    assert re.search(detail, fault["detail"])


MALFORMED_JSON = {
    "empty": b"",
    "cut": WATER_BODY[:-3],
    "NaN": b'{"structures": [{"numbers": [1], "positions": [[NaN, 0, 0]]}]}',
    "Infinity": b'{"structures": [{"numbers": [1], "positions": [[Infinity, 0, 0]]}]}',
    "-Infinity": b'{"structures": [{"numbers": [1], "positions": [[-Infinity, 0, 0]]}]}',
    "1e999": b'{"structures": [{"numbers": [1], "positions": [[1e999, 0, 0]]}]}',
    "long integer": b'{"structures": [{"numbers": [' + b"9" * 5000 + b'], "positions": []}]}',
    "lone surrogate": b'{"structures": [{"id": "\\ud800"}]}',
    "UTF-16": '{"structures": []}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + WATER_BODY,
    "not UTF-8": b'{"structures": [{"id": "\xff"}]}',
    "deep": b"[" * 100_000,
    "deep, balanced": b"[" * 33 + b"]" * 33,
    "deep objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "two documents": WATER_BODY * 2,
    "trailing comma": b'{"structures": [],}',
}


@pytest.mark.parametrize("name", MALFORMED_JSON)
def test_what_is_not_json_is_malformed(caller: AsgiCaller, name: str) -> None:
    check_problem(caller.post(MALFORMED_JSON[name]), 400, "malformed-body")


def test_a_document_of_the_permitted_depth_is_read(caller: AsgiCaller) -> None:
    deepest = b"[" * 32 + b"]" * 32
    check_problem(caller.post(deepest), 422, "invalid-request")
    packed = caller.post(b"\x91" * 32 + b"\xc0", content_type=MSGPACK)
    check_problem(packed, 422, "invalid-request")
    brackets_in_text = orjson.dumps(document({**WATER, "id": '[{"\\' * 40}))
    assert caller.post(brackets_in_text).status_code == 200


MALFORMED_MSGPACK = {
    "empty": b"",
    "cut": b"\x81\xaastructures\x91\x82",
    "huge array": b"\xdd\xff\xff\xff\xff",
    "huge map": b"\xdf\xff\xff\xff\xff",
    "huge text": b"\xdb\xff\xff\xff\xffabc",
    "huge bytes": b"\xc6\xff\xff\xff\xffabc",
    "nested huge arrays": b"\xdd\x00\x00\x00\x20" * 30 + bytes(64),
    "extension": b"\x81\xaastructures\xd4\x01a",
    "timestamp": b"\x81\xaastructures\xd6\xff\x00\x00\x00\x00",
    "long extension": b"\xc7\x05\x01abcde",
    "reserved byte": b"\xc1",
    "number as key": b"\x81\x01\x02",
    "bytes as key": b"\x81\xc4\x01a\x02",
    "map as key": b"\x81\x80\x02",
    "key twice": b"\x82\xaastructures\x90\xaastructures\x90",
    "not UTF-8": b"\x81\xaastructures\xa1\xff",
    "lone surrogate": b"\xa3\xed\xa0\x80",
    "deep": b"\x91" * 33 + b"\xc0",
    "very deep": b"\x91" * 100_000 + b"\xc0",
    "two documents": b"\x80\x80",
}


@pytest.mark.parametrize("name", MALFORMED_MSGPACK)
def test_what_is_not_plain_msgpack_is_malformed(caller: AsgiCaller, name: str) -> None:
    reply = caller.post(MALFORMED_MSGPACK[name], content_type=MSGPACK)
    check_problem(reply, 400, "malformed-body")


def test_more_structures_than_the_limit_are_too_large(caller: AsgiCaller) -> None:
    assert caller.predict(document(*[WATER] * 64)).status_code == 200
    check_problem(caller.predict(document(*[WATER] * 65)), 413, "too-large")


def test_a_crowded_document_is_refused_before_it_is_built() -> None:
    app = create_app(ApiSettings(max_body_bytes=16 * 1024), SpringBackend())
    with AsgiCaller(app) as caller:
        check_problem(caller.post(b"[" + b"[]," * 4000 + b"[]]"), 413, "too-large")
        check_problem(caller.post(b'["' + b'","' * 4000 + b'"]'), 413, "too-large")
        for value in (b"\x90", b"\x80", b"\xa0", b"\xc0"):
            crowd = b"\xdc\x0f\xa0" + value * 4000
            check_problem(caller.post(crowd, content_type=MSGPACK), 413, "too-large")
