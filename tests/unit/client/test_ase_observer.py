"""Flags of a run are told, kept and heeded."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from posterion_client import Client, InvalidArgument, PredictOptions, UncertaintyExceeded
from posterion_client.ase import PosterionCalculator, UncertaintyObserver
from tests.unit.client.examples import call, molecule
from tests.unit.client.stand_in import DIGEST, FLAG, StandIn

TOO_FAR = 100.5
"""Angstrom: the stand-in flags positions beyond 100."""


def flagged(atoms: Atoms) -> None:
    """Move the atoms to where the stand-in raises its flag."""
    atoms.positions[0, 0] = TOO_FAR


def flying(atoms: Atoms) -> VelocityVerlet:
    """Dynamics whose first atom is flagged from its third step on."""
    atoms.positions[0] = [97.5, 0.0, 0.0]
    velocities = np.zeros((len(atoms), 3))
    velocities[0, 0] = 1.0  # Angstrom per ASE's unit of time; the spring is slow
    call(atoms.set_masses, [1e9] * len(atoms))
    call(atoms.set_velocities, velocities)
    return VelocityVerlet(atoms, timestep=1.0)


class TestHalt:
    def test_candidate_ends_the_run_at_its_step(self, atoms: Atoms, service: StandIn) -> None:
        dynamics = flying(atoms)
        observer = UncertaintyObserver(atoms, halt="candidate", steps=dynamics)
        dynamics.attach(observer)  # type: ignore[no-untyped-call] # ASE has no types here
        with pytest.raises(UncertaintyExceeded, match="step 3: force-epistemic-high") as caught:
            call(dynamics.run, 10)
        assert caught.value.flags == ("force-epistemic-high",)
        assert observer.n_flagged == 1
        assert len(service.documents()) == 4  # no request of its own

    @pytest.mark.parametrize("halt", ["failed", "never"])
    def test_milder_flags_let_it_go_on(self, atoms: Atoms, halt: str) -> None:
        dynamics = flying(atoms)
        observer = UncertaintyObserver(atoms, halt=halt)  # type: ignore[arg-type] # one of three
        dynamics.attach(observer)  # type: ignore[no-untyped-call] # as above
        call(dynamics.run, 5)
        assert observer.n_flagged == 3

    def test_failed_is_worse_than_candidate(
        self, atoms: Atoms, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(FLAG, "severity", "failed")
        flagged(atoms)
        for halt in ("failed", "candidate"):
            with pytest.raises(UncertaintyExceeded):
                UncertaintyObserver(atoms, halt=halt)()
        UncertaintyObserver(atoms, halt="never")()

    def test_interval_is_that_of_ase(self, atoms: Atoms) -> None:
        dynamics = flying(atoms)
        observer = UncertaintyObserver(atoms, halt="candidate", steps=dynamics)
        dynamics.attach(observer, interval=4)  # type: ignore[no-untyped-call] # as above
        with pytest.raises(UncertaintyExceeded, match="step 4"):
            call(dynamics.run, 10)

    def test_optimiser_is_ended_too(self, atoms: Atoms) -> None:
        flagged(atoms)
        with BFGS(atoms, logfile=None) as optimizer:
            optimizer.attach(UncertaintyObserver(atoms, halt="candidate"))
            with pytest.raises(UncertaintyExceeded, match="step 0"):
                optimizer.run(fmax=0.01, steps=5)

    def test_error_survives_pickling(self) -> None:
        error = pickle.loads(pickle.dumps(UncertaintyExceeded("so", flags=["a", "b"])))  # noqa: S301 - made here
        assert (error.detail, error.flags) == ("so", ("a", "b"))


class TestWarning:
    def test_names_flag_atoms_value_and_threshold(
        self, atoms: Atoms, caplog: pytest.LogCaptureFixture
    ) -> None:
        observer = UncertaintyObserver(atoms)
        with caplog.at_level(logging.WARNING, logger="posterion_client"):
            observer()
            assert caplog.messages == []
            flagged(atoms)
            observer()
        (said,) = caplog.messages
        assert said == (
            "step 1: force-epistemic-high (candidate) at atoms [1]: force_epistemic_max is 0.212 "
            "eV/angstrom, the threshold 0.15"
        )


class TestFrames:
    def test_flagged_frames_are_kept_with_their_uncertainties(
        self, atoms: Atoms, tmp_path: Path
    ) -> None:
        path = tmp_path / "flagged.extxyz"
        dynamics = flying(atoms)
        dynamics.attach(UncertaintyObserver(atoms, path=path, steps=dynamics))  # type: ignore[no-untyped-call]
        call(dynamics.run, 4)
        frames = call(read, path, ":")
        assert [frame.info["step"] for frame in frames] == [3, 4]
        last = frames[-1]
        assert last.info["posterion_flags"] == "force-epistemic-high"
        assert last.info["posterion_digest"] == DIGEST
        assert last.info["energy_epistemic_std"] == 0.003
        assert atoms.calc is not None
        spread = atoms.calc.get_property("forces_epistemic_std")
        np.testing.assert_allclose(last.arrays["forces_epistemic_std"], spread, atol=1e-8)
        np.testing.assert_allclose(last.get_forces(), call(atoms.get_forces), atol=1e-7)

    def test_atoms_of_the_run_stay_as_they_are(self, atoms: Atoms, tmp_path: Path) -> None:
        flagged(atoms)
        UncertaintyObserver(atoms, path=tmp_path / "flagged.extxyz")()
        assert atoms.info == {}
        assert set(atoms.arrays) == {"numbers", "positions"}

    def test_flags_without_uncertainty_are_kept_too(self, client: Client, tmp_path: Path) -> None:
        atoms = molecule("H2O")
        options = PredictOptions(uncertainty=False)
        atoms.calc = PosterionCalculator(client=client, options=options)
        flagged(atoms)
        UncertaintyObserver(atoms, path=tmp_path / "flagged.extxyz")()
        frame = call(read, tmp_path / "flagged.extxyz")
        assert frame.info["posterion_flags"] == "force-epistemic-high"
        assert "energy_std" not in frame.info


def test_settings_are_checked(atoms: Atoms) -> None:
    with pytest.raises(InvalidArgument, match="halt"):
        UncertaintyObserver(atoms, halt="sometimes")  # type: ignore[arg-type] # that is the point
    with pytest.raises(InvalidArgument, match="PosterionCalculator"):
        UncertaintyObserver(molecule("H2O"))()
