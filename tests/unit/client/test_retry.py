"""Failed requests are repeated at the pace the service asks for, and not for ever."""

import asyncio
import ssl

import httpx
import pytest

from posterion_client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    InvalidArgument,
    InvalidReply,
    ModelChanged,
    Overloaded,
    PosterionError,
    PredictOptions,
    RetryPolicy,
    Structure,
    TimedOut,
)
from tests.unit.client.stand_in import AsyncPace, Pace, StandIn, problem

ATOM = Structure(symbols=["H"], positions=[[1.0, 0.0, 0.0]])
STEADY = RetryPolicy(budget_s=60.0, first_delay_s=0.5, max_delay_s=8.0, jitter=0.0)


def busy(retry_after: str | None = None) -> httpx.Response:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return problem(503, "overloaded", headers=headers)


def ask(service: StandIn, pace: Pace, retry: RetryPolicy = STEADY) -> float:
    with Client(transport=service.transport, pacer=pace, retry=retry) as client:
        return client.predict(ATOM).energy


@pytest.mark.parametrize(
    "failure",
    [
        problem(429, "quota"),
        httpx.Response(502, content="<html>"),
        problem(503, "not-ready"),
        problem(504, "deadline"),
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.WriteError("reset"),
        httpx.RemoteProtocolError("cut"),
    ],
    ids=lambda failure: type(failure).__name__ + str(getattr(failure, "status_code", "")),
)
def test_passing_failure_is_repeated_until_it_passes(failure: httpx.Response | Exception) -> None:
    service, pace = StandIn(script=[failure, failure]), Pace()
    assert ask(service, pace) == pytest.approx(0.15)
    assert pace.slept == [0.5, 1.0]


def test_every_attempt_sends_the_same_request() -> None:
    service = StandIn(script=[busy(), httpx.ReadError("reset")])
    ask(service, Pace())
    first, *others = service.seen
    assert len(others) == 2
    for other in others:
        assert other.content == first.content
        assert other.headers == first.headers, "one request id for one question"


@pytest.mark.parametrize(
    "answer",
    [
        problem(412, "version-moved"),
        problem(400, "malformed-body"),
        problem(422, "invalid-request"),
        problem(500, "internal"),
        httpx.Response(200, headers={"content-type": "text/html"}, content="<html>"),
    ],
    ids=lambda answer: str(answer.status_code),
)
def test_lasting_failure_is_not_repeated(answer: httpx.Response) -> None:
    service, pace = StandIn(script=[answer]), Pace()
    with pytest.raises(PosterionError) as caught:
        ask(service, pace)
    assert caught.value.attempts == 1
    assert len(service.seen) == 1
    assert pace.slept == []


def test_service_may_forbid_a_repetition() -> None:
    refusal = httpx.Response(429, json={"code": "quota", "title": "x", "retryable": False})
    with pytest.raises(PosterionError, match="quota"):
        ask(StandIn(script=[refusal]), pace := Pace())
    assert pace.slept == []


def test_service_cannot_demand_that_a_moved_version_is_repeated() -> None:
    moved = httpx.Response(412, json={"code": "version-moved", "title": "x", "retryable": True})
    with pytest.raises(ModelChanged):
        ask(StandIn(script=[moved]), pace := Pace())
    assert pace.slept == []


def test_retry_after_comes_before_the_own_delay() -> None:
    pace = Pace()
    ask(StandIn(script=[busy("7"), busy("0.25"), busy()]), pace)
    assert pace.slept == [7.0, 0.25, 2.0]


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_client_never_returns_before_retry_after(chance: float) -> None:
    pace = Pace(chance=chance)
    ask(StandIn(script=[busy("7")]), pace, RetryPolicy(jitter=0.5, first_delay_s=1.0))
    assert pace.slept == [7.0 + 0.5 * chance]


def test_delay_doubles_up_to_its_bound() -> None:
    pace = Pace()
    ask(StandIn(script=[busy() for _ in range(7)]), pace)
    assert pace.slept == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_chance_shortens_a_delay_by_at_most_the_jitter() -> None:
    pace = Pace(chance=1.0)
    ask(StandIn(script=[busy(), busy()]), pace, RetryPolicy(jitter=0.25))
    assert pace.slept == [0.375, 0.75]


