"""The service document and the cards say what the contract says, in both encodings."""

import pytest

from tests.support.asgi_caller import MSGPACK, AsgiCaller, read_msgpack
from tests.support.fake_backend import OLDER, STABLE
from tests.support.requests import WATER, document

GET_PATHS = [
    "/v1",
    "/v1/models",
    "/v1/models/springs",
    "/v1/models/springs/versions",
    "/v1/models/springs/versions/stable",
]


def test_the_service_document_declares_units_limits_and_encodings(caller: AsgiCaller) -> None:
    body = caller.get("/v1").json()
    assert body["default_model"] == "springs"
    assert body["models"] == ["springs"]
    assert body["units"] == {
        "length": ["angstrom", "nm", "bohr"],
        "energy": ["eV", "hartree", "kJ/mol", "kcal/mol"],
        "default": {"length": "angstrom", "energy": "eV"},
    }
    assert body["limits"] == {
        "body_bytes": 32 * 1024 * 1024,
        "structures_per_request": 64,
        "atoms_per_structure": 1000,
        "edges_per_request": 5_000_000,
        "edges_per_structure": 500_000,
        "json_depth": 32,
        "sessions": 64,
        "frame_bytes": 16_777_216,
    }
    assert body["encodings"] == ["application/json", MSGPACK, "application/vnd.posterion.frame"]
    assert body["sessions"]["subprotocol"] == "posterion.session.v1"
    assert "/v1/session" in body["sessions"]["routes"]
    assert body["api_versions"] == ["v1"]


def test_models_lists_cards(caller: AsgiCaller) -> None:
    body = caller.get("/v1/models").json()
    assert body["default_model"] == "springs"
    (card,) = body["models"]
    assert card == caller.get("/v1/models/springs").json()
    assert card["digest"] == STABLE
    assert card["elements"] == [1, 6, 8]
    assert card["units"] == {"length": "angstrom", "energy": "eV"}


def test_versions_are_listed_and_each_has_a_card(caller: AsgiCaller) -> None:
    body = caller.get("/v1/models/springs/versions").json()
    assert [entry["digest"] for entry in body["versions"]] == [STABLE, OLDER]
    assert body["versions"][0]["aliases"] == ["stable"]
    for entry in body["versions"]:
        for version in (entry["version"], entry["digest"]):
            card = caller.get(f"/v1/models/springs/versions/{version}").json()
            assert card["digest"] == entry["digest"]


@pytest.mark.parametrize("path", GET_PATHS)
def test_both_encodings_say_the_same(caller: AsgiCaller, path: str) -> None:
    packed = caller.get(path, accept=MSGPACK)
    assert packed.headers["content-type"] == MSGPACK
    assert read_msgpack(packed.content) == caller.get(path).json()


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("", "application/json"),
        ("application/vnd.msgpack, application/json;q=0.9", MSGPACK),
        ("application/vnd.msgpack;q=0.1, */*;q=0.2", "application/json"),
        ("application/json;q=0, */*", MSGPACK),
        ("text/html, APPLICATION/VND.MSGPACK", MSGPACK),
        ("application/json; q=x, application/vnd.msgpack;q=0.001", MSGPACK),
    ],
)
def test_the_accepted_encoding_answers(caller: AsgiCaller, accept: str, chosen: str) -> None:
    assert caller.get("/v1", accept=accept).headers["content-type"] == chosen


@pytest.mark.parametrize("path", ["/v1/models/springs", "/v1/models/springs/versions/stable"])
def test_a_card_names_its_version_as_a_prediction_does(caller: AsgiCaller, path: str) -> None:
    of_card, of_prediction = caller.get(path), caller.predict(document(WATER))
    for name in ("ETag", "Posterion-Model"):
        assert of_card.headers[name] == of_prediction.headers[name]
    assert of_card.headers["ETag"] == f'"{STABLE}"'


@pytest.mark.parametrize("path", [*GET_PATHS, "/livez", "/readyz", "/metrics", "/openapi.json"])
def test_head_is_answered_by_the_headers_of_get(caller: AsgiCaller, path: str) -> None:
    whole, head = caller.get(path), caller.run(caller.client.head(path))
    assert (head.status_code, head.content) == (200, b"")
    apart = {"x-request-id", "content-length"}  # of metrics, which count this request
    assert {k: v for k, v in head.headers.items() if k not in apart} == {
        k: v for k, v in whole.headers.items() if k not in apart
    }
