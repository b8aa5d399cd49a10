"""A reply that is not one of the contract is refused by its place."""

import math
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from posterion_client import (
    Client,
    Encoding,
    InvalidReply,
    Prediction,
    Structure,
)
from tests.unit.client.examples import ETHANOL, FAR
from tests.unit.client.stand_in import (
    StandIn,
)


def ask(service: StandIn, structure: Structure = ETHANOL) -> Prediction:
    with Client(transport=service.transport) as client:
        return client.predict(structure)


def without(*path: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *parents, last = path
        place: Any = document
        for key in parents:
            place = place[key]
        del place[last]

    return change


def having(*path: object, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *parents, last = path
        place: Any = document
        for key in parents:
            place = place[key]
        place[last] = value

    return change


class TestReplyOfAnotherKind:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (without("model"), "'model'"),
            (without("results", 0), "asked for 1 results, the reply holds 0"),
            (without("results", 0, "forces"), "'forces' at /results/0"),
            (without("results", 0, "uncertainty", "energy", "total"), "'total'"),
            (having("results", 0, "id", value="7"), "/results/0/id"),
            (having("results", 0, "forces", value=np.zeros((8, 3))), "(9, 3), got shape (8, 3)"),
            (having("results", 0, "forces", value=np.full((9, 3), np.nan)), "finite"),
            (having("results", 0, "energy", value=None), "a number at /results/0/energy"),
            (having("results", 0, "energy", value=math.inf), "a finite number"),
            (having("results", 0, "energy", value="-1"), "got '-1'"),
            (having("results", 0, "status", value="flagged"), "'ok' with 0 flags"),
            (having("results", 0, "flags", value=[{}]), "'code' at /results/0/flags/0"),
            (having("results", 0, "flags", value=None), "a list at /results/0/flags"),
            (having("results", 0, "uncertainty", "kind", value="variance"), "'std'"),
            (having("results", 0, "uncertainty", "calibrated", value=1), "true or false"),
            (having("units", "length", value="bohr"), "the units angstrom and eV"),
            (having("model", "n_samples", value=2.5), "a whole number"),
            (having("model", value=[1]), "an object at /model"),
        ],
    )
    def test_wrong_field_is_named(
        self, change: Callable[[dict[str, Any]], None], said: str
    ) -> None:
        with pytest.raises(InvalidReply) as caught:
            ask(StandIn(change=change))
        assert said in caught.value.detail

    @pytest.mark.parametrize("media", ["text/html; charset=utf-8", "text/plain", ""])
    def test_page_that_is_no_reply_is_shown(self, media: str) -> None:
        page = httpx.Response(200, headers={"content-type": media}, content=b"<html>\n Welcome")
        with pytest.raises(InvalidReply, match="<html> Welcome"):
            ask(StandIn(script=[page]))

    @pytest.mark.parametrize("encoding", ["json", "msgpack"])
    def test_truncated_reply_is_recognised_wherever_it_ends(self, encoding: Encoding) -> None:
        whole = StandIn()
        with Client(transport=whole.transport, encoding=encoding) as client:
            client.predict(FAR)
            reply = whole(whole.seen[0])
            for length in range(0, len(reply.content), 7):
                headers = {"content-type": reply.headers["content-type"]}
                cut = httpx.Response(200, headers=headers, content=reply.content[:length])
                whole.script = [cut]
                with pytest.raises(InvalidReply, match=f"with {length} bytes"):
                    client.predict(FAR)
