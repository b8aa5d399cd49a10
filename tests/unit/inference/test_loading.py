"""A bank that loads can be evaluated; one that cannot is refused by the name of its fault."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import JsonValue

from posterion.errors import BankInvalid, UnknownModel
from posterion.inference.latent_density_file import DENSITY_FILE
from posterion.inference.loading import load_bank
from posterion.inference.sample_file import encode_sample
from posterion_store import BlobRef, Manifest, SampleEntry, Store
from tests.support.banks import publish_random_bank, random_parameters

Section = dict[str, JsonValue]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def digest(store: Store) -> str:
    return publish_random_bank(store)


def republished(store: Store, digest: str, **changes: object) -> str:
    """Publish the manifest again with other contents, validated anew."""
    document = store.manifest(digest).model_dump(mode="json")
    return store.publish(Manifest.model_validate({**document, **changes}))


def blob_path(store: Store, ref: BlobRef) -> Path:
    (path,) = Path(store.url.removeprefix("file://")).rglob(f"*{ref.sha256}*")
    return path


def test_a_published_bank_loads_bit_for_bit(store: Store, digest: str) -> None:
    bank = load_bank(store, "ethanol")
    assert bank.digest == digest
    assert bank.version == digest.removeprefix("sha256:")[:16]
    assert (bank.name, bank.n_samples, bank.n_chains) == ("ethanol", 4, 2)
    assert bank.parameters.dtype == torch.float32
    assert torch.equal(bank.parameters, random_parameters(4, seed=0))


@pytest.mark.parametrize("pick", [lambda d: d, lambda d: d[7:23], lambda _: "stable"])
def test_a_version_can_be_named_in_every_way(
    store: Store, digest: str, pick: Callable[[str], str]
) -> None:
    assert load_bank(store, "ethanol", pick(digest)).digest == digest


@pytest.mark.parametrize(
    ("name", "version"), [("methanol", None), ("ethanol", "canary"), ("ethanol", "0" * 16)]
)
def test_an_unknown_bank_or_version_is_an_unknown_model(
    store: Store, digest: str, name: str, version: str | None
) -> None:
    with pytest.raises(UnknownModel):
        load_bank(store, name, version)


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_blob_is_refused_by_name(store: Store, digest: str, harm: str) -> None:
    entry = store.manifest(digest).samples[2]
    path = blob_path(store, entry)
    data = bytearray(path.read_bytes())
    path.chmod(0o644)
    if harm == "flip":
        data[-1] ^= 1
        path.write_bytes(data)
    elif harm == "cut":
        path.write_bytes(data[:-1])
    else:
        path.unlink()
    with pytest.raises(BankInvalid, match=f"sample 2 .chain 0, draw 1.*{entry.sha256}"):
        load_bank(store, "ethanol")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x80\x04 a pickle", "not a safetensors file"),
        (encode_sample(np.zeros(3, np.float32)), "float32 parameters of shape"),
        (encode_sample(np.full(3, np.inf, np.float32)), "float32 parameters of shape"),
    ],
)
def test_a_sound_blob_of_something_else_is_refused_by_name(
    store: Store, digest: str, data: bytes, complaint: str
) -> None:
    alien = store.put_blob(data)
    samples = list(store.manifest(digest).samples)
    samples[1] = SampleEntry(sha256=alien.sha256, size=alien.size, chain=9, draw=9)
    other = republished(store, digest, samples=[sample.model_dump() for sample in samples])
    with pytest.raises(BankInvalid, match=f"sample 1 .*{alien.sha256}: .*{complaint}"):
        load_bank(store, "ethanol", other)


@pytest.mark.parametrize("section", ["network", "energy_reference", "calibration", "domain"])
def test_a_broken_section_is_refused_by_name(store: Store, digest: str, section: str) -> None:
    other = republished(store, digest, **{section: {"surprise": 1}})
    with pytest.raises(BankInvalid, match=f"{other} of bank ethanol: {section}: .*surprise"):
        load_bank(store, "ethanol", other)


def test_sections_that_disagree_are_refused(store: Store, digest: str) -> None:
    manifest = store.manifest(digest)
    cases: list[tuple[dict[str, object], str]] = [
        ({"elements": [1, 6]}, r"knows elements \[1, 6, 8\], the manifest says \[1, 6\]"),
        ({"cutoff": 5.0}, r"cutoffs .* must agree, got \(5.0, 4.5, 4.5\)"),
        ({"domain": {**manifest.domain, "cutoff": 4.0}}, r"got \(4.5, 4.5, 4.0\)"),
        (
            {"energy_reference": {**manifest.energy_reference, "shifts": {"1": -1.0}}},
            r"no shift for elements \[6, 8\]",
        ),
        (
            {"samples": [sample.model_dump() for sample in manifest.samples[:3]]},
            "calibration is of 4 samples, the bank has 3",
        ),
        (
            {"samples": [manifest.samples[0].model_dump()]},
            "needs at least 2 samples, got 1",
        ),
    ]
    for changes, complaint in cases:
        other = republished(store, digest, **changes)
        with pytest.raises(BankInvalid, match=complaint):
            load_bank(store, "ethanol", other)


def test_a_bank_without_latent_density_has_none(store: Store, digest: str) -> None:
    assert load_bank(store, "ethanol", digest).latent_density is None


def test_a_latent_density_travels_with_its_bank(store: Store) -> None:
    publish_random_bank(store, with_latent_density=True)
    bank = load_bank(store, "ethanol")
    assert bank.latent_density is not None
    assert bank.latent_density.elements == bank.config.elements
    assert bank.calibration.entries[-1].latent_score_max is not None


def test_a_latent_density_that_is_missing_or_alien_is_refused(store: Store) -> None:
    digest = publish_random_bank(store, with_latent_density=True)
    files = store.manifest(digest).files
    without = {name: ref for name, ref in files.items() if name != DENSITY_FILE}
    alien = {**files, DENSITY_FILE: store.put_blob(encode_sample(np.zeros(3, np.float32)))}
    for contents, complaint in (
        (without, f"calibration needs the file {DENSITY_FILE}"),
        (alien, f"{DENSITY_FILE}, blob sha256:{alien[DENSITY_FILE].sha256}: expected format"),
    ):
        document = {name: ref.model_dump() for name, ref in contents.items()}
        other = republished(store, digest, files=document)
        with pytest.raises(BankInvalid, match=complaint):
            load_bank(store, "ethanol", other)


def test_a_damaged_latent_density_is_refused_by_name(store: Store) -> None:
    digest = publish_random_bank(store, with_latent_density=True)
    path = blob_path(store, store.manifest(digest).files[DENSITY_FILE])
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BankInvalid, match=DENSITY_FILE):
        load_bank(store, "ethanol")


def test_a_bank_of_one_sample_loads_where_its_calibration_needs_no_more(store: Store) -> None:
    publish_random_bank(store, n_samples=1)
    bank = load_bank(store, "ethanol")
    assert (bank.n_samples, bank.calibration.fewest_samples) == (1, 1)
