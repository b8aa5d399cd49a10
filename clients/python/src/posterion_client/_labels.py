"""Reference energies that go back to the service, and what they teach about the next ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from posterion_client._encoding import Encoding, encode_document
from posterion_client._errors import InvalidArgument, PosterionError
from posterion_client._fields import Node
from posterion_client._reply import Origin, read_outcomes
from posterion_client._request import Indexed, PredictOptions, evaluation_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelState:
    """What labels have taught about the energies of one sample set; the caller keeps it.

    A state without an offset learns it from its first label, and holds from then on for
    structures of that composition. One with ``offset=0`` and no composition, for a reference
    that counts energies from the same zero, holds for any.

    Attributes:
        model: Name of the model.
        digest: Sample set that the labels were compared with.
        n: Residuals seen.
        sum_squares: Sum of (residual / standard deviation)^2.
        offset: Reference minus prediction that is no error, eV, or None before the first label.
        composition: Formula of the structures that the offset is of, or None.
    """

    model: str
    digest: str
    n: int = 0
    sum_squares: float = 0.0
    offset: float | None = None
    composition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How far the energy of one structure can be trusted.

    Attributes:
        energy: Mean over the posterior samples, eV.
        std: Calibrated total standard deviation of ``energy``, eV.
        residual: Reference minus ``energy`` minus offset, eV; None without a label.
        confidence: Probability that the error of ``energy`` is at most the threshold, given
            the labels before this structure's own.
    """

    energy: float
    std: float
    residual: float | None
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What came of some structures and their labels.

    Attributes:
        results: One per structure, in the order given; an error where it cannot be judged.
        state: For the next call.
    """

    results: tuple[Judgement | PosterionError, ...]
    state: LabelState


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The reference energies of one call.

    Attributes:
        energies: One per structure, eV; None where there is none.
        threshold: Error of an energy that is still acceptable, eV.
    """

    energies: tuple[float | None, ...]
    threshold: float


def check_labels(
    energies: Sequence[float | None], *, n_structures: int, threshold: float
) -> Labels:
    """Read the energies that a caller passed.

    Args:
        energies: One per structure, eV; None where there is none.
        n_structures: How many there must be.
        threshold: Error of an energy that is still acceptable, eV.

    Raises:
        InvalidArgument: If they are not one per structure, or a number is not finite.
    """
    if len(energies) != n_structures:
        raise InvalidArgument(
            f"expected one energy per structure ({n_structures}), None where there is none, "
            f"got {len(energies)}"
        )
    for index, energy in enumerate(energies):
        if energy is not None and not math.isfinite(energy):
            raise InvalidArgument(f"energy {index} must be finite or None, got {energy}")
    if not (math.isfinite(threshold) and threshold > 0):
        raise InvalidArgument(f"threshold must be a positive number of eV, got {threshold}")
    return Labels(
        energies=tuple(None if energy is None else float(energy) for energy in energies),
        threshold=float(threshold),
    )


def labels_body(
    asked: Sequence[Indexed],
    labels: Labels,
    state: LabelState,
    *,
    options: PredictOptions,
    encoding: Encoding,
) -> bytes:
    """Write the body of a request with labels."""
    document = {
        **evaluation_fields([entry.structure for entry in asked], options, encoding),
        "energies": [labels.energies[entry.index] for entry in asked],
        "threshold": labels.threshold,
        "state": {
            "digest": state.digest,
            "n": state.n,
            "sum_squares": state.sum_squares,
            "offset": state.offset,
            "composition": state.composition,
        },
    }
    return encode_document(document, encoding)


def read_lesson(document: Node, origin: Origin, asked: Sequence[Indexed]) -> Lesson:
    """Read the reply to a request with labels.

    Raises:
        InvalidReply: If a result is missing or out of order, or a field is not as expected.
    """
    results = read_outcomes(document, origin, asked, lambda node, _entry: _read_judgement(node))
    state = document["state"]
    offset, composition = state.get("offset"), state.get("composition")
    return Lesson(
        results=tuple(results),
        state=LabelState(
            model=origin.model.name,
            digest=state["digest"].text(),
            n=state["n"].integer(),
            sum_squares=state["sum_squares"].number(),
            offset=offset.number() if offset else None,
            composition=composition.text() if composition else None,
        ),
    )


def _read_judgement(node: Node) -> Judgement:
    residual = node.get("residual")
    return Judgement(
        energy=node["energy"].number(),
        std=node["std"].number(),
        residual=residual.number() if residual else None,
        confidence=node["confidence"].number(),
    )
