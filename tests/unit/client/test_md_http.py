"""HTTP as the clients of MD codes speak it: what comes back, in whatever form it is allowed to."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from posterion_client.md._http import Answers, parsed_head, request_head, send_request


@contextlib.contextmanager
def answering(*pieces: bytes) -> Iterator[Answers]:
    """Answers over a connection whose other end has said this and hung up."""
    here, there = socket.socketpair()
    with here:
        with there:
            for piece in pieces:
                there.sendall(piece)
        yield Answers(here)


@pytest.mark.parametrize(
    ("said", "content", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", True),
        (b"HTTP/1.1 200 \r\ncontent-length:3\r\nconnection: close\r\n\r\nabc", b"abc", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", b"a", True),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", b"a", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc", b"a", False),
        (
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3;named=x\r\nabc\r\n01\r\nd\r\n0\r\nTrailer: y\r\n\r\n"
            ),
            b"abcd",
            True,
        ),
    ],
)
def test_an_answer_is_read_to_its_end(said: bytes, content: bytes, kept: bool) -> None:
    for pieces in ([said], [said[i : i + 1] for i in range(len(said))]):
        with answering(*pieces) as answers:
            exchanged = answers.whole()
        assert (exchanged.content, exchanged.head.kept) == (content, kept)
        assert 200 <= exchanged.head.status < 300


def test_answers_follow_each_other_over_one_connection() -> None:
    one = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
    here, there = socket.socketpair()
    with here, there:
        answers = Answers(here)
        for body in (b"x" * 100_000, b"y"):
            send_request(here, b"head ", body)
            asked = b""
            while len(asked) < len(body) + 5:
                asked += there.recv(1 << 20)
            assert asked == b"head " + body
            there.sendall(one % (len(body), body))
            assert answers.whole().content == body


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nabc",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 \xb200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
    ],
)
def test_what_is_cut_or_no_answer_counts_as_a_cut_connection(said: bytes) -> None:
    with answering(said) as answers, pytest.raises(ConnectionError):
        answers.whole()


def test_of_repeated_fields_the_last_counts_and_names_are_in_lower_case() -> None:
    head = parsed_head(b"HTTP/1.1 200 OK\r\nETag:  a \r\nETAG: b\r\nWithout-Value:")
    assert head.headers == {"etag": "b", "without-value": ""}


@pytest.mark.parametrize("wrong", ["a\r\nb: c", "a\nb", "a\rb"])
def test_a_field_never_ends_its_line(wrong: str) -> None:
    with pytest.raises(ValueError, match="end of a line"):
        request_head("POST", "/", {"Authorization": wrong})
