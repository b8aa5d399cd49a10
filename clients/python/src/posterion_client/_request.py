"""What is asked of the service, and the document that asks it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, get_args
from urllib.parse import quote

from posterion_client._encoding import Encoding, encode_array, encode_document
from posterion_client._errors import InvalidArgument
from posterion_client._results import GradientScalar
from posterion_client._structure import Structure

MAX_STRUCTURES_PER_REQUEST: Final = 256
"""Longer sequences are sent as several requests; the service's default limit is 1024."""

MAX_ATOMS_PER_REQUEST: Final = 50_000
"""Keeps a body of several structures below 5 MB in JSON; a single structure may be larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """What to compute besides energy and forces, and how.

    Attributes:
        uncertainty: Whether to answer standard deviations.
        stress: Whether to answer the stress of fully periodic structures.
        samples: What to answer for each posterior sample: nothing, its energy, or its
            energy, forces and, with ``stress``, its stress.
        gradient_of: Which number of the uncertainty to differentiate by positions and cell;
            see `UncertaintyGradient`. None = none; it costs more than the prediction itself.
        precision: Arithmetic of the evaluation; ``float64`` is slower.
        n_samples: Evaluate only the first n posterior samples; None = all; ``adaptive`` =
            four, and more only for structures whose flags these leave open. For screening: a
            mean over more samples is another energy surface, on which no dynamics should end
            up half way.
        deadline_s: Give up after this many seconds; None = no deadline.
        priority: ``bulk`` for a job that nobody waits for step by step: its structures yield
            to the interactive ones of simulations, and still get a share of the service.
    """

    uncertainty: bool = True
    stress: bool = False
    samples: Literal["none", "energy", "full"] = "none"
    gradient_of: GradientScalar | None = None
    precision: Literal["float32", "float64"] = "float32"
    n_samples: int | Literal["adaptive"] | None = None
    deadline_s: float | None = None
    priority: Literal["interactive", "bulk"] = "interactive"

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        if isinstance(self.n_samples, str):
            if self.n_samples != "adaptive":
                raise InvalidArgument(
                    f"n_samples must be a number or 'adaptive', got {self.n_samples!r}"
                )
        elif self.n_samples is not None and self.n_samples < 1:
            raise InvalidArgument(f"n_samples must be at least 1, got {self.n_samples}")
        if self.deadline_s is not None and not 0.001 <= self.deadline_s <= 86_400:
            raise InvalidArgument(
                f"deadline_s must be from 0.001 to 86400 seconds, got {self.deadline_s}"
            )
        if self.priority not in ("interactive", "bulk"):
            raise InvalidArgument(
                f"priority must be 'interactive' or 'bulk', got {self.priority!r}"
            )
        if self.samples != "none" and not self.uncertainty:
            raise InvalidArgument("samples are part of the uncertainty: leave uncertainty=True")
        self._check_gradient()

    def _check_gradient(self) -> None:
        """Refuse a gradient of what the service does not know, or of a changing spread."""
        if self.gradient_of is None:
            return
        known = get_args(GradientScalar)
        if self.gradient_of not in known:
            raise InvalidArgument(f"gradient_of must be one of {known}, got {self.gradient_of!r}")
        if self.n_samples == "adaptive":
            raise InvalidArgument("gradient_of needs a number of n_samples, or all of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which model is meant.

    Attributes:
        model: Name of the model; None = the service's default.
        version: Version, digest or alias; None = the current version.
    """

    model: str | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        """A version belongs to a named model."""
        if self.version is not None and self.model is None:
            raise InvalidArgument(f"version {self.version!r} was given without a model name")

    @property
    def predict_path(self) -> str:
        """Route that predicts with this target."""
        return "/v1/predict" if self.model is None else f"{self.path}/predict"

    @property
    def session_path(self) -> str:
        """Route that opens a session with this target."""
        return "/v1/session" if self.model is None else f"{self.path}/session"

    @property
    def labels_path(self) -> str:
        """Route that takes labels for this target, which must name model and version."""
        return f"{self.path}/labels"

    @property
    def path(self) -> str:
        """Route of the card of this target, which must name a model."""
        if self.model is None:
            raise InvalidArgument("name a model")
        return _card_path(self.model, self.version)


@dataclass(frozen=True, slots=True, eq=False)
class Indexed:
    """A structure and its position in the caller's sequence."""

    index: int
    structure: Structure


def chunks(structures: Sequence[Indexed]) -> Iterator[list[Indexed]]:
    """Split a sequence, in order, into parts that one request can carry."""
    part: list[Indexed] = []
    n_atoms = 0
    for entry in structures:
        n_atoms += entry.structure.n_atoms
        full = len(part) == MAX_STRUCTURES_PER_REQUEST or n_atoms > MAX_ATOMS_PER_REQUEST
        if part and full:
            yield part
            part, n_atoms = [], entry.structure.n_atoms
        part.append(entry)
    if part:
        yield part


def predict_body(
    structures: Sequence[Structure], options: PredictOptions, encoding: Encoding
) -> bytes:
    """Write the body of a predict request."""
    # Said only where it is asked for, so that a service older than gradients can be asked.
    gradient = {} if options.gradient_of is None else {"gradient_of": options.gradient_of}
    document = {
        **evaluation_fields(structures, options, encoding),
        "outputs": _outputs(options),
        "uncertainty": {"samples": options.samples, **gradient},
    }
    return encode_document(document, encoding)


def evaluation_fields(
    structures: Sequence[Structure], options: PredictOptions, encoding: Encoding
) -> dict[str, object]:
    """What every request that evaluates structures says."""
    # Said only where it matters, so that a service older than priorities can be asked.
    priority = {} if options.priority == "interactive" else {"priority": options.priority}
    return {
        **priority,
        "structures": [_structure_document(structure, encoding) for structure in structures],
        "units": {"length": "angstrom", "energy": "eV"},
        "precision": options.precision,
        "n_samples": options.n_samples,
        "deadline_ms": None if options.deadline_s is None else round(options.deadline_s * 1000),
    }


def _structure_document(structure: Structure, encoding: Encoding) -> dict[str, object]:
    return {
        "numbers": structure.numbers.tolist(),
        "positions": encode_array(structure.positions, encoding),
        "cell": None if structure.cell is None else structure.cell.tolist(),
        "pbc": list(structure.pbc),
        "charge": structure.charge,
        "spin_multiplicity": structure.spin_multiplicity,
    }


def _outputs(options: PredictOptions) -> list[str]:
    extra = {
        "stress": options.stress,
        "uncertainty": options.uncertainty,
        "uncertainty_gradient": options.gradient_of is not None,
    }
    return ["energy", "forces", *(name for name, wanted in extra.items() if wanted)]


@lru_cache(maxsize=64)
def _card_path(model: str, version: str | None) -> str:
    path = f"/v1/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe=':')}"
