"""A run through the service: the same numbers by every way, and never another potential."""

import subprocess
import sys

import numpy as np
import pytest

from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.structure import Structure
from posterion_client import (
    InvalidArgument,
    InvalidStructure,
)
from posterion_client.md import MDSession, Transport
from tests.support.fake_backend import (
    MODEL,
    STABLE,
    SpringBackend,
    spring_prediction,
)
from tests.support.spring_service import SpringService
from tests.unit.client.md_cases import CELL, NUMBERS, POSITIONS, every_transport


@every_transport
@pytest.mark.parametrize("periodic", [True, False])
def test_a_step_is_what_the_service_says(
    springs: SpringService,
    transport: Transport,
    periodic: bool,
) -> None:
    right = spring_prediction(
        Structure(
            atomic_numbers=NUMBERS,
            positions=POSITIONS,
            cell=CELL if periodic else None,
            pbc=(periodic,) * 3,
        ),
        EvaluationOptions(stress=True),
    )
    assert right.uncertainty is not None
    with MDSession(NUMBERS, url=springs.url, pbc=periodic, transport=transport) as session:
        found = session.evaluate(POSITIONS, CELL if periodic else None)
        assert (session.model, session.digest) == (MODEL, STABLE)
    assert found.energy == right.energy
    assert np.array_equal(found.forces, right.forces)
    assert found.uncertainty is not None
    assert found.uncertainty.energy_epistemic == right.uncertainty.energy_epistemic
    assert np.array_equal(found.uncertainty.force_epistemic, right.uncertainty.forces_per_atom)
    assert found.flags == tuple(flag.code for flag in right.flags)
    assert found.status == ("candidate" if right.flags else "ok")
    if periodic:
        assert right.stress is not None
        assert found.stress is not None
        assert np.array_equal(found.stress, right.stress)
    else:
        assert found.stress is None


@every_transport
@pytest.mark.parametrize("periodic", [True, False])
def test_gradients_are_what_the_service_says(
    springs: SpringService,
    transport: Transport,
    periodic: bool,
) -> None:
    right = spring_prediction(
        Structure(
            atomic_numbers=NUMBERS,
            positions=POSITIONS,
            cell=CELL if periodic else None,
            pbc=(periodic,) * 3,
        ),
        EvaluationOptions(gradient_of="energy_epistemic"),
    ).uncertainty_gradient
    assert right is not None
    with MDSession(
        NUMBERS,
        url=springs.url,
        pbc=periodic,
        transport=transport,
        gradient_of="energy_epistemic",
        uncertainty_interval=2,
    ) as session:
        for _ in range(2):  # at every step, whatever the interval of the uncertainty
            found = session.evaluate(POSITIONS, CELL if periodic else None).uncertainty_gradient
            assert found is not None
            assert found.value == right.value
            assert np.array_equal(found.positions, right.positions)
            if right.cell is None:
                assert found.cell is None
            else:
                assert found.cell is not None
                assert np.array_equal(found.cell, right.cell)
            session.evaluate(POSITIONS + 0.1, CELL if periodic else None)


@every_transport
def test_images_are_one_request(
    springs: SpringService, backend: SpringBackend, transport: Transport
) -> None:
    images = POSITIONS + 0.01 * np.arange(8)[:, None, None]
    with MDSession(NUMBERS, url=springs.url, n_images=8, transport=transport) as session:
        before = len(backend.calls)
        together = session.evaluate_images(images)
        assert len(backend.calls) == before + 1
        assert len(together) == 8
    with MDSession(NUMBERS, url=springs.url, transport=transport) as session:
        alone = [session.evaluate(image) for image in images]
    assert [each.energy for each in together] == [each.energy for each in alone]
    assert all(np.array_equal(a.forces, b.forces) for a, b in zip(together, alone, strict=True))


@every_transport
def test_the_same_positions_are_asked_about_once(
    springs: SpringService, backend: SpringBackend, transport: Transport
) -> None:
    with MDSession(NUMBERS, url=springs.url, transport=transport) as session:
        first = session.evaluate(POSITIONS)
        asked = len(backend.calls)
        assert session.evaluate(POSITIONS.copy()) is first
        assert len(backend.calls) == asked
        assert session.n_requests == 1
        assert session.evaluate(POSITIONS + 0.1).energy != first.energy


def test_a_cell_travels_only_when_it_changes(springs: SpringService) -> None:
    with MDSession(NUMBERS, url=springs.url, pbc=True, transport="websocket") as session:
        wide = session.evaluate(POSITIONS, CELL)
        same = session.evaluate(POSITIONS + 1e-3, CELL)
        narrow = session.evaluate(POSITIONS, 0.9 * CELL)
    assert wide.stress is not None
    assert same.stress is not None
    assert narrow.stress is not None
    assert np.allclose(narrow.stress, wide.stress / 0.9**3, rtol=1e-12, atol=0.0)


@every_transport
def test_a_cell_that_the_caller_changes_in_place_is_seen(
    springs: SpringService, transport: Transport
) -> None:
    cell = CELL.copy()
    with MDSession(NUMBERS, url=springs.url, pbc=True, transport=transport) as session:
        session.evaluate(POSITIONS, cell)
        cell *= 1.1
        found = session.evaluate(POSITIONS, cell)
    with MDSession(NUMBERS, url=springs.url, pbc=True, transport=transport) as session:
        right = session.evaluate(POSITIONS, cell)
    assert found.stress is not None
    assert right.stress is not None
    assert np.array_equal(found.stress, right.stress)


@every_transport
def test_uncertainty_comes_at_its_interval(springs: SpringService, transport: Transport) -> None:
    with MDSession(
        NUMBERS, url=springs.url, transport=transport, uncertainty_interval=3
    ) as session:
        given = [session.evaluate(POSITIONS + 0.01 * step).uncertainty for step in range(7)]
    assert [each is not None for each in given] == [step % 3 == 0 for step in range(7)]


@pytest.mark.parametrize(
    ("positions", "cell", "kind", "said"),
    [
        (POSITIONS[:2], None, InvalidArgument, r"\(1, 3, 3\)"),
        (POSITIONS * np.nan, None, InvalidStructure, "atom 0 is not finite"),
    ],
)
def test_wrong_shapes_are_refused_before_sending(
    springs: SpringService,
    positions: np.ndarray,
    cell: np.ndarray | None,
    kind: type[Exception],
    said: str,
) -> None:
    with pytest.raises(kind, match=said):
        MDSession(NUMBERS, url=springs.url).evaluate(positions, cell)


def test_a_periodic_session_wants_a_cell(springs: SpringService) -> None:
    session = MDSession(NUMBERS, url=springs.url, pbc=True)
    with pytest.raises(InvalidStructure, match="cell"):
        session.evaluate(POSITIONS)
    with pytest.raises(InvalidArgument, match=r"\(1, 3, 3\)"):
        session.evaluate(POSITIONS, np.eye(2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"transport": "pigeon"},
        {"precision": "float16"},
        {"n_images": 0},
        {"uncertainty_interval": 0},
        {"pbc": [True]},
        {"gradient_of": "energy"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        MDSession([1], **wrong)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize("numbers", [[], ["Xx"]])
def test_atoms_must_be_elements(numbers: list[str]) -> None:
    with pytest.raises(InvalidArgument):
        MDSession(numbers)


def test_it_needs_the_standard_library_and_numpy_alone() -> None:
    program = (
        "import sys, posterion_client.md\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(roots & {'httpx', 'msgpack', 'ase', 'posterion', 'torch'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
