"""What a manifest says: everything about a sample set but the numbers themselves.

A manifest is immutable and its name is the SHA-256 of its canonical JSON, so two sample
sets are the same exactly if their digests are, and a changed manifest cannot keep its name.
"""

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from posterion_store import canonical_json
from posterion_store.errors import InvalidManifest
from posterion_store.migrations import MANIFEST_FORMAT, upgrade
from posterion_store.names import BankName, Digest, FileName, Sha256, UtcTimestamp, digest_of

AtomicNumber = Annotated[int, Field(ge=1, le=118)]
Count = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    """A part of a manifest: immutable, no unknown fields, no coercion from strings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BlobRef(_Frozen):
    """The name of some bytes.

    Attributes:
        sha256: 64 hexadecimal digits.
        size: Number of bytes.
    """

    sha256: Sha256
    size: Count


class SampleEntry(BlobRef):
    """One posterior sample: where its parameters lie and where it was drawn.

    Attributes:
        chain: Index of the Markov chain.
        draw: Index of the draw within the chain.
    """

    chain: Count
    draw: Count


class DatasetEntry(_Frozen):
    """One set of frames and what it was used for.

    Attributes:
        role: ``train``, ``calibration`` or ``report``; the three are disjoint.
        source: Where the frames come from, in words.
        n_frames: Number of frames.
        digest: Digest of the frames.
    """

    role: Literal["train", "calibration", "report"]
    source: str
    n_frames: Annotated[int, Field(ge=1)]
    digest: Digest


class Units(_Frozen):
    """The units of every number in the sample set."""

    length: Literal["angstrom"] = "angstrom"
    energy: Literal["eV"] = "eV"


class Manifest(_Frozen):
    """The immutable description of a sample set.

    Attributes:
        format_version: Version of this format.
        name: Name of the bank.
        created_at: When it was made, ISO 8601 in UTC.
        description: What it is, in a sentence or two.
        licence: Terms of use, e.g. an SPDX identifier.
        method: How the samples were drawn, e.g. ``sghmc``.
        software: Name to version of the software that drew them.
        units: Units of all numbers.
        elements: Atomic numbers it was trained on, increasing.
        cutoff: Radius of a neighbourhood, angstrom.
        periodic: Whether it was trained on periodic structures and answers stress.
        level_of_theory: Of the training data, e.g. ``PBE/def2-SVP``.
        network: Configuration of the network.
        energy_reference: Energies per element and scales.
        samples: The posterior samples, in the order they are evaluated.
        datasets: What it was trained, calibrated and reported on.
        sampler: Settings of the sampler.
        diagnostics: Temperatures, R-hat, effective sample sizes, ...
        calibration: The fitted calibration.
        domain: The fitted domain of training.
        metrics: Errors and coverages on the report set.
        files: Further files by relative name: the model card and its pictures.
    """

    format_version: Literal[1] = 1
    name: BankName
    created_at: UtcTimestamp
    description: str
    licence: str
    method: Annotated[str, Field(min_length=1)]
    software: dict[str, str]
    units: Units = Units()
    elements: Annotated[tuple[AtomicNumber, ...], Field(min_length=1)]
    cutoff: Annotated[FiniteFloat, Field(gt=0)]
    periodic: bool
    level_of_theory: str
    network: dict[str, JsonValue]
    energy_reference: dict[str, JsonValue]
    samples: Annotated[tuple[SampleEntry, ...], Field(min_length=1)]
    datasets: tuple[DatasetEntry, ...]
    sampler: dict[str, JsonValue]
    diagnostics: dict[str, JsonValue]
    calibration: dict[str, JsonValue]
    domain: dict[str, JsonValue]
    metrics: dict[str, JsonValue]
    files: dict[FileName, BlobRef] = Field(default_factory=dict)

    @field_validator("elements")
    @classmethod
    def _elements_increase(cls, elements: tuple[int, ...]) -> tuple[int, ...]:
        increasing = tuple(sorted(set(elements)))
        if elements != increasing:
            raise ValueError(f"elements must increase: write {list(increasing)}")
        return elements

    @field_validator("samples")
    @classmethod
    def _draws_differ(cls, samples: tuple[SampleEntry, ...]) -> tuple[SampleEntry, ...]:
        draws = [(sample.chain, sample.draw) for sample in samples]
        twice = sorted({draw for draw in draws if draws.count(draw) > 1})
        if twice:
            chain, draw = twice[0]
            raise ValueError(f"each draw may appear once: draw {draw} of chain {chain} is repeated")
        return samples

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        to_bytes(self)
        return self

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """Every blob the sample set needs, samples first."""
        return (*self.samples, *self.files.values())


def to_bytes(manifest: Manifest) -> bytes:
    """Write a manifest in its canonical form."""
    return canonical_json.encode(manifest.model_dump(mode="json"))


def manifest_digest(manifest: Manifest) -> str:
    """Digest a manifest has, or will have once published."""
    return digest_of(to_bytes(manifest))


def parse_manifest(data: bytes, *, where: str) -> Manifest:
    """Read a manifest of any known format version.

    Args:
        data: The bytes as stored.
        where: The object it was read from, for messages.

    Raises:
        InvalidManifest: If a field is wrong; every wrong field is named.
        UnsupportedFormat: If it was written by a newer release.
    """
    try:
        document = canonical_json.decode(data)
        return Manifest.model_validate(upgrade(document, MANIFEST_FORMAT, where=where))
    except ValidationError as error:
        faults = "; ".join(
            f"/{'/'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        )
        raise InvalidManifest(f"{where}: not a manifest: {faults}") from error
    except ValueError as error:
        raise InvalidManifest(f"{where}: not a manifest: {error}") from error
