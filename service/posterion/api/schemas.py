"""Which documents a request may be, checked strictly, and how they are described."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StrictBool, WithJsonSchema

from posterion.structures.evaluation import (
    EvaluationOptions,
    GradientScalar,
    Precision,
    Priority,
    SamplesDetail,
)
from posterion.structures.units import EnergyUnit, LengthUnit, UnitSystem

Output = Literal["energy", "forces", "stress", "uncertainty", "uncertainty_gradient"]
DEFAULT_GRADIENT: Final[GradientScalar] = "force_epistemic_rms"

_ROW: Final[dict[str, Any]] = {
    "type": "array",
    "items": {"type": "number"},
    "minItems": 3,
    "maxItems": 3,
}

# What these hold is checked where it becomes arrays: fast, and one structure at a time.
AtomicNumbers = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 118},
            "minItems": 1,
            "description": "Atomic numbers, shape (n_atoms). Give these or symbols, not both.",
        }
    ),
]
Symbols = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "description": "Chemical symbols, shape (n_atoms). Give these or numbers, not both.",
        }
    ),
]
Positions = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "array",
            "items": _ROW,
            "minItems": 1,
            "description": "Shape (n_atoms, 3), in the requested unit of length.",
        }
    ),
]
Cell = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": _ROW, "minItems": 3, "maxItems": 3},
                {"type": "null"},
            ],
            "default": None,
            "description": "Rows are the lattice vectors; required where any pbc is true.",
        }
    ),
]


class WireModel(BaseModel):
    """Base of every part of a request: no coercion, no unknown field."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class StructureDocument(WireModel):
    """One structure, its arrays not yet read."""

    id: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Echoed in the result; defaults to the index as a string."
    )
    numbers: AtomicNumbers = None
    symbols: Symbols = None
    positions: Positions
    cell: Cell = None
    pbc: Annotated[list[StrictBool], Field(min_length=3, max_length=3)] = Field(
        default=[False, False, False], description="Which directions are periodic."
    )
    charge: int = Field(default=0, description="Elementary charges.")
    spin_multiplicity: int = Field(default=1, description="2S + 1.")


class UncertaintyRequest(WireModel):
    """How much of the uncertainty to answer."""

    samples: SamplesDetail = Field(
        default="none",
        description="What to add of each posterior sample: nothing, its energy, or everything.",
    )
    gradient_of: GradientScalar = Field(
        default=DEFAULT_GRADIENT,
        description="Which number the output uncertainty_gradient is the gradient of.",
    )


class UnitsDocument(WireModel):
    """Units of the request and of its reply."""

    length: LengthUnit = "angstrom"
    energy: EnergyUnit = "eV"

    @property
    def system(self) -> UnitSystem:
        """The same as plain data."""
        return UnitSystem(length=self.length, energy=self.energy)


def _sample_count(value: object) -> object:
    """One error at the field itself, where a union would name each of its members."""
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if whole or value is None or (isinstance(value, str) and value == "adaptive"):
        return value
    raise ValueError('expected a whole number of at least 1, "adaptive" or null')


SampleCount = Annotated[
    int | Literal["adaptive"] | None,
    PlainValidator(
        _sample_count,
        json_schema_input_type=Annotated[int, Field(ge=1)] | Literal["adaptive"] | None,
    ),
]


class EvaluationRequest(WireModel):
    """What every request that evaluates structures says."""

    structures: Annotated[list[StructureDocument], Field(min_length=1)]
    units: UnitsDocument = UnitsDocument()
    precision: Precision = Field(
        default="float32", description="float64 uses the reference engine, which is slower."
    )
    n_samples: SampleCount = Field(
        default=None,
        description=(
            "Evaluate only the first n posterior samples; null = all; adaptive = four, and "
            "more only where these leave a flag open."
        ),
    )

    @property
    def fixed_samples(self) -> int | None:
        """The number that was asked for; None = all, or as many as it takes."""
        return self.n_samples if isinstance(self.n_samples, int) else None

    deadline_ms: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Milliseconds after arrival when the answer is worthless."
    )
    priority: Priority = Field(
        default="interactive",
        description=(
            "Who waits: interactive = a simulation for its next step; bulk = a job, whose "
            "structures fill what room interactive ones leave."
        ),
    )


class PredictRequest(EvaluationRequest):
    """The document of a predict request."""

    outputs: Annotated[list[Output], Field(min_length=1, max_length=5)] = Field(
        default=["energy", "forces", "uncertainty"],
        description="Result fields to compute; the others are null.",
    )
    uncertainty: UncertaintyRequest = UncertaintyRequest()

    @property
    def options(self) -> EvaluationOptions:
        """The part that batches are formed by."""
        return EvaluationOptions(
            precision=self.precision,
            n_samples=self.fixed_samples,
            adaptive=self.n_samples == "adaptive",
            stress="stress" in self.outputs,
            uncertainty="uncertainty" in self.outputs,
            samples=self.uncertainty.samples,
            gradient_of=self.uncertainty.gradient_of
            if "uncertainty_gradient" in self.outputs
            else None,
        )


STRUCTURE_FIELDS: Final = frozenset(StructureDocument.model_fields)
