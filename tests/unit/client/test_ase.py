"""The calculator gives ASE what it expects, and keeps what ASE would lose."""

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import (
    CalculationFailed,
    PropertyNotImplementedError,
)
from ase.constraints import FixAtoms

from posterion_client import Client, PredictOptions
from posterion_client.ase import PosterionCalculator
from tests.unit.client.examples import call, molecule, silicon
from tests.unit.client.stand_in import (
    DIGEST,
    STIFFNESS,
    StandIn,
    problem,
)


def n_predictions(service: StandIn) -> int:
    return len(service.documents())


class TestProperties:
    def test_energy_and_forces_are_those_of_the_service(self, atoms: Atoms) -> None:
        expected = 0.5 * STIFFNESS * np.sum(atoms.positions**2)
        assert call(atoms.get_potential_energy) == expected
        np.testing.assert_array_equal(call(atoms.get_forces), -STIFFNESS * atoms.positions)

    def test_optimisers_find_a_free_energy(self, atoms: Atoms) -> None:
        assert atoms.get_potential_energy(force_consistent=True) == call(  # type: ignore[no-untyped-call]
            atoms.get_potential_energy
        )

    def test_results_hold_standard_properties_only(self, atoms: Atoms) -> None:
        call(atoms.get_forces)
        assert atoms.calc is not None
        assert set(atoms.calc.results) == {"energy", "free_energy", "forces"}

    def test_experimental_properties_of_ase_work(self, atoms: Atoms, service: StandIn) -> None:
        properties = call(atoms.get_properties, ["energy", "forces"])
        assert properties["energy"] == call(atoms.get_potential_energy)
        call(atoms.get_properties, ["energy", "forces"])
        assert n_predictions(service) == 1

    def test_returned_arrays_belong_to_the_caller(self, atoms: Atoms) -> None:
        forces = call(atoms.get_forces)
        forces[:] = 7.0
        assert not (call(atoms.get_forces) == 7.0).any()

    def test_constraints_apply_on_top(self, atoms: Atoms) -> None:
        call(atoms.set_constraint, call(FixAtoms, [0]))
        assert not call(atoms.get_forces)[0].any()


class TestStress:
    def test_crystal_has_voigt_order_of_ase(self, client: Client, service: StandIn) -> None:
        crystal = silicon()
        crystal.calc = PosterionCalculator(client=client)
        full = (np.arange(9.0).reshape(3, 3) + np.arange(9.0).reshape(3, 3).T) / 200
        voigt = [full[0, 0], full[1, 1], full[2, 2], full[1, 2], full[0, 2], full[0, 1]]
        np.testing.assert_array_equal(call(crystal.get_stress), voigt)
        call(crystal.get_forces)
        assert n_predictions(service) == 1

    def test_molecule_has_none_and_is_not_asked_again(self, atoms: Atoms, service: StandIn) -> None:
        call(atoms.get_forces)
        for _ in range(2):
            with pytest.raises(PropertyNotImplementedError):
                call(atoms.get_stress)
        assert n_predictions(service) == 1
        assert "stress" not in service.documents()[0]["outputs"]

    def test_slab_has_none(self, client: Client, service: StandIn) -> None:
        slab = silicon()
        call(slab.set_pbc, [True, True, False])
        slab.calc = PosterionCalculator(client=client)
        with pytest.raises(PropertyNotImplementedError):
            call(slab.get_stress)

    def test_is_not_asked_of_a_model_without_it(self, client: Client, service: StandIn) -> None:
        service.periodic = False
        crystal = silicon()
        crystal.calc = PosterionCalculator(client=client)
        call(crystal.get_forces)
        assert "stress" not in service.documents()[0]["outputs"]
        cards = [request.url.path for request in service.seen if request.method == "GET"]
        assert cards == ["/v1", "/v1/models/ethanol"]

    @pytest.mark.parametrize("wanted", [True, False])
    def test_choice_of_the_caller_needs_no_card(
        self, client: Client, service: StandIn, wanted: bool
    ) -> None:
        crystal = silicon()
        crystal.calc = PosterionCalculator(client=client, stress=wanted)
        call(crystal.get_forces)
        assert ("stress" in service.documents()[0]["outputs"]) is wanted
        assert len(service.seen) == 1


