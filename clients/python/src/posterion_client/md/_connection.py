"""A TCP connection to the service, for what must cost as little as possible.

The standard library alone: the interpreters inside MD codes have little else. Configured web
proxies are not used.
"""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from posterion_client._answer import Answer
from posterion_client._errors import ConnectionFailed, PosterionError, TimedOut
from posterion_client._refusals import error_of_answer
from posterion_client._user_agent import USER_AGENT
from posterion_client.md._http import Answers, Exchanged, request_head, send_request

_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a service is, and how long it may take.

    Attributes:
        url: Address of the service, without a trailing slash.
        headers: Sent with every request, e.g. ``Authorization``.
        connect_timeout_s: Longest time to connect, seconds.
        timeout_s: Longest silence while an answer is awaited, seconds.
    """

    url: str
    headers: Mapping[str, str]
    connect_timeout_s: float = 5.0
    timeout_s: float = 60.0

    @property
    def host(self) -> str:
        """Name or address of its machine."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Its TCP port."""
        parsed = urlsplit(self.url)
        return parsed.port or _PORTS[parsed.scheme]

    @property
    def authority(self) -> str:
        """What the Host header says."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return urlsplit(self.url).scheme == "https"

    def path(self, route: str) -> str:
        """A route of the API below the path of the address."""
        return urlsplit(self.url).path + route

    def connected(self) -> socket.socket:
        """Connect, without Nagle's algorithm.

        Raises:
            OSError: If there is no connection.
        """
        found = socket.create_connection((self.host, self.port), self.connect_timeout_s)
        try:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self.encrypted:
                context = ssl.create_default_context()
                found = context.wrap_socket(found, server_hostname=self.host)
            found.settimeout(self.timeout_s)
        except OSError:
            found.close()
            raise
        return found

    def failure(self, error: Exception) -> PosterionError:
        """What a failure of the connection is called."""
        if isinstance(error, TimeoutError):
            kind: type[PosterionError] = TimedOut
            said = f"no answer of {self.url} within its time limit"
        else:
            kind, said = ConnectionFailed, f"no connection to {self.url}: {str(error) or 'cut'}"
        found = kind(said)
        found.retryable = not isinstance(error, ssl.SSLCertVerificationError)
        found.__cause__ = error
        return found


class HttpConnection:
    """One kept HTTP connection; a cut one is opened again by the next request."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Keep the address; nothing is connected yet.

        Args:
            endpoint: Where the service is.
        """
        self._endpoint = endpoint
        self._open: socket.socket | None = None
        self._answers: Answers | None = None
        # The steps of a run begin their requests alike.
        self._begun: tuple[tuple[object, ...], str, bytes] | None = None

    def post(self, route: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a request and read its answer.

        Args:
            route: Of the API.
            body: What is sent.
            headers: Further headers.

        Raises:
            PosterionError: If no answer came, or it is an error.
        """
        key = (route, len(body), *headers.items())
        if self._begun is None or self._begun[0] != key:
            self._begun = key, *self._beginning(route, len(body), headers)
        _, url, head = self._begun
        kept = self._open is not None
        try:
            exchanged = self._exchange(head, body)
        except TimeoutError as error:
            raise self._endpoint.failure(error) from error
        except OSError as error:
            # A kept connection may have been closed while the caller computed.
            if not kept:
                raise self._endpoint.failure(error) from error
            exchanged = self._exchange_again(head, body)
        answer = Answer(
            url=url,
            status=exchanged.head.status,
            headers=exchanged.head.headers,
            content=exchanged.content,
        )
        refused = error_of_answer(answer)
        if refused is not None:
            raise refused
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._open is not None:
            self._open.close()
            self._open = self._answers = None

    def _beginning(self, route: str, length: int, headers: Mapping[str, str]) -> tuple[str, bytes]:
        """What is asked, and the beginning of the request."""
        path = self._endpoint.path(route)
        fields = {
            "Host": self._endpoint.authority,
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            **self._endpoint.headers,
            **headers,
            "Content-Length": str(length),
        }
        return f"{self._endpoint.url}{path}", request_head("POST", path, fields)

    def _exchange_again(self, head: bytes, body: bytes) -> Exchanged:
        try:
            return self._exchange(head, body)
        except OSError as error:
            raise self._endpoint.failure(error) from error

    def _exchange(self, head: bytes, body: bytes) -> Exchanged:
        if self._open is None or self._answers is None:
            self._open = self._endpoint.connected()
            self._answers = Answers(self._open)
        try:
            send_request(self._open, head, body)
            exchanged = self._answers.whole()
        except BaseException:
            self.close()
            raise
        if not exchanged.head.kept:
            self.close()
        return exchanged
