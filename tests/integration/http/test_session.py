"""Sessions and frames of a real service say what predict says, bit for bit."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgpack
import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.asgi_caller import MSGPACK, raw, read_msgpack
from tests.support.banks import NUMBERS, POSITIONS
from tests.support.frames import (
    FRAME,
    STRESS,
    SUBPROTOCOL,
    Reply,
    Structure,
    read_reply,
    request_frame,
    step_frame,
)
from tests.support.services import Service

ALL = 15
OUTPUTS = ["energy", "forces", "stress", "uncertainty"]
CELL = np.array([[9.0, 0.0, 0.0], [1.5, 8.0, 0.0], [-0.7, 1.1, 8.5]])
DRIFT = np.array([0.3, 0.0, 0.1])
PATIENCE_S = 30.0


def walk(n_steps: int, *, n_images: int = 1) -> Iterator[NDArray[np.float64]]:
    """Positions of images that drift out of the cell, ``(n_images, n_atoms, 3)``."""
    rng = np.random.default_rng(0)
    images = POSITIONS + rng.normal(scale=0.02, size=(n_images, *POSITIONS.shape))
    for _ in range(n_steps):
        images = images + DRIFT + rng.normal(scale=0.01, size=images.shape)
        yield images


@contextmanager
def session(service: Service, **opening: object) -> Iterator[ClientConnection]:
    """An open session about ethanol; its first reply is still to be read."""
    url = service.url.replace("http", "ws") + "/v1/session"
    structure: dict[str, Any] = {"numbers": NUMBERS.tolist(), "positions": POSITIONS.tolist()}
    with connect(
        url,
        subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
        compression=None,
        max_size=None,
        open_timeout=PATIENCE_S,
    ) as socket:
        socket.send(json.dumps({"structure": structure, **opening}))
        yield socket


def opened(socket: ClientConnection) -> Any:  # noqa: ANN401 - a document
    return json.loads(socket.recv(PATIENCE_S))


def stepped(socket: ClientConnection, frame: bytes) -> bytes:
    socket.send(frame)
    reply = socket.recv(PATIENCE_S)
    assert isinstance(reply, bytes), reply
    return reply


def predicted(service: Service, positions: NDArray[np.float64], **options: object) -> Any:  # noqa: ANN401
    """The result that POST predict gives, by MessagePack."""
    structure: dict[str, object] = {"numbers": NUMBERS.tolist(), "positions": raw(positions)}
    if "cell" in options:
        structure |= {"cell": raw(options.pop("cell")), "pbc": [True] * 3}
    body = msgpack.packb({"structures": [structure], "outputs": OUTPUTS, **options})
    with service.client() as client:
        headers = {"Content-Type": MSGPACK}
        reply = client.post("/v1/predict", content=body, headers=headers)
    assert reply.status_code == httpx.codes.OK, reply.text
    return read_msgpack(reply.content)["results"][0]


def assert_same(reply: Reply, index: int, result: Any) -> None:  # noqa: ANN401
    """One result of a frame is that of a document."""
    record, atoms = reply.records[index], slice(9 * index, 9 * (index + 1))
    spread = result["uncertainty"]
    assert record["energy"] == result["energy"]
    assert record["n_samples"] == result["n_samples"]
    assert record["status"] == (1 if result["flags"] else 0)
    assert record["energy_epistemic"] == spread["energy"]["epistemic"]
    assert record["energy_total"] == spread["energy"]["total"]
    assert record["force_max"] == spread["forces"]["max"]
    assert record["force_rms"] == spread["forces"]["rms"]
    assert reply.forces is not None
    assert reply.total is not None
    assert reply.epistemic is not None
    np.testing.assert_array_equal(reply.forces[atoms], result["forces"])
    for ours, name in ((reply.epistemic, "epistemic"), (reply.total, "total")):
        per_atom = np.sqrt(np.mean(spread["forces"][name] ** 2, axis=1))
        np.testing.assert_array_equal(ours[atoms], per_atom)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_step_is_the_prediction_of_its_positions(service: Service, precision: str) -> None:
    with session(service, precision=precision) as socket:
        n_rebuilds = 0
        assert opened(socket)["model"]["name"] == "ethanol"
        for step, positions in enumerate(walk(4)):
            reply = read_reply(stepped(socket, step_frame(step, positions)))
            assert reply.step == step
            result = predicted(service, positions[0], precision=precision)
            assert_same(reply, 0, result)
            n_rebuilds += reply.n_rebuilds
        # Moved by 0.32 a step, half a skin of 1 is passed at every second one.
        assert n_rebuilds == 2


def test_images_are_predictions_of_their_own_and_cells_may_change(service: Service) -> None:
    structure = {
        "numbers": NUMBERS.tolist(),
        "positions": POSITIONS.tolist(),
        "cell": CELL.tolist(),
        "pbc": [True] * 3,
    }
    asked = {"structure": structure, "n_images": 3, "outputs": OUTPUTS, "precision": "float64"}
    with session(service, **asked) as socket:
        opened(socket)
        cells = CELL * np.array([1.0, 1.01, 1.02])[:, None, None]
        for step, positions in enumerate(walk(2, n_images=3)):
            given = cells if step == 0 else None
            reply = read_reply(stepped(socket, step_frame(step, positions, given)))
            for image in range(3):
                expected = predicted(
                    service, positions[image], cell=cells[image], precision="float64"
                )
                np.testing.assert_allclose(
                    reply.records[image]["energy"], expected["energy"], atol=1e-9, rtol=0
                )
                assert reply.forces is not None
                assert reply.stress is not None
                np.testing.assert_allclose(
                    reply.forces[9 * image : 9 * image + 9], expected["forces"], atol=1e-9
                )
                np.testing.assert_allclose(reply.stress[image], expected["stress"], atol=1e-9)


def test_a_frame_is_answered_as_msgpack_is(service: Service) -> None:
    structures = [
        Structure(NUMBERS, POSITIONS),
        Structure(np.array([54]), np.zeros((1, 3))),
        Structure(NUMBERS, POSITIONS, CELL, 7),
    ]
    body = request_frame(structures, outputs=ALL, precision=64)
    document = {
        "structures": [
            {
                "numbers": raw(each.numbers.astype("<i4")),
                "positions": raw(each.positions),
                "cell": None if each.cell is None else raw(each.cell),
                "pbc": [each.cell is not None] * 3,
            }
            for each in structures
        ],
        "outputs": OUTPUTS,
        "precision": "float64",
    }
    with service.client() as client:
        framed = client.post("/v1/predict", content=body, headers={"Content-Type": FRAME})
        packed = client.post(
            "/v1/predict", content=msgpack.packb(document), headers={"Content-Type": MSGPACK}
        )
    assert framed.headers["content-type"] == FRAME
    reply = read_reply(framed.content)
    first, refused, periodic = read_msgpack(packed.content)["results"]
    assert reply.records["status"].tolist()[1] == 2
    problem = json.loads(reply.problems[: int(reply.records[1]["problem_bytes"])])
    assert (problem["code"], problem["errors"]) == (
        refused["error"]["code"],
        refused["error"]["errors"],
    )
    assert reply.records[0]["energy"] == first["energy"]
    assert reply.records[2]["energy"] == periodic["energy"]
    assert reply.forces is not None
    assert reply.stress is not None
    np.testing.assert_array_equal(reply.forces[:9], first["forces"])
    assert np.isnan(reply.forces[9]).all()
    np.testing.assert_array_equal(reply.forces[10:], periodic["forces"])
    np.testing.assert_array_equal(reply.stress[2], periodic["stress"])
    assert np.isnan(reply.stress[:2]).all()
    assert STRESS & ALL


def test_a_new_session_goes_on_where_another_ended(service: Service) -> None:
    frames = [step_frame(step, positions) for step, positions in enumerate(walk(3))]
    with session(service) as socket:
        digest = opened(socket)["model"]["digest"]
        replies = [stepped(socket, frame) for frame in frames]
        assert stepped(socket, frames[-1]) == replies[-1]
    with session(service, digest=digest) as again:
        opened(again)
        ours, theirs = read_reply(stepped(again, frames[-1])), read_reply(replies[-1])
        assert ours.records.tobytes() == theirs.records.tobytes()
        assert ours.forces is not None
        assert theirs.forces is not None
        np.testing.assert_array_equal(ours.forces, theirs.forces)
    with session(service, digest="sha256:" + "0" * 64) as moved:
        assert opened(moved)["code"] == "version-moved"
        with pytest.raises(ConnectionClosed) as closed:
            moved.recv(PATIENCE_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4412
