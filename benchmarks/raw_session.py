"""Frames of the binary layout, and the least WebSocket client that a session needs.

Written from docs/api.md, for one structure at a time.
"""

import base64
import json
import os
import struct
import time
from typing import Final

import numpy as np

from benchmarks.raw_client import connected
from posterion_client import Structure

FRAME_MEDIA_TYPE: Final = "application/vnd.posterion.frame"
_SUBPROTOCOL: Final = "posterion.session.v1"
_ENERGY_FORCES_UNCERTAINTY: Final = 1 | 2 | 8
_LONGEST_REST_S: Final = 15.0
"""The service closes a session that does not answer its pings; a session at rest reads none."""
_FINAL_TEXT: Final = 0x81
_FINAL_BINARY: Final = 0x82
_FINAL_PING: Final = 0x89
_FINAL_PONG: Final = 0x8A


def request_frame(structure: Structure) -> bytes:
    """A predict request about one structure, in Angstrom and eV.

    Args:
        structure: Fully periodic, or not at all.
    """
    cell = np.zeros((3, 3)) if structure.cell is None else structure.cell
    bits = sum(1 << axis for axis in range(3) if structure.pbc[axis])
    bits += 0 if structure.cell is None else 8
    header = struct.pack(
        "<4sHHQIIIIdiIIIQ",
        *(b"PSTN", 1, 1, 0, 1, structure.n_atoms, _ENERGY_FORCES_UNCERTAINTY, 0),
        *(0.0, 0, 32, 0, 0, 0),
    )
    record = struct.pack("<IIii", structure.n_atoms, bits, 0, 1)
    numbers = structure.numbers.astype("<i4").tobytes()
    arrays = cell.tobytes() + structure.positions.tobytes() + numbers
    return header + record + arrays + bytes(-len(numbers) % 8)


class RawSession:
    """One session over a WebSocket; see `connected`."""

    def __init__(self, port: int, structure: Structure) -> None:
        """Connect and open the session.

        Args:
            port: Of the service.
            structure: Whose atoms move.
        """
        self._port = port
        self._structure = structure
        self._open()

    def _open(self) -> None:
        structure = self._structure
        self._socket = connected(self._port)
        self._stream = self._socket.makefile("rb")
        self._step = 0
        self._used = time.monotonic()
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            "GET /v1/session HTTP/1.1",
            f"host: 127.0.0.1:{self._port}",
            "upgrade: websocket",
            "connection: upgrade",
            f"sec-websocket-key: {key}",
            "sec-websocket-version: 13",
            f"sec-websocket-protocol: {_SUBPROTOCOL}",
        )
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        status = self._stream.readline()
        if b" 101 " not in status:
            raise RuntimeError(f"expected a WebSocket, got {status!r}")
        while self._stream.readline() != b"\r\n":
            pass
        document = {
            "numbers": structure.numbers.tolist(),
            "positions": structure.positions.tolist(),
            "cell": None if structure.cell is None else structure.cell.tolist(),
            "pbc": list(structure.pbc),
        }
        self._send(_FINAL_TEXT, json.dumps({"structure": document}).encode())
        opened = json.loads(self._receive())
        if "model" not in opened:
            raise RuntimeError(f"expected an open session, got {opened}")

    def step(self) -> bytes:
        """Ask about the next step, and wait for its frame."""
        if time.monotonic() - self._used > _LONGEST_REST_S:
            self.close()
            self._open()
        self._step += 1
        n_atoms = self._structure.n_atoms
        header = struct.pack(
            "<4sHHQIIIIdQQQ", b"PSTN", 1, 3, self._step, 1, n_atoms, 0, 0, 0.0, 0, 0, 0
        )
        self._send(_FINAL_BINARY, header + self._structure.positions.tobytes())
        reply = self._receive()
        self._used = time.monotonic()
        if reply[:4] != b"PSTN":
            raise RuntimeError(f"expected a frame, got {reply[:500]!r}")
        return reply

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._socket.close()

    def _send(self, opcode: int, payload: bytes) -> None:
        """One frame; its mask of zeros leaves the payload as it is."""
        length = len(payload)
        if length < 126:
            size = struct.pack("!BB", opcode, 0x80 | length)
        elif length < 1 << 16:
            size = struct.pack("!BBH", opcode, 0x80 | 126, length)
        else:
            size = struct.pack("!BBQ", opcode, 0x80 | 127, length)
        self._socket.sendall(size + bytes(4) + payload)

    def _receive(self) -> bytes:
        """The next message; a ping on the way is answered."""
        while True:
            opcode, length = self._stream.read(2)
            if length == 126:
                (length,) = struct.unpack("!H", self._stream.read(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self._stream.read(8))
            payload = self._stream.read(length)
            if opcode in (_FINAL_TEXT, _FINAL_BINARY):
                return payload
            if opcode == _FINAL_PING:
                self._send(_FINAL_PONG, payload)
            if opcode == 0x88:
                raise ConnectionError(f"the service closed the session: {payload!r}")
