"""The self-test certifies a code that is right, and finds what is wrong with one that is not."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from posterion_client import Client, InvalidArgument
from posterion_client.selftest import Certificate, Check, Job, Trace
from posterion_client.selftest._codes import CODES, code_named
from posterion_client.selftest._jobs import default_subjects, in_standard_form, subjects_of
from posterion_client.selftest._reference import reference_prediction, reference_trace
from posterion_client.selftest._run import certify

Mutation = Callable[[Job, Trace], Trace]


@dataclass
class AseItself:
    """ASE through the SDK, with something wrong if so told."""

    client: Client
    wrong: Mutation = lambda _, trace: trace
    name: str = "itself"
    version: str = "1"
    energy_tolerance: float = 1e-9
    energy_reason: str = "none: it is the reference"

    def run(self, job: Job) -> Trace:
        """ASE's own trace with the uncertainty that the SDK gives."""
        prediction = reference_prediction(self.client, job)
        assert prediction.uncertainty is not None
        trace = replace(
            reference_trace(self.client, job),
            force_epistemic_max=prediction.uncertainty.forces.max,
        )
        return self.wrong(job, trace)


def certified(client: Client, wrong: Mutation | None = None, n_steps: int = 3) -> Certificate:
    code = AseItself(client) if wrong is None else AseItself(client, wrong)
    return certify(code, client, told=lambda _: None, n_steps=n_steps)


def failed(certificate: Certificate) -> set[str]:
    return {check.name for check in certificate.checks if check.verdict == "FAILED"}


def test_a_code_that_is_right_is_certified(client: Client) -> None:
    certificate = certified(client)
    assert certificate.holds, certificate.table()
    assert {check.verdict for check in certificate.checks} == {"passed"}
    assert {check.subject for check in certificate.checks} == {"molecule", "triclinic cell"}
    assert certificate.digest == client.model().digest
    assert "certified" in certificate.table().splitlines()[-1]
    assert certificate.document()["holds"] is True


def _kcal(_: Job, trace: Trace) -> Trace:
    return replace(trace, potential=trace.potential * 23.06, total=trace.total * 23.06)


def _sorted_atoms(job: Job, trace: Trace) -> Trace:
    return replace(trace, forces=trace.forces[np.argsort(job.numbers, kind="stable")])


def _gradients(_: Job, trace: Trace) -> Trace:
    return replace(trace, forces=-trace.forces)


def _pressure(_: Job, trace: Trace) -> Trace:
    return trace if trace.stress is None else replace(trace, stress=-trace.stress)


def _voigt_order(_: Job, trace: Trace) -> Trace:
    """LAMMPS's order of the off-diagonals read as ASE's."""
    if trace.stress is None:
        return trace
    swapped = trace.stress.copy()
    swapped[0, 1] = swapped[1, 0] = trace.stress[1, 2]
    swapped[1, 2] = swapped[2, 1] = trace.stress[0, 1]
    return replace(trace, stress=swapped)


def _other_spread(_: Job, trace: Trace) -> Trace:
    assert trace.force_epistemic_max is not None
    return replace(trace, force_epistemic_max=trace.force_epistemic_max * 1.01)


def _other_timestep(_: Job, trace: Trace) -> Trace:
    return replace(trace, total=trace.total + 1e-6 * np.arange(len(trace.total)))


def _drifting(job: Job, trace: Trace) -> Trace:
    if job.service.precision == "float64":
        return trace
    return replace(trace, total=trace.total + 0.01 * np.arange(len(trace.total)))


def _not_a_number(_: Job, trace: Trace) -> Trace:
    return replace(trace, forces=trace.forces * np.nan)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (_kcal, {"energy", "forces are derivatives", "total energy against ASE"}),
        (_sorted_atoms, {"forces, atom by atom"}),
        (_gradients, {"forces, atom by atom", "forces are derivatives"}),
        (_pressure, {"stress, off-diagonals too", "stress is a derivative"}),
        (_voigt_order, {"stress, off-diagonals too", "stress is a derivative"}),
        (_other_spread, {"largest force uncertainty"}),
        (_other_timestep, {"total energy against ASE"}),
        (_drifting, {"drift with float32, per atom"}),
        (_not_a_number, {"forces, atom by atom", "forces are derivatives"}),
    ],
)
def test_what_is_wrong_is_found(client: Client, wrong: Mutation, found: set[str]) -> None:
    certificate = certified(client, wrong)
    assert not certificate.holds
    assert found <= failed(certificate), certificate.table()
    assert certificate.table().splitlines()[-1] == "NOT certified"


def test_a_certificate_of_skipped_checks_does_not_hold() -> None:
    skipped = Check(name="a", subject="b", deviation=None, allowed=1.0, unit="eV", note="no place")
    certificate = Certificate(
        code="x", client="1", url="u", model="m", digest="d", date="now", checks=(skipped,)
    )
    assert skipped.verdict == "skipped"
    assert not certificate.holds
    assert "no place" in certificate.table()


class TestSubjects:
    """The structures of the self-test."""

    def test_elements_are_out_of_order(self) -> None:
        subjects = default_subjects([1, 6, 8])
        assert subjects.free is not None
        numbers = subjects.free.numbers.tolist()
        assert numbers not in (sorted(numbers), sorted(numbers, reverse=True))
        assert subjects.periodic.pbc.all()

    def test_cells_are_lower_triangular_and_not_orthogonal(self) -> None:
        for elements in ([1, 6, 8], [14]):
            cell = default_subjects(elements).periodic.cell.array
            assert np.array_equal(cell, np.tril(cell))
            assert np.abs(cell - np.diag(np.diag(cell))).max() > 0.1

    def test_turning_keeps_every_distance(self) -> None:
        turned_on_purpose = bulk("Si", cubic=True)
        turned_on_purpose.rotate(37, (1, 2, 3), rotate_cell=True)
        turned = in_standard_form(turned_on_purpose)
        before = turned_on_purpose.get_all_distances(mic=True)
        assert np.allclose(turned.get_all_distances(mic=True), before, rtol=0, atol=1e-9)
        assert (np.diag(turned.cell.array) > 0).all()

    def test_a_model_of_other_elements_wants_a_structure(self) -> None:
        with pytest.raises(InvalidArgument, match="--structure"):
            default_subjects([79])

    def test_a_slab_is_refused(self) -> None:
        with pytest.raises(InvalidArgument, match="all directions or in none"):
            subjects_of(Atoms("H", pbc=(True, True, False), cell=np.eye(3) * 5))


def test_a_code_that_is_not_installed_is_said() -> None:
    with pytest.raises(InvalidArgument, match="docs/clients"):
        code_named("openmm")
    with pytest.raises(InvalidArgument, match=", ".join(CODES)):
        code_named("gromacs")
