"""A run waits out what may pass, and never goes on with another potential."""

import socket
import threading
from typing import Any

import numpy as np
import pytest

from posterion.errors import Overloaded
from posterion.errors import UnknownModel as UnknownModelOfService
from posterion_client import (
    ConnectionFailed,
    InvalidReply,
    ModelChanged,
    NonFiniteResult,
    UnknownModel,
    UnsupportedElement,
)
from posterion_client import Overloaded as ClientOverloaded
from posterion_client.md import MDSession, Transport
from tests.support.fake_backend import (
    MODEL,
    OLDER,
    STABLE,
    UNKNOWN_ELEMENT,
    SpringBackend,
)
from tests.support.native_jobs import answering
from tests.support.spring_service import SpringService, spring_service
from tests.unit.client.md_cases import NEVER, NUMBERS, POSITIONS, SOON, every_transport
from tests.unit.client.stand_in import Pace


@every_transport
def test_a_run_outlives_a_restart_and_a_promotion(transport: Transport) -> None:
    """The alias moves while the service is away: the run goes on with the version it began."""
    with spring_service() as first:
        port = first.port
        session = MDSession(
            NUMBERS, url=first.url, transport=transport, retry=SOON, version=OLDER, model=MODEL
        )
        before = session.evaluate(POSITIONS)
        assert session.digest == OLDER
    answers = []
    asking = threading.Thread(target=lambda: answers.append(session.evaluate(POSITIONS + 0.1)))
    asking.start()
    with spring_service(port=port):
        asking.join(30)
        (after,) = answers
        session.close()
    assert session.digest == OLDER
    assert after.energy != before.energy


class _Renewed(SpringBackend):
    """The same name with another sample set only."""

    def _digest(self, name: str, version: str | None) -> str:
        if version == STABLE:
            raise UnknownModelOfService(f"no version {version}")
        return OLDER


class _Moved(SpringBackend):
    """The alias has moved to another version; the old one is still there."""

    def _digest(self, name: str, version: str | None) -> str:
        return OLDER if version is None else super()._digest(name, version)


@every_transport
@pytest.mark.parametrize("renewed", [_Renewed, _Moved])
def test_a_run_never_goes_on_with_another_potential(
    transport: Transport, renewed: type[SpringBackend]
) -> None:
    with spring_service() as first:
        port = first.port
        session = MDSession(NUMBERS, url=first.url, transport=transport, retry=SOON)
        before = session.evaluate(POSITIONS)
    with spring_service(renewed(), port=port):
        if renewed is _Moved:
            assert session.evaluate(POSITIONS + 1.0).n_samples == before.n_samples
            assert session.digest == STABLE
        else:
            with pytest.raises(ModelChanged, match="cannot go on with another potential"):
                session.evaluate(POSITIONS + 1.0)
        session.close()


@every_transport
def test_errors_have_their_own_names(
    springs: SpringService, backend: SpringBackend, transport: Transport
) -> None:
    def lone(number: int = 1, **settings: Any) -> None:  # noqa: ANN401 - of the session
        with MDSession(
            [number], url=springs.url, transport=transport, retry=NEVER, **settings
        ) as session:
            session.evaluate([[0, 0, 0]])

    with pytest.raises(UnsupportedElement):
        lone(UNKNOWN_ELEMENT)
    with pytest.raises(UnknownModel):
        lone(model="nope")
    with pytest.raises(ModelChanged):
        lone(digest=OLDER)
    backend.poison = float("nan")
    with pytest.raises(NonFiniteResult):
        lone()
    backend.poison = None
    backend.failure = Overloaded("too many wait")
    with pytest.raises(ClientOverloaded):
        lone()


class _HealingPace(Pace):
    """Time heals: after a pause the service answers again."""

    def __init__(self, backend: SpringBackend) -> None:
        super().__init__()
        self._backend = backend

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._backend.failure = None


@every_transport
def test_what_may_pass_is_waited_out(
    springs: SpringService, backend: SpringBackend, transport: Transport
) -> None:
    backend.failure = Overloaded("too many wait")
    pace = _HealingPace(backend)
    with MDSession([1], url=springs.url, transport=transport, pacer=pace) as session:
        assert np.isfinite(session.evaluate([[0, 0, 1]]).energy)
    assert len(pace.slept) == 1


def test_a_wrong_address_is_said_when_patience_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    for transport in ("websocket", "http"):
        session = MDSession([1], url=f"http://127.0.0.1:{port}", transport=transport, retry=NEVER)
        with pytest.raises(ConnectionFailed, match=str(port)):
            session.evaluate([[0, 0, 0]])


def test_a_way_without_sessions_is_named_where_nothing_else_is_allowed() -> None:
    page = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    with (
        answering(page, upgrades=False) as url,
        MDSession(NUMBERS, url=url, transport="websocket") as session,
        pytest.raises(InvalidReply, match=r"answered 404 to a WebSocket's handshake"),
    ):
        session.evaluate(POSITIONS)
