"""A thousand requests that no client should send, and a service that still answers."""

import gzip
from collections import Counter
from typing import Any

import msgpack
import numpy as np
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.asgi_caller import JSON, MSGPACK, AsgiCaller, raw
from tests.support.requests import SALT, WATER, document

EXPECTED_STATUSES = {200, 400, 404, 405, 406, 412, 413, 415, 422, 504}
N_REQUESTS = 1000
BOUNDLESS_SHAPES: list[list[object]] = [
    [0, 2**62], [0, 2**63], [0, 2**64 - 1], [2**63, 0], [2**62, 4], [2**64 - 1],
    [0, -1], [0, -(2**63)], [0, True], [False, 3], [0, 3.0], [0, float("inf")], [0, None],
]  # fmt: skip
"""Of arrays without data: most have no elements by multiplication, yet none can be built."""

many = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=200,
)

content_types = st.sampled_from([JSON, MSGPACK])
valid_json = orjson.dumps(document({**WATER, "id": "a"}, SALT, outputs=["energy", "stress"]))
valid_msgpack = msgpack.packb(
    document(
        {
            "numbers": np.array([8, 1, 1]),
            "positions": np.array(WATER["positions"]),
            "cell": np.eye(3),
        },
        WATER,
    ),
    default=raw,
)

numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
structures = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("id", "numbers", "symbols", "positions", "cell", "pbc", "charge", "x"), values
    ),
)
documents = st.fixed_dictionaries(
    {"structures": st.lists(structures | values, max_size=3)},
    optional=dict.fromkeys(
        ("outputs", "uncertainty", "units", "precision", "n_samples", "deadline_ms", "priority"),
        values,
    ),
)
raw_arrays = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["<f8", "<i4", "|O", "<U4", "<M8", "<c8", ""]) | values,
        "shape": st.lists(st.integers(-1, 2**63), max_size=3) | values,
        "data": st.binary(max_size=48) | values,
    }
)


