"""What the service says about itself and its models."""

from collections.abc import Mapping
from dataclasses import dataclass

from posterion_client._fields import Node


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelCard:
    """What a model was trained on and how far it was measured to hold.

    Attributes:
        name: Name of the model.
        version: First 16 hex digits of the digest.
        digest: ``sha256:`` and 64 hex digits.
        elements: Atomic numbers it knows.
        cutoff: Radius within which atoms see each other, Angstrom.
        periodic: Whether it describes periodic structures and their stress.
        n_samples: Number of posterior samples.
        document: The whole card as the service sent it: training data, sampler,
            diagnostics, calibration, thresholds, metrics.
    """

    name: str
    version: str
    digest: str
    elements: tuple[int, ...]
    cutoff: float
    periodic: bool
    n_samples: int
    document: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One published version of a model.

    Attributes:
        version: First 16 hex digits of the digest.
        digest: ``sha256:`` and 64 hex digits.
        created_at: When it was published, ISO 8601, UTC.
        aliases: Names that point to it now, e.g. ``stable``.
    """

    version: str
    digest: str
    created_at: str
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServiceInfo:
    """What the service declares about itself.

    Attributes:
        default_model: Name of the model that answers when none is named.
        limits: Largest body, number of structures, atoms and so on.
        document: The whole service document.
    """

    default_model: str
    limits: Mapping[str, int]
    document: Mapping[str, object]


def read_card(document: Node) -> ModelCard:
    """Read the card of one model."""
    return ModelCard(
        name=document["name"].text(),
        version=document["version"].text(),
        digest=document["digest"].text(),
        elements=tuple(element.integer() for element in document["elements"].items()),
        cutoff=document["cutoff"].number(),
        periodic=document["periodic"].boolean(),
        n_samples=document["n_samples"].integer(),
        document=document.mapping(),
    )


def read_cards(document: Node) -> tuple[ModelCard, ...]:
    """Read the list of models."""
    return tuple(read_card(card) for card in document["models"].items())


def read_versions(document: Node) -> tuple[ModelVersion, ...]:
    """Read the list of versions of one model."""
    return tuple(_read_version(version) for version in document["versions"].items())


def _read_version(document: Node) -> ModelVersion:
    return ModelVersion(
        version=document["version"].text(),
        digest=document["digest"].text(),
        created_at=document["created_at"].text(),
        aliases=tuple(alias.text() for alias in document["aliases"].items()),
    )


def read_service(document: Node) -> ServiceInfo:
    """Read the service document."""
    limits = document["limits"]
    return ServiceInfo(
        default_model=document["default_model"].text(),
        limits={name: limits[name].integer() for name in limits.mapping()},
        document=document.mapping(),
    )
