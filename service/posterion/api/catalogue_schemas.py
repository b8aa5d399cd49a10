"""How the service document, the cards and the probes are described."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from posterion.api.reply_schemas import Digest, Version
from posterion.structures.units import EnergyUnit, LengthUnit

JsonObject = dict[str, Any]

_DESCRIBED: Final = ConfigDict(extra="forbid", frozen=True)


class CardUnits(BaseModel):
    """Units of every number in a card."""

    model_config = _DESCRIBED

    length: Literal["angstrom"]
    energy: Literal["eV"]


class Card(BaseModel):
    """What a caller should know about one version before trusting it."""

    model_config = _DESCRIBED

    name: str
    version: Version
    digest: Digest
    description: str
    elements: list[int] = Field(description="Atomic numbers of the training data.")
    cutoff: float
    periodic: bool
    level_of_theory: str
    datasets: list[JsonObject]
    method: str
    sampler: JsonObject
    diagnostics: JsonObject
    n_samples: Annotated[int, Field(ge=1)]
    n_chains: Annotated[int, Field(ge=1)]
    calibration: JsonObject
    thresholds: JsonObject
    metrics: JsonObject
    engines: dict[str, str] = Field(
        description="Engine by precision; empty while this version is not in memory."
    )
    engine_deviations: dict[str, float] = Field(
        description=(
            "Largest difference of a force component from the float64 reference in the engine's "
            "self-test, relative to the root mean square of the forces, by precision."
        )
    )
    created_at: str
    licence: str
    aliases: list[str]
    units: CardUnits


class Cards(BaseModel):
    """The served models."""

    model_config = _DESCRIBED

    default_model: str
    models: list[Card]


class VersionEntry(BaseModel):
    """One published version."""

    model_config = _DESCRIBED

    version: Version
    digest: Digest
    created_at: str
    aliases: list[str]


class Versions(BaseModel):
    """The published versions of one model, newest first."""

    model_config = _DESCRIBED

    name: str
    versions: list[VersionEntry]


class DefaultUnits(BaseModel):
    """Units of a request that names none."""

    model_config = _DESCRIBED

    length: LengthUnit
    energy: EnergyUnit


class AcceptedUnits(BaseModel):
    """Units a request may use."""

    model_config = _DESCRIBED

    length: list[LengthUnit]
    energy: list[EnergyUnit]
    default: DefaultUnits


class Limits(BaseModel):
    """Limits a request must keep."""

    model_config = _DESCRIBED

    body_bytes: int
    structures_per_request: int
    atoms_per_structure: int
    edges_per_request: int
    edges_per_structure: int
    json_depth: int
    sessions: int
    frame_bytes: int


class SessionsOffer(BaseModel):
    """Where sessions are opened, and what is spoken there."""

    model_config = _DESCRIBED

    routes: list[str]
    subprotocol: str
    layout: int


class ServiceDocument(BaseModel):
    """What a client can ask for, and within which limits."""

    model_config = _DESCRIBED

    service: Literal["posterion"]
    software_version: str
    api_versions: list[str]
    default_model: str
    models: list[str]
    units: AcceptedUnits
    outputs: list[str]
    samples: list[str]
    precisions: list[str]
    limits: Limits
    encodings: list[str]
    sessions: SessionsOffer


class Probe(BaseModel):
    """A probe that passed."""

    model_config = _DESCRIBED

    status: Literal["ok"]
    detail: str