class Tally:
    """Counts the statuses of some requests."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()

    def add(self, reply: Any) -> None:  # noqa: ANN401 - any reply will do
        self.statuses[reply.status_code] += 1
        assert reply.status_code in EXPECTED_STATUSES, reply.text
        if reply.status_code != 200:
            assert reply.headers["content-type"] == "application/problem+json"
            assert reply.json()["status"] == reply.status_code


def test_a_thousand_malformed_requests_give_no_500(caller: AsgiCaller) -> None:
    tally = Tally()

    @many
    @given(body=st.binary(max_size=300), content_type=content_types)
    def send_noise(body: bytes, content_type: str) -> None:
        tally.add(caller.post(body, content_type=content_type))

    @many
    @given(body=mutated(valid_json))
    def send_damaged_json(body: bytes) -> None:
        tally.add(caller.post(body))

    @many
    @given(body=mutated(valid_msgpack))
    def send_damaged_msgpack(body: bytes) -> None:
        tally.add(caller.post(body, content_type=MSGPACK))

    @many
    @given(body=documents.map(orjson.dumps))
    def send_wrong_types(body: bytes) -> None:
        tally.add(caller.post(body))

    @many
    @given(array=raw_arrays, field=st.sampled_from(["numbers", "positions", "cell", "pbc", "id"]))
    def send_wrong_arrays(array: object, field: str) -> None:
        body = msgpack.packb(document({**WATER, field: array}))
        tally.add(caller.post(body, content_type=MSGPACK))

    for send in (
        send_noise,
        send_damaged_json,
        send_damaged_msgpack,
        send_wrong_types,
        send_wrong_arrays,
    ):
        send()
    for body, content_type in hand_made():
        tally.add(caller.post(body, content_type=content_type))
    bomb = gzip.compress(bytes(10_000_000))
    tally.add(caller.post(bomb, content_encoding="gzip"))
    tally.add(caller.post(bomb))
    tally.add(caller.post(bomb, content_type=MSGPACK))
    tally.add(caller.post(valid_json, "/v1/models/%ff%00/predict"))
    tally.add(caller.post(valid_json, if_match='"' * 999, prefer="=,;=", accept=";,;q=q"))
    assert tally.statuses.total() >= N_REQUESTS
    assert tally.statuses[200] < tally.statuses.total() / 2
    reply = caller.predict(document(WATER))
    assert reply.status_code == 200
    assert reply.json()["results"][0]["status"] == "ok"


@st.composite
def mutated(draw: st.DrawFn, body: bytes) -> bytes:
    """A body with some bytes replaced, removed or repeated."""
    changed = bytearray(body)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(changed)))
        stop = min(len(changed), start + draw(st.integers(0, 8)))
        changed[start:stop] = draw(
            st.binary(max_size=6)
            | st.sampled_from([b"NaN", b"1e999", b"null", b"true", b'"', b"[", b"}", b"-", b"\xff"])
        )
    return bytes(changed)


def hand_made() -> list[tuple[bytes, str]]:
    """Bodies that broke some service once."""
    in_json = [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b'"' + b"\\" * 100_001,
        b'{"structures": [' + b"{}," * 50_000 + b"{}]}",
        b'{"structures": [{"numbers": [1e5], "positions": [[0,0,0]]}]}',
        b'{"structures": [{"numbers": [-0], "positions": [[-0.0,0,0]]}]}',
        b'{"structures": [{"numbers": [1], "positions": [[1e-400,0,0]]}]}',
        b'{"structures": [{"numbers": [1], "positions": [[' + b"9" * 300 + b",0,0]]}]}",
        b'{"structures": [{"numbers": [1], "positions": [[' + b"9" * 5000 + b",0,0]]}]}",
        b'{"structures": [{"numbers": [], "positions": []}], "structures": []}',
        orjson.dumps(
            document({"numbers": [1], "positions": [[1e308] * 3]}, units={"length": "nm"})
        ),
        b'{"structures": [{"id": "\\u0000", "numbers": [1], "positions": [[0,0,0]]}]}',
        b'{"structures": [{"numbers": [1], "positions": [[0,0,0]], "charge": 1e30}]}',
        orjson.dumps(document({**WATER, "charge": 2**64 - 1})),
        b'{"structures": [{"numbers": [1], "positions": [[0,0,0]]}], "deadline_ms": 1e300}',
        b'{"structures": [{"numbers": [1], "positions": [[0,0,0]]}], "deadline_ms": 1e-300}',
        b'{"structures": [{"numbers": [1], "positions": [[0,0,0]]}], "n_samples": 99999999999}',
        orjson.dumps(document(WATER, outputs=["energy"] * 100_000)),
        orjson.dumps(document(WATER, **{f"field{index}": 1 for index in range(10_000)})),
        orjson.dumps(document({**WATER, "numbers": [1] * 100_000})),
        orjson.dumps(document({**WATER, "pbc": [True] * 100_000})),
        orjson.dumps(document({**SALT, "cell": [[1e-160] * 3] * 3})),
        orjson.dumps(document({**SALT, "cell": [[1e7, 0, 0], [1e7, 0.5, 0], [0, 0, 0.5]]})),
        orjson.dumps(document({**SALT, "cell": [[0.0] * 3] * 3, "pbc": [False] * 3})),
    ]
    in_msgpack = [
        b"\xdd\x00\x0f\xff\xff" * 100,
        b"\x91" * 1_000_000,
        b"\x81" * 1_000_000,
        b"\xdc\xff\xff" + b"\x80" * 65535,
        b"\xc7\xff\xff" + bytes(300),
        msgpack.packb(document(WATER, deadline_ms=float("nan"))),
        msgpack.packb(document(WATER, deadline_ms=float("inf"))),
        msgpack.packb(document({**WATER, "charge": float("nan")})),
        msgpack.packb(document({**WATER, "numbers": b"\x01\x01\x01"})),
        msgpack.packb(document({**WATER, "positions": [[float("nan")] * 3] * 3})),
        msgpack.packb(document({**SALT, "cell": [[float("inf")] * 3] * 3})),
        msgpack.packb(
            document({**WATER, "numbers": np.array([2**64 - 1] * 3, np.uint64)}, WATER), default=raw
        ),
        msgpack.packb(document({**WATER, "positions": np.zeros((0, 3))}), default=raw),
        msgpack.packb(msgpack.Timestamp(0)),
        *(
            msgpack.packb(document({**WATER, field: {"dtype": dtype, "shape": shape, "data": b""}}))
            for field, dtype in (("numbers", "<i8"), ("positions", "<f8"), ("cell", "<f8"))
            for shape in BOUNDLESS_SHAPES
        ),
    ]
    return [(body, JSON) for body in in_json] + [(body, MSGPACK) for body in in_msgpack]
