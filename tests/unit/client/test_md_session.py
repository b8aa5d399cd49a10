"""A run through the service: the same numbers by every way, and never another potential."""

import itertools
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from posterion.errors import NonFiniteResult as ServiceNonFinite
from posterion.errors import Overloaded
from posterion.errors import UnknownModel as UnknownModelOfService
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.structure import Structure
from posterion_client import (
    ConnectionFailed,
    InvalidArgument,
    InvalidStructure,
    ModelChanged,
    NonFiniteResult,
    RetryPolicy,
    UnknownModel,
    UnsupportedElement,
)
from posterion_client import Overloaded as ClientOverloaded
from posterion_client.md import BatchSession, MDSession, Transport
from tests.support.fake_backend import (
    MODEL,
    OLDER,
    STABLE,
    UNKNOWN_ELEMENT,
    SpringBackend,
    spring_prediction,
)
from tests.support.spring_service import SpringService, spring_service
from tests.unit.client.stand_in import Pace

NUMBERS = np.array([8, 1, 1])
POSITIONS = np.array([[0.0, 0.1, 0.2], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
CELL = np.array([[9.0, 0.0, 0.0], [1.0, 8.0, 0.0], [0.5, -1.0, 7.0]])
NEVER = RetryPolicy(budget_s=0.0)
SOON = RetryPolicy(budget_s=20.0, first_delay_s=0.05, max_delay_s=0.2)

every_transport = pytest.mark.parametrize("transport", ["websocket", "http", "auto"])


@pytest.fixture(scope="module")
def service() -> Iterator[SpringService]:
    with spring_service() as running:
        yield running


@pytest.fixture
def backend(service: SpringService) -> Iterator[SpringBackend]:
    yield service.backend
    service.backend.failure = service.backend.poison = None


@every_transport
@pytest.mark.parametrize("periodic", [True, False])
def test_a_step_is_what_the_service_says(
    service: SpringService,
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
    with MDSession(NUMBERS, url=service.url, pbc=periodic, transport=transport) as session:
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
    service: SpringService,
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
        url=service.url,
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
    service: SpringService, backend: SpringBackend, transport: Transport
) -> None:
    images = POSITIONS + 0.01 * np.arange(8)[:, None, None]
    with MDSession(NUMBERS, url=service.url, n_images=8, transport=transport) as session:
        before = len(backend.calls)
        together = session.evaluate_images(images)
        assert len(backend.calls) == before + 1
        assert len(together) == 8
    with MDSession(NUMBERS, url=service.url, transport=transport) as session:
        alone = [session.evaluate(image) for image in images]
    assert [each.energy for each in together] == [each.energy for each in alone]
    assert all(np.array_equal(a.forces, b.forces) for a, b in zip(together, alone, strict=True))


@every_transport
def test_the_same_positions_are_asked_about_once(
    service: SpringService, backend: SpringBackend, transport: Transport
) -> None:
    with MDSession(NUMBERS, url=service.url, transport=transport) as session:
        first = session.evaluate(POSITIONS)
        asked = len(backend.calls)
        assert session.evaluate(POSITIONS.copy()) is first
        assert len(backend.calls) == asked
        assert session.n_requests == 1
        assert session.evaluate(POSITIONS + 0.1).energy != first.energy


def test_a_cell_travels_only_when_it_changes(service: SpringService) -> None:
    with MDSession(NUMBERS, url=service.url, pbc=True, transport="websocket") as session:
        wide = session.evaluate(POSITIONS, CELL)
        same = session.evaluate(POSITIONS + 1e-3, CELL)
        narrow = session.evaluate(POSITIONS, 0.9 * CELL)
    assert wide.stress is not None
    assert same.stress is not None
    assert narrow.stress is not None
    assert np.allclose(narrow.stress, wide.stress / 0.9**3, rtol=1e-12, atol=0.0)


@every_transport
def test_uncertainty_comes_at_its_interval(service: SpringService, transport: Transport) -> None:
    with MDSession(
        NUMBERS, url=service.url, transport=transport, uncertainty_interval=3
    ) as session:
        given = [session.evaluate(POSITIONS + 0.01 * step).uncertainty for step in range(7)]
    assert [each is not None for each in given] == [step % 3 == 0 for step in range(7)]


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
    service: SpringService, backend: SpringBackend, transport: Transport
) -> None:
    def lone(number: int = 1, **settings: Any) -> None:  # noqa: ANN401 - of the session
        with MDSession(
            [number], url=service.url, transport=transport, retry=NEVER, **settings
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
    service: SpringService, backend: SpringBackend, transport: Transport
) -> None:
    backend.failure = Overloaded("too many wait")
    pace = _HealingPace(backend)
    with MDSession([1], url=service.url, transport=transport, pacer=pace) as session:
        assert np.isfinite(session.evaluate([[0, 0, 1]]).energy)
    assert len(pace.slept) == 1


def test_a_wrong_address_is_said_when_patience_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    for transport in ("websocket", "http"):
        session = MDSession([1], url=f"http://127.0.0.1:{port}", transport=transport, retry=NEVER)
        with pytest.raises(ConnectionFailed, match=str(port)):
            session.evaluate([[0, 0, 0]])


@pytest.mark.parametrize(
    ("positions", "cell", "kind", "said"),
    [
        (POSITIONS[:2], None, InvalidArgument, r"\(1, 3, 3\)"),
        (POSITIONS * np.nan, None, InvalidStructure, "atom 0 is not finite"),
    ],
)
def test_wrong_shapes_are_refused_before_sending(
    service: SpringService,
    positions: np.ndarray,
    cell: np.ndarray | None,
    kind: type[Exception],
    said: str,
) -> None:
    with pytest.raises(kind, match=said):
        MDSession(NUMBERS, url=service.url).evaluate(positions, cell)


def test_a_periodic_session_wants_a_cell(service: SpringService) -> None:
    session = MDSession(NUMBERS, url=service.url, pbc=True)
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


class TestBatchSession:
    """Structures of several sizes in one request."""

    def test_it_answers_concatenated_arrays(
        self, service: SpringService, backend: SpringBackend
    ) -> None:
        numbers = np.concatenate([NUMBERS, NUMBERS[:2]])
        positions = np.concatenate([POSITIONS, POSITIONS[:2] + 0.3])
        before = len(backend.calls)
        with BatchSession(url=service.url) as session:
            found = session.evaluate(numbers, positions, [3, 2])
            assert session.digest == STABLE
        assert len(backend.calls) == before + 1
        for place, part in itertools.product(range(2), [slice(0, 3), slice(3, 5)]):
            if (place == 0) != (part.start == 0):
                continue
            right = spring_prediction(
                Structure(
                    atomic_numbers=numbers[part],
                    positions=positions[part],
                    cell=None,
                    pbc=(False,) * 3,
                ),
                EvaluationOptions(),
            )
            assert found.energies[place] == right.energy
            assert np.array_equal(found.forces[part], right.forces)
            assert found.flags[place] == tuple(flag.code for flag in right.flags)

    def test_the_structure_in_error_is_named(
        self, service: SpringService, backend: SpringBackend
    ) -> None:
        backend.structure_failures[2] = ServiceNonFinite("NaN")
        try:
            with BatchSession(url=service.url) as session, pytest.raises(NonFiniteResult) as caught:
                session.evaluate([1, 1, 1], [[0, 0, 0], [0, 0, 1], [0, 0, 2]], [1, 2])
        finally:
            backend.structure_failures.clear()
        assert caught.value.index == 1

    @pytest.mark.parametrize("sizes", [[2], [4], [3, 0], [-1, 4]])
    def test_sizes_must_add_up(self, service: SpringService, sizes: list[int]) -> None:
        with BatchSession(url=service.url) as session, pytest.raises(InvalidArgument):
            session.evaluate(NUMBERS, POSITIONS, sizes)

    def test_the_structure_that_is_not_finite_is_named(self, service: SpringService) -> None:
        wrong = POSITIONS.copy()
        wrong[2, 1] = np.inf
        with BatchSession(url=service.url) as session, pytest.raises(InvalidStructure) as caught:
            session.evaluate(NUMBERS, wrong, [2, 1])
        assert caught.value.index == 1


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
