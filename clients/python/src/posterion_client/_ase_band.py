"""Many images of ASE in one request: bands of NEB, or any list of ``Atoms``."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.mep import NEB
from numpy.typing import NDArray

from posterion_client._ase_calculator import PosterionCalculator
from posterion_client._ase_edge import ase_error
from posterion_client._errors import InvalidArgument, PosterionError
from posterion_client._structure import Structure


def evaluate_together(images: Sequence[Atoms]) -> int:
    """Ask about several ``Atoms`` at once; then each calculator answers without a request.

    Images whose calculator has their answer already, and images with calculators of another
    kind, cost nothing.

    Args:
        images: Each with a `PosterionCalculator` of its own; all ask the same.

    Returns:
        How many images were asked about.

    Raises:
        InvalidArgument: If the calculators are shared or ask for different things.
        InputError: If a structure cannot be evaluated.
        CalculationFailed: If the service cannot answer, or the sample set changed.
    """
    calculators = [i.calc for i in images if isinstance(i.calc, PosterionCalculator)]
    if not calculators:
        raise InvalidArgument("no image has a PosterionCalculator")
    first = calculators[0]
    if len({id(calculator) for calculator in calculators}) < len(calculators):
        raise InvalidArgument("every image needs a PosterionCalculator of its own")
    if any(calculator.asking != first.asking for calculator in calculators):
        raise InvalidArgument("the calculators of the images ask for different things")
    held = sorted({c.digest for c in calculators if c.digest is not None})
    if len(held) > 1:
        raise InvalidArgument(f"the images are held to different sample sets: {', '.join(held)}")
    try:
        return _ask(images, first, held[0] if held else None)
    except PosterionError as error:
        raise ase_error(error) from error


class BatchNEB(NEB):
    """ASE's NEB with one request per evaluation of the band, whatever the number of images.

    Every image needs a `PosterionCalculator` of its own; they may share a client.
    """

    def get_forces(self) -> NDArray[np.float64]:
        """Forces on the inner images, shape ``((n_images - 2) * n_atoms, 3)``, eV/Angstrom."""
        turned = self.remove_rotation_and_translation
        if turned:
            for before, image in zip(self.images, self.images[1:], strict=False):
                minimize_rotation_and_translation(before, image)  # type: ignore[no-untyped-call] # ASE's
        evaluate_together(self.images)
        # Turned again, the images would differ from those that were asked about.
        self.remove_rotation_and_translation = False
        try:
            forces: NDArray[np.float64] = super().get_forces()  # type: ignore[no-untyped-call] # ASE's
        finally:
            self.remove_rotation_and_translation = turned
        return forces


def _ask(images: Sequence[Atoms], first: PosterionCalculator, digest: str | None) -> int:
    waiting: list[tuple[PosterionCalculator, Structure]] = []
    for image in images:
        calculator = image.calc
        if isinstance(calculator, PosterionCalculator):
            structure = Structure.from_ase(image)
            if not calculator.knows(structure):
                waiting.append((calculator, structure))
    if waiting:
        predictions = first.ask([structure for _, structure in waiting], digest=digest)
        for (calculator, structure), prediction in zip(waiting, predictions, strict=True):
            calculator.take(structure, prediction)
    return len(waiting)
