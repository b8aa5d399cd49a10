"""How a call is sent, and sent again; blocking, and for event loops."""

from dataclasses import dataclass

import httpx

from posterion_client._answer import Answer
from posterion_client._errors import PosterionError
from posterion_client._exchange import Call, error_of_failure
from posterion_client._refusals import error_of_answer
from posterion_client._retry import AsyncPacer, Attempts, Pacer, RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Sends calls, blocking.

    Attributes:
        http: Keeps the connections.
        retry: When failed requests are repeated.
        pacer: Clock, sleep and chance of the retries.
    """

    http: httpx.Client
    retry: RetryPolicy
    pacer: Pacer

    def exchange(self, call: Call) -> Answer:
        """Send a call until it succeeds or is given up.

        Raises:
            PosterionError: What the last attempt came to.
        """
        attempts = Attempts(self.retry, started_s=self.pacer.now(), deadline_s=call.deadline_s)
        while True:
            error: PosterionError | None
            try:
                answer = answer_of(self.attempt(call))
            except httpx.HTTPError as failure:
                error = error_of_failure(failure, call)
                error.__cause__ = failure
            else:
                error = error_of_answer(answer)
                if error is None:
                    return answer
            self.pacer.sleep(
                attempts.delay_s(error, now_s=self.pacer.now(), chance=self.pacer.random())
            )

    def attempt(self, call: Call) -> httpx.Response:
        """Send a call once, whatever comes of it."""
        return self.http.request(
            call.method,
            call.url,
            headers=dict(call.headers),
            content=call.content,
            timeout=call.timeout,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncSender:
    """Sends calls on an event loop.

    Attributes:
        http: Keeps the connections.
        retry: When failed requests are repeated.
        pacer: Clock, sleep and chance of the retries.
    """

    http: httpx.AsyncClient
    retry: RetryPolicy
    pacer: AsyncPacer

    async def exchange(self, call: Call) -> Answer:
        """Send a call until it succeeds or is given up.

        Raises:
            PosterionError: What the last attempt came to.
        """
        attempts = Attempts(self.retry, started_s=self.pacer.now(), deadline_s=call.deadline_s)
        while True:
            error: PosterionError | None
            try:
                answer = answer_of(await self.attempt(call))
            except httpx.HTTPError as failure:
                error = error_of_failure(failure, call)
                error.__cause__ = failure
            else:
                error = error_of_answer(answer)
                if error is None:
                    return answer
            await self.pacer.sleep(
                attempts.delay_s(error, now_s=self.pacer.now(), chance=self.pacer.random())
            )

    async def attempt(self, call: Call) -> httpx.Response:
        """Send a call once, whatever comes of it."""
        return await self.http.request(
            call.method,
            call.url,
            headers=dict(call.headers),
            content=call.content,
            timeout=call.timeout,
        )


def answer_of(response: httpx.Response) -> Answer:
    """What a response of httpx says."""
    return Answer(
        url=str(response.request.url),
        status=response.status_code,
        headers=response.headers,
        content=response.content,
    )
