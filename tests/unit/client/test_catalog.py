"""What the service says about itself, and where the client looks for it."""

import httpx
import pytest

from posterion_client import Client, InvalidArgument, InvalidReply, ModelVersion, UnknownModel
from tests.unit.client.stand_in import CARD, DIGEST, StandIn, problem


def test_models_hold_their_cards() -> None:
    with Client(transport=StandIn().transport) as client:
        (card,) = client.models()
    assert (card.name, card.digest, card.version) == ("ethanol", DIGEST, DIGEST[7:23])
    assert (card.elements, card.cutoff, card.periodic) == ((1, 6, 8), 5.0, True)
    assert card.n_samples == 8
    assert card.document == CARD


def test_card_of_a_version_has_its_own_route() -> None:
    service = StandIn()
    with Client(transport=service.transport) as client:
        assert client.model("ethanol").digest == DIGEST
        assert client.model("ethanol", "stable").digest == DIGEST
    assert [request.url.path for request in service.seen] == [
        "/v1/models/ethanol",
        "/v1/models/ethanol/versions/stable",
    ]


def test_card_without_a_name_is_that_of_the_model_asked() -> None:
    service = StandIn()
    with Client(transport=service.transport) as client:
        assert client.model().name == "ethanol"
    with Client(transport=service.transport, model="ethanol", version="stable") as client:
        assert client.model().name == "ethanol"
    assert [request.url.path for request in service.seen] == [
        "/v1",
        "/v1/models/ethanol",
        "/v1/models/ethanol/versions/stable",
    ]


def test_versions_say_which_aliases_point_to_them() -> None:
    with Client(transport=StandIn().transport) as client:
        assert client.versions("ethanol") == (
            ModelVersion(
                version=DIGEST[7:23],
                digest=DIGEST,
                created_at="2026-01-02T03:04:05Z",
                aliases=("stable",),
            ),
        )


def test_service_declares_default_model_and_limits() -> None:
    with Client(transport=StandIn().transport) as client:
        info = client.service()
    assert info.default_model == "ethanol"
    assert info.limits["atoms_per_structure"] == 100_000


def test_unknown_model_is_an_error() -> None:
    with Client(transport=StandIn().transport) as client, pytest.raises(UnknownModel):
        client.model("methanol")


def test_card_without_its_digest_is_refused() -> None:
    bare = httpx.Response(200, json={"models": [{"name": "x", "version": "y"}]})
    with (
        Client(transport=StandIn(script=[bare]).transport) as client,
        pytest.raises(InvalidReply, match="'digest' at /models/0"),
    ):
        client.models()


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (httpx.Response(200, json={"ok": True}), True),
        (problem(503, "not-ready"), False),
        (problem(503, "draining", headers={"retry-after": "5"}), False),
        (httpx.ConnectError("refused"), False),
        (httpx.ReadTimeout("slow"), False),
    ],
)
def test_ready_asks_once_and_answers(answer: httpx.Response | Exception, ready: bool) -> None:
    service = StandIn(script=[answer])
    with Client(transport=service.transport) as client:
        assert client.ready() is ready
    assert [request.url.path for request in service.seen] == ["/readyz"]


class TestAddress:
    def test_argument_comes_before_environment_before_default(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("POSTERION_URL", "http://from-environment:1")
        assert Client("http://from-argument:2/").url == "http://from-argument:2"
        assert Client().url == "http://from-environment:1"
        monkeypatch.setenv("POSTERION_URL", "")
        assert Client().url == "http://127.0.0.1:8000"
        monkeypatch.delenv("POSTERION_URL")
        assert Client().url == "http://127.0.0.1:8000"

    @pytest.mark.parametrize(
        "url", ["127.0.0.1:8000", "ftp://host", "http://", "http://host/?a=1", "http://[::1"]
    )
    def test_what_is_no_address_is_refused(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(InvalidArgument, match="url"):
            Client(url)
        monkeypatch.setenv("POSTERION_URL", url)
        with pytest.raises(InvalidArgument, match="POSTERION_URL"):
            Client()