class TestCache:
    def test_one_configuration_is_asked_once(self, atoms: Atoms, service: StandIn) -> None:
        call(atoms.get_potential_energy)
        call(atoms.get_forces)
        assert atoms.calc is not None
        atoms.calc.get_property("forces_std", atoms)
        assert n_predictions(service) == 1

    @pytest.mark.parametrize("shift", [1e-12, 0.1])
    def test_any_movement_is_asked_again(
        self, atoms: Atoms, service: StandIn, shift: float
    ) -> None:
        before = call(atoms.get_forces)
        atoms.positions[3, 2] += shift
        assert (call(atoms.get_forces) != before).any()
        assert n_predictions(service) == 2

    def test_charge_in_info_is_part_of_the_configuration(
        self, atoms: Atoms, service: StandIn
    ) -> None:
        call(atoms.get_forces)
        atoms.info["charge"] = 1
        call(atoms.get_forces)
        atoms.info["spin"] = 2
        call(atoms.get_forces)
        sent = [document["structures"][0] for document in service.documents()]
        assert [structure["charge"] for structure in sent] == [0, 1, 1]
        assert [structure["spin_multiplicity"] for structure in sent] == [1, 1, 2]

    def test_what_the_model_cannot_see_is_not_asked_again(
        self, atoms: Atoms, service: StandIn
    ) -> None:
        call(atoms.get_forces)
        call(atoms.set_initial_magnetic_moments, np.ones(len(atoms)))
        call(atoms.get_forces)
        assert n_predictions(service) == 1

    def test_old_results_are_not_kept_after_a_failure(self, atoms: Atoms, service: StandIn) -> None:
        call(atoms.get_forces)
        calc = atoms.calc
        assert isinstance(calc, PosterionCalculator)
        atoms.positions += 0.1
        service.script = [problem(503, "overloaded")]
        with pytest.raises(CalculationFailed):
            call(atoms.get_forces)
        assert calc.results == {}
        assert (calc.prediction, calc.uncertainty, calc.flags) == (None, None, ())
        np.testing.assert_array_equal(call(atoms.get_forces), -STIFFNESS * atoms.positions)


class TestUncertainty:
    def test_is_an_attribute_beside_the_results(self, atoms: Atoms) -> None:
        calc = atoms.calc
        assert isinstance(calc, PosterionCalculator)
        assert (calc.uncertainty, calc.model, calc.flags) == (None, None, ())
        call(atoms.get_forces)
        assert calc.uncertainty is not None
        assert calc.uncertainty.energy.total == 0.005
        assert calc.model is not None
        assert calc.model.digest == DIGEST

    def test_flags_follow_the_configuration(self, atoms: Atoms) -> None:
        calc = atoms.calc
        assert isinstance(calc, PosterionCalculator)
        atoms.positions[0, 0] += 200
        call(atoms.get_forces)
        assert [flag.code for flag in calc.flags] == ["force-epistemic-high"]
        atoms.positions[0, 0] -= 200
        call(atoms.get_forces)
        assert calc.flags == ()

    def test_named_values_are_those_of_the_answer(self, atoms: Atoms) -> None:
        calc = atoms.calc
        assert isinstance(calc, PosterionCalculator)
        epistemic = 0.01 + 0.001 * np.abs(atoms.positions)
        expected = {
            "energy_std": 0.005,
            "energy_epistemic_std": 0.003,
            "energy_aleatoric_std": 0.004,
            "energy_var": 0.003**2,
            "forces_std": np.hypot(epistemic, 0.02),
            "forces_epistemic_std": epistemic,
            "forces_aleatoric_std": np.full(9, 0.02),
        }
        for name, value in expected.items():
            np.testing.assert_array_equal(calc.get_property(name, atoms), value)

    def test_named_value_is_not_computed_where_that_is_forbidden(self, atoms: Atoms) -> None:
        assert atoms.calc is not None
        assert atoms.calc.get_property("energy_std", atoms, allow_calculation=False) is None
        call(atoms.get_forces)
        assert atoms.calc.get_property("energy_std", atoms, allow_calculation=False) == 0.005

    def test_samples_are_named_as_for_committees(self, client: Client) -> None:
        atoms = molecule("H2O")
        options = PredictOptions(samples="full")
        calc = atoms.calc = PosterionCalculator(client=client, options=options)
        forces = calc.get_property("forces_comm", atoms)
        np.testing.assert_allclose(forces.mean(axis=0), call(atoms.get_forces), rtol=1e-15)
        assert calc.get_property("energy_comm", atoms).shape == (2,)

    def test_variance_of_the_stress_is_that_of_the_samples(
        self, client: Client, service: StandIn
    ) -> None:
        stress = np.arange(18.0).reshape(2, 3, 3)
        stress += stress.transpose(0, 2, 1)

        def add(document: dict[str, Any]) -> None:
            document["results"][0]["uncertainty"]["samples"]["stress"] = stress

        service.change = add
        crystal = silicon()
        options = PredictOptions(samples="full")
        calc = crystal.calc = PosterionCalculator(client=client, options=options)
        variance = stress.var(axis=0, ddof=1)
        voigt = [variance[place] for place in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]]
        np.testing.assert_array_equal(calc.get_property("stress_var", crystal), voigt)

    @pytest.mark.parametrize(
        ("options", "name"),
        [
            (PredictOptions(), "energy_comm"),
            (PredictOptions(samples="full"), "stress_var"),
            (PredictOptions(samples="energy"), "forces_comm"),
            (PredictOptions(uncertainty=False), "energy_std"),
        ],
    )
    def test_what_was_not_asked_for_is_not_invented(
        self, client: Client, options: PredictOptions, name: str
    ) -> None:
        calc = PosterionCalculator(client=client, options=options)
        with pytest.raises(PropertyNotImplementedError, match=name):
            calc.get_property(name, molecule("H2O"))

    def test_unknown_name_is_refused_as_by_any_calculator(self, atoms: Atoms) -> None:
        assert atoms.calc is not None
        with pytest.raises(PropertyNotImplementedError, match="dipole"):
            atoms.calc.get_property("dipole", atoms)