def test_budget_bounds_the_attempts() -> None:
    service, pace = StandIn(script=[busy() for _ in range(100)]), Pace()
    with pytest.raises(Overloaded, match="gave up after 5 attempts") as caught:
        ask(service, pace, RetryPolicy(budget_s=10.0, jitter=0.0))
    assert pace.slept == [0.5, 1.0, 2.0, 4.0]
    assert caught.value.attempts == len(service.seen) == 5


def test_wait_longer_than_the_budget_is_not_begun() -> None:
    pace = Pace()
    with pytest.raises(Overloaded) as caught:
        ask(StandIn(script=[busy("61")]), pace)
    assert pace.slept == []
    assert caught.value.retry_after_s == 61.0


def test_no_budget_means_one_attempt_even_if_the_service_hurries() -> None:
    service = StandIn(script=[busy("0")])
    with pytest.raises(Overloaded):
        ask(service, Pace(), RetryPolicy(budget_s=0.0))
    assert len(service.seen) == 1


def test_deadline_of_the_caller_shortens_the_budget() -> None:
    service, pace = StandIn(script=[busy() for _ in range(9)]), Pace()
    with (
        Client(transport=service.transport, pacer=pace, retry=STEADY) as client,
        pytest.raises(Overloaded),
    ):
        client.predict(ATOM, options=PredictOptions(deadline_s=2.0))
    assert pace.slept == [0.5, 1.0]
    assert {document["deadline_ms"] for document in service.documents()} == {2000}


def test_each_question_has_a_budget_of_its_own() -> None:
    pace = Pace()
    service = StandIn()
    with Client(transport=service.transport, pacer=pace, retry=STEADY) as client:
        for _ in range(3):
            service.script = [busy("50")]
            client.predict(ATOM)
    assert pace.slept == [50.0, 50.0, 50.0]


def test_refused_certificate_is_not_repeated() -> None:
    failure = httpx.ConnectError("certificate verify failed")
    failure.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    with pytest.raises(ConnectionFailed, match="certificate"):
        ask(StandIn(script=[failure]), pace := Pace())
    assert pace.slept == []


def test_timeout_names_phase_and_limit() -> None:
    with pytest.raises(TimedOut, match=r"no read within 60\.0 s"):
        ask(StandIn(script=[httpx.ReadTimeout("")]), Pace(), RetryPolicy(budget_s=0))
    with pytest.raises(TimedOut, match=r"no connect within 5\.0 s"):
        ask(StandIn(script=[httpx.ConnectTimeout("")]), Pace(), RetryPolicy(budget_s=0))


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.DecodingError("bad gzip"), InvalidReply),
        (httpx.LocalProtocolError("illegal header"), InvalidArgument),
    ],
)
def test_failure_that_would_recur_is_not_repeated(
    failure: Exception, kind: type[PosterionError]
) -> None:
    with pytest.raises(kind):
        ask(StandIn(script=[failure]), pace := Pace())
    assert pace.slept == []


@pytest.mark.parametrize(
    "settings",
    [
        {"budget_s": -1.0},
        {"first_delay_s": 0.0},
        {"first_delay_s": 9.0},
        {"jitter": -0.1},
        {"jitter": 1.1},
    ],
)
def test_policy_without_pause_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(settings))):
        RetryPolicy(**settings)


def test_repetition_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    ask(StandIn(script=[busy("7")]), Pace())
    (record,) = caplog.records
    assert record.name == "posterion_client"
    assert "overloaded" in record.getMessage()
    assert "attempt 2 follows in 7.0 s" in record.getMessage()


def test_async_client_keeps_the_same_pace() -> None:
    def script() -> list[httpx.Response | Exception]:
        return [busy("7"), httpx.ConnectError("refused"), problem(429, "quota")]

    blocking, waiting = Pace(chance=0.5), AsyncPace(chance=0.5)
    ask(StandIn(script=script()), blocking, RetryPolicy())

    async def run() -> float:
        transport = StandIn(script=script()).transport
        async with AsyncClient(transport=transport, pacer=waiting) as client:
            return (await client.predict(ATOM)).energy

    assert asyncio.run(run()) == pytest.approx(0.15)
    assert waiting.slept == blocking.slept
    assert len(waiting.slept) == 3
