"""How a predict request in the binary layout becomes structures, without a document between."""

from functools import lru_cache
from typing import Final

import numpy as np
from pydantic import ValidationError

from posterion.api.frame_requests import FrameStructure, Said, read_request
from posterion.api.parsing import PredictTerms, PredictWork, terms_of, too_many_atoms
from posterion.api.schemas import PredictRequest
from posterion.api.settings import ApiSettings
from posterion.api.validation import not_its_schema
from posterion.errors import StructureError
from posterion.structures.structure import Structure

_REMEMBERED: Final = 256
"""Callers repeat what they say beside their structures; what is refused is not remembered."""
_STAND_IN: Final = {"numbers": [1], "positions": [[0.0, 0.0, 0.0]]}


def parse_frame(frame: bytes, settings: ApiSettings) -> PredictWork:
    """Check a predict request and read its structures.

    Args:
        frame: The bytes.
        settings: Limits on structures and atoms.

    Returns:
        The work. Structures that are wrong in physics carry their own error.

    Raises:
        MalformedBody: If the bytes are not a request of the layout.
        InvalidRequest: If a number stands for nothing, or fields do not go together.
        TooLarge: If there are too many structures.
    """
    asked = read_request(frame, settings)
    terms = _terms(asked.said, empty=not asked.structures)
    angstrom = terms.units.angstrom
    return PredictWork(
        terms=terms,
        deadline_ms=asked.deadline_ms,
        ids=tuple(map(str, range(len(asked.structures)))),
        sizes=tuple(len(entry.numbers) for entry in asked.structures),
        structures=tuple(_structure(entry, angstrom, settings) for entry in asked.structures),
    )


@lru_cache(maxsize=_REMEMBERED)
def _terms(said: Said, *, empty: bool) -> PredictTerms:
    """The terms of a request; one without structures is refused as a document is."""
    document = {**said.document(), "structures": [] if empty else [_STAND_IN]}
    try:
        return terms_of(PredictRequest.model_validate(document))
    except ValidationError as error:
        raise not_its_schema(error) from None


def _structure(
    entry: FrameStructure, angstrom: float, settings: ApiSettings
) -> Structure | StructureError:
    if len(entry.numbers) > settings.max_atoms:
        return too_many_atoms(len(entry.numbers), settings)
    positions, cell = entry.positions, entry.cell
    if angstrom != 1.0:
        # An overflow becomes infinity, which the structure refuses.
        with np.errstate(over="ignore"):
            positions = positions * angstrom
            cell = None if cell is None else cell * angstrom
    try:
        return Structure(
            atomic_numbers=entry.numbers.astype(np.int64),
            positions=positions,
            cell=cell,
            pbc=entry.pbc,
            charge=entry.charge,
            spin_multiplicity=entry.spin_multiplicity,
        )
    except StructureError as error:
        return error
