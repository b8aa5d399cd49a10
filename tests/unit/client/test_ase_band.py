"""A band, or any list of Atoms, is asked about in one request."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, InputError
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.optimize import FIRE

from posterion_client import Client, InvalidArgument, PredictOptions
from posterion_client.ase import BatchNEB, PosterionCalculator, evaluate_together
from tests.unit.client.examples import call, molecule
from tests.unit.client.stand_in import OTHER_DIGEST, StandIn, problem

N_IMAGES = 7


def asked(service: StandIn) -> list[int]:
    """How many structures each predict request held."""
    return [len(document["structures"]) for document in service.documents()]


@pytest.fixture
def images(client: Client) -> list[Atoms]:
    images = [molecule("H2O") for _ in range(N_IMAGES)]
    for place, image in enumerate(images):
        image.positions[1, 2] += 0.1 * place
        image.positions[2, 0] += 0.01 * place**2
        image.calc = PosterionCalculator(client=client)
    return images


class TestTogether:
    def test_one_request_answers_all(self, images: list[Atoms], service: StandIn) -> None:
        assert evaluate_together(images) == N_IMAGES
        alone = [PosterionCalculator(client=Client(transport=service.transport)) for _ in images]
        for image, calculator in zip(images, alone, strict=True):
            held = image.calc
            assert isinstance(held, PosterionCalculator)
            np.testing.assert_array_equal(
                call(image.get_forces), calculator.get_property("forces", image)
            )
            assert held.uncertainty is not None
        assert asked(service) == [N_IMAGES] + [1] * N_IMAGES

    def test_only_what_moved_is_asked_again(self, images: list[Atoms], service: StandIn) -> None:
        evaluate_together(images)
        assert evaluate_together(images) == 0
        images[2].positions[0, 0] += 0.1
        images[5].positions[0, 0] += 0.1
        assert evaluate_together(images) == 2
        assert asked(service) == [N_IMAGES, 2]

    def test_other_calculators_are_left_alone(self, images: list[Atoms], service: StandIn) -> None:
        images[0].calc = EMT()  # type: ignore[no-untyped-call] # ASE has no types here
        images[1].calc = None
        assert evaluate_together(images) == N_IMAGES - 2

    def test_what_cannot_be_one_request_is_refused(
        self, images: list[Atoms], client: Client
    ) -> None:
        with pytest.raises(InvalidArgument, match="no image"):
            evaluate_together([molecule("H2O")])
        images[1].calc = images[0].calc
        with pytest.raises(InvalidArgument, match="of its own"):
            evaluate_together(images)
        double = PredictOptions(precision="float64")
        images[1].calc = PosterionCalculator(client=client, options=double)
        with pytest.raises(InvalidArgument, match="different things"):
            evaluate_together(images)

    def test_images_stay_with_one_sample_set(self, images: list[Atoms], service: StandIn) -> None:
        call(images[3].get_forces)
        service.digest = OTHER_DIGEST
        with pytest.raises(CalculationFailed, match="version-moved"):
            evaluate_together(images)
        call(images[4].get_forces)
        with pytest.raises(InvalidArgument, match="different sample sets"):
            evaluate_together(images)

    def test_failures_are_those_of_ase(self, images: list[Atoms], service: StandIn) -> None:
        service.script = [problem(503, "overloaded")]
        with pytest.raises(CalculationFailed, match="overloaded"):
            evaluate_together(images)
        images[2].numbers[0] = 92
        with pytest.raises(InputError, match=r"structure 2"):
            evaluate_together(images)


class TestBand:
    @pytest.mark.parametrize("method", ["improvedtangent", "aseneb"])
    def test_every_evaluation_is_one_request(
        self, images: list[Atoms], service: StandIn, method: str
    ) -> None:
        band = BatchNEB(images, method=method)  # type: ignore[no-untyped-call] # ASE has no types
        with FIRE(band, logfile=None) as optimizer:
            optimizer.run(fmax=1e-9, steps=3)
        # The ends do not move.
        assert asked(service) == [N_IMAGES] + [N_IMAGES - 2] * 3

    @pytest.mark.parametrize("turned", [False, True])
    def test_forces_are_those_of_ase(
        self, images: list[Atoms], service: StandIn, turned: bool
    ) -> None:
        copies = [image.copy() for image in images]  # type: ignore[no-untyped-call] # as above
        for copy, image in zip(copies, images, strict=True):
            assert isinstance(image.calc, PosterionCalculator)
            copy.calc = PosterionCalculator(client=Client(transport=service.transport))
        settings = {
            "method": "improvedtangent",
            "climb": True,
            "remove_rotation_and_translation": turned,
        }
        plain = call(NEB(copies, **settings).get_forces)  # type: ignore[no-untyped-call] # as above
        before = len(asked(service))
        band = BatchNEB(images, **settings)  # type: ignore[no-untyped-call] # as above
        np.testing.assert_allclose(band.get_forces(), plain, rtol=0, atol=1e-12)
        assert asked(service)[before:] == [N_IMAGES]
        assert band.remove_rotation_and_translation is turned
