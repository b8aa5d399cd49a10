"""The client's frames are the service's, byte for byte; what is no reply is refused."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posterion.api.frame_replies import Refused, ReplyHeader, encode_reply
from posterion.api.frame_requests import read_request, read_step
from posterion.api.schemas import Output
from posterion.api.settings import ApiSettings
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
from posterion.structures.units import UnitSystem
from posterion_client._errors import InvalidReply
from posterion_client.md._frames import (
    FLAGS,
    Outputs,
    Structures,
    flag_codes,
    read_reply,
    request_frame,
    step_frame,
)
from tests.support.fake_backend import spring_prediction

CELLS = np.array([[[9.0, 0.0, 0.0], [1.0, 8.0, 0.0], [0.5, -1.0, 7.0]], (np.eye(3) * 6.0).tolist()])
WATER = Structure(
    atomic_numbers=np.array([8, 1, 1]),
    positions=np.array([[0.0, 0.1, 0.2], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]),
    cell=CELLS[0],
    pbc=(True, True, True),
)
PAIR = Structure(
    atomic_numbers=np.array([8, 1]),
    positions=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]]),
    cell=CELLS[1],
    pbc=(True, True, True),
)
ALL: tuple[Output, ...] = ("energy", "forces", "stress", "uncertainty")


def both() -> Structures:
    return Structures(
        numbers=np.array([8, 1, 1, 8, 1]),
        positions=np.concatenate([WATER.positions, PAIR.positions]),
        sizes=np.array([3, 2]),
        cells=CELLS,
        pbc=(True, True, True),
        charge=-1,
        spin_multiplicity=3,
    )


@pytest.mark.parametrize(("precision", "n_samples"), [("float32", None), ("float64", 3)])
def test_the_service_reads_what_the_client_asks(precision: str, n_samples: int | None) -> None:
    frame = request_frame(
        both(), Outputs(stress=True, uncertainty=True), precision=precision, n_samples=n_samples
    )
    asked = read_request(frame, ApiSettings())
    said: dict[str, Any] = asked.said.document()
    assert said["outputs"] == list(ALL)
    assert (said["precision"], said["n_samples"]) == (precision, n_samples)
    assert said["units"] == {"length": "angstrom", "energy": "eV"}
    for found, structure, cell in zip(asked.structures, (WATER, PAIR), CELLS, strict=True):
        assert found.numbers.tolist() == structure.atomic_numbers.tolist()
        assert np.array_equal(found.positions, structure.positions)
        assert found.cell is not None
        assert np.array_equal(found.cell, cell)
        assert (found.charge, found.spin_multiplicity) == (-1, 3)
        assert found.pbc == (True, True, True)


def test_a_molecule_has_no_cell() -> None:
    lone = dataclasses.replace(both(), cells=None, pbc=(False, False, False))
    frame = request_frame(lone, Outputs(False, False), precision="float32", n_samples=None)
    asked = read_request(frame, ApiSettings())
    assert [found.cell for found in asked.structures] == [None, None]
    assert asked.said.document()["outputs"] == ["energy", "forces"]


@pytest.mark.parametrize("with_cells", [True, False])
def test_the_service_reads_the_steps_of_a_session(with_cells: bool) -> None:
    positions = np.random.default_rng(0).normal(size=(4, 3, 3))
    cells = np.random.default_rng(1).normal(size=(4, 3, 3)) if with_cells else None
    step = read_step(step_frame(77, positions, cells), 4, 3)
    assert (step.step, step.deadline_ms) == (77, None)
    assert np.array_equal(step.positions, positions)
    if cells is None:
        assert step.cells is None
    else:
        assert step.cells is not None
        assert np.array_equal(step.cells, cells)


def reply_frame(*, outputs: tuple[Output, ...] = ALL) -> bytes:
    options = EvaluationOptions(stress="stress" in outputs, uncertainty=True)
    results: list[Prediction | Refused] = [
        spring_prediction(WATER, options),
        Refused(problem={"code": "non-finite-result", "status": 500, "detail": "NaN"}, n_atoms=1),
        spring_prediction(PAIR, options),
    ]
    header = ReplyHeader(step=9, outputs=outputs, timing_ms=(1.0, 2.0, 3.0))
    return encode_reply(results, header, UnitSystem())


def test_the_client_reads_what_the_service_answers() -> None:
    reply = read_reply(reply_frame(), [3, 1, 2])
    right = spring_prediction(WATER, EvaluationOptions(stress=True))
    assert right.uncertainty is not None
    right_stress = right.stress
    assert right_stress is not None
    record = reply.records[0]
    assert record["energy"] == right.energy
    assert record["energy_epistemic"] == right.uncertainty.energy_epistemic
    assert record["force_max"] == right.uncertainty.forces_per_atom.max()
    assert flag_codes(int(record["candidate"])) == tuple(flag.code for flag in right.flags)
    assert np.array_equal(reply.forces[:3], right.forces)
    assert reply.stress is not None
    assert np.array_equal(reply.stress[0], right_stress)
    assert reply.force_epistemic is not None
    assert np.array_equal(reply.force_epistemic[:3], right.uncertainty.forces_per_atom)
    assert reply.step == 9
    assert reply.problems == {1: {"code": "non-finite-result", "status": 500, "detail": "NaN"}}
    assert np.isnan(reply.forces[3]).all()


def test_what_was_not_asked_for_is_none() -> None:
    reply = read_reply(reply_frame(outputs=("energy", "forces")), [3, 1, 2])
    assert (reply.stress, reply.force_epistemic, reply.force_total) == (None, None, None)


@given(length=st.integers(0, len(reply_frame()) - 1))
def test_a_cut_reply_is_refused(length: int) -> None:
    with pytest.raises(InvalidReply):
        read_reply(reply_frame()[:length], [3, 1, 2])


@given(place=st.integers(0, 63), value=st.integers(0, 255))
def test_a_damaged_header_is_refused_or_harmless(place: int, value: int) -> None:
    frame = bytearray(reply_frame())
    frame[place] = value
    try:
        reply = read_reply(bytes(frame), [3, 1, 2])
    except InvalidReply:
        return
    assert reply.forces.shape == (6, 3)


@pytest.mark.parametrize("sizes", [[3, 1], [3, 1, 3], [6]])
def test_a_reply_about_other_structures_is_refused(sizes: list[int]) -> None:
    with pytest.raises(InvalidReply, match="asked about"):
        read_reply(reply_frame(), sizes)


def test_flags_of_a_newer_service_are_not_lost() -> None:
    assert flag_codes(0) == ()
    assert flag_codes(0b100001) == (FLAGS[0], FLAGS[5])
    assert flag_codes(1 << 6) == ("flag-6",)
