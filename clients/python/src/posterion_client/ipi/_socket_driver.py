"""Answers i-PI over its socket.

i-PI's own Python driver would do as well, if it did not fail: i-PI asks about the next step
before it has an answer to this one, so a driver that just ends resets the connection, the
polling thread of i-PI dies of it, and i-PI waits for ever. This one reads what was asked and
closes the connection in order, at which i-PI ends (``exit_on_disconnect``) or takes the next
driver.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posterion_client._errors import ConnectionFailed, InvalidReply
from posterion_client.ipi._evaluator import Result

FloatArray = NDArray[np.float64]
Evaluate = Callable[[Sequence[FloatArray], Sequence[FloatArray]], list[Result]]

_HEADER_BYTES: Final = 12
_DRAIN_S: Final = 1.0
SOCKETS_PREFIX: Final = "/tmp/ipi_"  # noqa: S108 - where i-PI puts them


def connected(
    *, unix: bool, address: str, port: int, prefix: str = SOCKETS_PREFIX
) -> socket.socket:
    """Connect to i-PI.

    Args:
        unix: Whether the address names a UNIX domain socket.
        address: Its name, or a host.
        port: TCP port.
        prefix: Of the paths of UNIX sockets (``sockets_prefix`` of the input).

    Raises:
        ConnectionFailed: If i-PI does not listen there.
    """
    place = f"{prefix}{address}" if unix else f"{address}:{port}"
    try:
        if unix:
            found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            found.connect(place)
        else:
            found = socket.create_connection((address, port))
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise ConnectionFailed(f"i-PI does not listen at {place}: {error}") from error
    return found


class SocketDriver:
    """One connection to i-PI.

    Args:
        connection: To i-PI.
        evaluate: Answers about beads.
    """

    def __init__(self, connection: socket.socket, evaluate: Evaluate) -> None:
        self._connection = connection
        self._evaluate = evaluate
        self._batch_size = 1
        self._initialised = False
        self._results: list[Result] = []

    def serve(self) -> None:
        """Answer until i-PI says that it ends, or hangs up.

        Raises:
            PosterionError: If a step cannot be answered; the connection is then closed.
        """
        handlers = {
            "STATUS": self._status,
            "INIT": self._initialise,
            "POSDATA": self._compute,
            "GETFORCE": self._answer,
        }
        try:
            while True:
                asked = self._message()
                if asked in ("", "EXIT"):
                    return
                if asked not in handlers:
                    raise InvalidReply(f"i-PI said {asked!r}, which no driver understands")
                handlers[asked]()
        finally:
            self._close()

    def _message(self) -> str:
        """The next one; empty if i-PI hung up."""
        try:
            return self._read(_HEADER_BYTES).decode(errors="replace").strip()
        except ConnectionError:
            return ""

    def _status(self) -> None:
        said = "HAVEDATA" if self._results else "READY" if self._initialised else "NEEDINIT"
        self._connection.sendall(said.ljust(_HEADER_BYTES).encode())

    def _initialise(self) -> None:
        _, length = np.frombuffer(self._read(8), np.int32).tolist()
        for setting in self._read(length).decode(errors="replace").split(","):
            name, _, value = setting.partition(":")
            if name.strip() == "batch_size":
                self._batch_size = int(value)
        self._initialised = True

    def _compute(self) -> None:
        n_beads = self._batch_size
        if n_beads > 1:
            n_atoms = self._integer()
            boxes = self._floats(n_beads * 18).reshape(n_beads, 2, 3, 3)
        else:
            boxes = self._floats(18).reshape(1, 2, 3, 3)
            n_atoms = self._integer()
        positions = self._floats(3 * n_atoms * n_beads).reshape(n_beads, n_atoms, 3)
        # Of the two matrices of a box the second is the inverse.
        self._results = self._evaluate(list(boxes[:, 0]), list(positions))

    def _answer(self) -> None:
        energies, forces, virials, extras = zip(*self._results, strict=True)
        texts = [text.encode() for text in extras]
        message = [
            "FORCEREADY".ljust(_HEADER_BYTES).encode(),
            np.array(energies, np.float64).tobytes(),
            np.int32(len(forces[0])).tobytes(),
            np.array(forces, np.float64).tobytes(),
            np.array(virials, np.float64).tobytes(),
            *(np.int32(len(text)).tobytes() + text for text in texts),
        ]
        self._connection.sendall(b"".join(message))
        self._results = []

    def _integer(self) -> int:
        return int(np.frombuffer(self._read(4), np.int32)[0])

    def _floats(self, count: int) -> FloatArray:
        return np.frombuffer(self._read(8 * count), np.float64)

    def _read(self, length: int) -> bytes:
        parts: list[bytes] = []
        while length:
            part = self._connection.recv(length)
            if not part:
                raise ConnectionError("i-PI hung up")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def _close(self) -> None:
        """Hang up with nothing unread, so that the other side sees an end and no reset."""
        connection = self._connection
        try:
            connection.settimeout(_DRAIN_S)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
        except OSError:
            pass
        finally:
            connection.close()
