"""Runs end with a reason, stay with one sample set, and leave files that say what they are."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import (
    CalculationFailed,
    InputError,
)
from ase.io import read, write
from ase.io.trajectory import Trajectory
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from posterion_client import Client, InvalidArgument, PredictOptions
from posterion_client.ase import PosterionCalculator, record_uncertainty
from tests.unit.client.examples import call, molecule
from tests.unit.client.stand_in import (
    DIGEST,
    OTHER_DIGEST,
    StandIn,
    failed,
    problem,
)


def n_predictions(service: StandIn) -> int:
    return len(service.documents())


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "status", "kind"),
        [
            ("unsupported-element", 422, InputError),
            ("unsupported-property", 422, InputError),
            ("invalid-structure", 422, InputError),
            ("structure-too-large", 413, InputError),
            ("evaluation-failed", 500, CalculationFailed),
            ("non-finite-result", 500, CalculationFailed),
        ],
    )
    def test_error_of_the_structure(
        self, atoms: Atoms, service: StandIn, code: str, status: int, kind: type[Exception]
    ) -> None:
        def fail(document: dict[str, Any]) -> None:
            document["results"][0] = failed("0", code, status)

        service.change = fail
        with pytest.raises(kind, match=code) as caught:
            call(atoms.get_forces)
        assert type(caught.value) is kind
        assert getattr(caught.value.__cause__, "code", None) == code

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (problem(404, "unknown-model"), InputError),
            (problem(422, "invalid-request"), InputError),
            (problem(412, "version-moved"), CalculationFailed),
            (problem(429, "quota"), CalculationFailed),
            (problem(500, "internal"), CalculationFailed),
            (problem(503, "not-ready"), CalculationFailed),
            (httpx.ConnectError("refused"), CalculationFailed),
            (httpx.Response(200, content=b"<html>"), CalculationFailed),
        ],
    )
    def test_error_of_the_request(
        self,
        atoms: Atoms,
        service: StandIn,
        answer: httpx.Response | Exception,
        kind: type[Exception],
    ) -> None:
        service.script = [answer]
        with pytest.raises(kind) as caught:
            call(atoms.get_forces)
        assert type(caught.value) is kind
        assert caught.value.__cause__ is not None

    def test_nan_names_its_atom_and_is_not_sent(self, atoms: Atoms, service: StandIn) -> None:
        atoms.positions[5, 0] = np.nan
        with pytest.raises(InputError, match="atom 5"):
            call(atoms.get_forces)
        assert service.seen == []

    def test_settings_that_exclude_each_other_are_refused(self, client: Client) -> None:
        with pytest.raises(InvalidArgument, match="either url or client"):
            PosterionCalculator("http://host", client=client)


class TestPin:
    def test_run_ends_when_the_sample_set_changes(self, atoms: Atoms, service: StandIn) -> None:
        call(atoms.get_forces)
        service.digest = OTHER_DIGEST
        atoms.positions += 0.1
        with pytest.raises(CalculationFailed, match="version-moved"):
            call(atoms.get_forces)

    def test_change_can_be_allowed(self, client: Client, service: StandIn) -> None:
        atoms = molecule("H2O")
        calc = atoms.calc = PosterionCalculator(client=client, pin=False)
        call(atoms.get_forces)
        service.digest = OTHER_DIGEST
        atoms.positions += 0.1
        call(atoms.get_forces)
        assert calc.model is not None
        assert calc.model.digest == OTHER_DIGEST

    def test_calculators_of_one_client_are_pinned_apart(
        self, client: Client, service: StandIn
    ) -> None:
        PosterionCalculator(client=client).get_property("energy", molecule("H2O"))
        service.digest = OTHER_DIGEST
        PosterionCalculator(client=client).get_property("energy", molecule("H2O"))


class TestFiles:
    def test_extended_xyz_keeps_what_was_recorded(self, atoms: Atoms, tmp_path: Path) -> None:
        atoms.positions[0, 0] += 200
        record_uncertainty(atoms)
        path = tmp_path / "frame.extxyz"
        call(write, path, atoms)
        frame = call(read, path)
        assert atoms.calc is not None
        for name in ("energy_std", "energy_epistemic_std", "energy_aleatoric_std"):
            assert frame.info[name] == pytest.approx(atoms.calc.get_property(name), abs=1e-8)
        for name in ("forces_std", "forces_epistemic_std", "forces_aleatoric_std"):
            written = frame.arrays[name]
            np.testing.assert_allclose(written, atoms.calc.get_property(name), atol=1e-8)
        assert frame.info["posterion_flags"] == "force-epistemic-high"
        assert frame.info["posterion_digest"] == DIGEST
        np.testing.assert_allclose(call(frame.get_forces), call(atoms.get_forces), atol=1e-8)

    def test_frame_without_flags_can_be_written(self, atoms: Atoms, tmp_path: Path) -> None:
        record_uncertainty(atoms)
        assert atoms.info["posterion_flags"] == ""
        call(write, tmp_path / "frame.extxyz", atoms)
        assert call(read, tmp_path / "frame.extxyz").info["energy_std"] == 0.005

    def test_record_needs_our_calculator_and_its_uncertainty(self, client: Client) -> None:
        atoms = molecule("H2O")
        with pytest.raises(InvalidArgument, match="PosterionCalculator"):
            record_uncertainty(atoms)
        options = PredictOptions(uncertainty=False)
        atoms.calc = PosterionCalculator(client=client, options=options)
        with pytest.raises(InvalidArgument, match="uncertainty"):
            record_uncertainty(atoms)

    def test_trajectory_of_a_run_costs_one_request_per_step(
        self, atoms: Atoms, service: StandIn, tmp_path: Path
    ) -> None:
        path = tmp_path / "run.traj"
        with Trajectory(path, "w", atoms) as trajectory:  # type: ignore[no-untyped-call]
            dynamics = VelocityVerlet(atoms, timestep=0.05)
            dynamics.attach(trajectory.write)  # type: ignore[no-untyped-call]
            call(dynamics.run, 5)
        assert n_predictions(service) == 6
        with Trajectory(path) as frames:  # type: ignore[no-untyped-call]
            last = frames[-1]
            parameters = last.calc.parameters
            assert last.get_potential_energy() == call(atoms.get_potential_energy)
        assert parameters["digest"] == DIGEST


def test_springs_relax_to_their_rest(atoms: Atoms) -> None:
    with BFGS(atoms, logfile=None) as optimizer:
        assert optimizer.run(fmax=1e-6, steps=100)
    assert np.abs(atoms.positions).max() < 1e-5


def test_calculator_closes_only_its_own_client(client: Client) -> None:
    with PosterionCalculator(client=client):
        pass
    assert client.predict(molecule("H2O")).energy > 0
    own = PosterionCalculator("http://127.0.0.1:1")
    own.close()
    with pytest.raises(RuntimeError, match="closed"):
        own.get_property("energy", molecule("H2O"))
