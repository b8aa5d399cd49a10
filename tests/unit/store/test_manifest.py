"""Equal manifests have equal bytes, and a manifest that cannot be right is refused."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from posterion_store import BlobRef, InvalidManifest, Manifest, UnsupportedFormat, manifest_digest
from posterion_store.canonical_json import decode, encode
from posterion_store.manifest import parse_manifest, to_bytes
from posterion_store.migrations import Format, upgrade
from tests.support.sample_sets import make_manifest

# The digest of the manifest below: it changes only if stored manifests lose their names.
FROZEN_DIGEST = "sha256:a44b92c76d85b934b932ba45bd1bdd914cbfd7a40cdb7857ba3a494a8ef9f3ae"

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)
json_objects = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=5
)


def manifest(**changes: object) -> Manifest:
    ref = BlobRef(sha256="a" * 64, size=3)
    document = make_manifest([ref], ref, name="ethanol", number=1).model_dump(mode="json")
    return Manifest.model_validate({**document, **changes})


@settings(max_examples=30)
@given(json_objects)
def test_canonical_json_reads_back_to_the_same_document(document: dict[str, JsonValue]) -> None:
    assert decode(encode(document)) == document
    assert encode(decode(encode(document))) == encode(document)


@settings(max_examples=30)
@given(json_objects, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(document: dict[str, JsonValue], random: Random) -> None:
    keys = list(document)
    random.shuffle(keys)
    assert encode({key: document[key] for key in keys}) == encode(document)


def test_canonical_json_has_one_written_form() -> None:
    document: dict[str, JsonValue] = {"b": [1, 1.0, 1e-7, 0.1], "a": "Å\n", "c": None}
    assert encode(document) == '{"a":"Å\\n","b":[1,1.0,1e-07,0.1],"c":null}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused_at_its_place(value: float) -> None:
    with pytest.raises(ValueError, match="/metrics/coverage/1: expected a finite number"):
        encode({"metrics": {"coverage": [0.9, value]}})
    with pytest.raises(ValidationError, match="/metrics/coverage: expected a finite number"):
        manifest(metrics={"coverage": value})


@pytest.mark.parametrize(
    "data",
    [b"", b"[1]", b'{"a":NaN}', b'{"a":1,"a":2}', b"\xff{}", b'{"a":', b"[" * 100_000],
)
def test_ambiguous_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(data)


def test_a_manifest_reads_back_equal_with_the_same_digest() -> None:
    first = manifest()
    again = parse_manifest(to_bytes(first), where="here")
    assert again == first
    assert manifest_digest(again) == manifest_digest(first)


def test_the_digest_of_a_manifest_is_stable_between_releases() -> None:
    assert manifest_digest(manifest()) == FROZEN_DIGEST


@pytest.mark.parametrize(
    "changes",
    [{"cutoff": 4.500000000000001}, {"description": ""}, {"periodic": True}, {"sampler": {"a": 1}}],
)
def test_any_change_changes_the_digest(changes: dict[str, object]) -> None:
    assert manifest_digest(manifest(**changes)) != manifest_digest(manifest())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "/surprise: Extra inputs"),
        ({"name": "../x"}, "/name: String should match"),
        ({"created_at": "2025-01-01T00:00:00"}, "/created_at: .*UTC"),
        ({"elements": [8, 1, 6]}, r"/elements: .*write \[1, 6, 8\]"),
        ({"elements": [1, 1]}, r"/elements: .*write \[1\]"),
        ({"elements": [119]}, "/elements/0"),
        ({"cutoff": 0}, "/cutoff"),
        ({"cutoff": 1e400}, "/cutoff"),
        ({"samples": []}, "/samples"),
        (
            {"samples": [{"sha256": "a" * 64, "size": 1, "chain": 0, "draw": 7}] * 2},
            "draw 7 of chain 0",
        ),
        (
            {"samples": [{"sha256": "A" * 64, "size": 1, "chain": 0, "draw": 0}]},
            "/samples/0/sha256",
        ),
        ({"units": {"length": "bohr", "energy": "eV"}}, "/units/length"),
        ({"format_version": 0}, "format_version of at least 1, got 0"),
        ({"format_version": "1"}, "format_version of at least 1, got '1'"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, object], message: str) -> None:
    data = json.dumps({**manifest().model_dump(mode="json"), **changes}).encode()
    if changes == {"cutoff": 1e400}:
        data = data.replace(b"Infinity", b"1e400")
    with pytest.raises(InvalidManifest, match=message) as caught:
        parse_manifest(data, where="manifests/x.json")
    assert caught.value.detail.startswith("manifests/x.json: ")


def test_a_manifest_of_a_newer_release_says_what_to_do() -> None:
    data = encode({**manifest().model_dump(mode="json"), "format_version": 2, "new": True})
    with pytest.raises(UnsupportedFormat, match=r"format version 2.*up to 1; install a newer"):
        parse_manifest(data, where="here")


def test_an_old_document_passes_through_every_step_in_order() -> None:
    form = Format(
        kind="manifest",
        current=3,
        steps={
            1: lambda old: {**old, "path": [1]},
            2: lambda old: (
                {**old, "path": [*old["path"], 2]} if isinstance(old["path"], list) else old
            ),
        },
    )
    upgraded = upgrade({"format_version": 1, "kept": "x"}, form, where="here")
    assert upgraded == {"format_version": 3, "kept": "x", "path": [1, 2]}
    current: dict[str, JsonValue] = {"format_version": 3}
    assert upgrade(current, form, where="here") == current


def test_a_version_whose_step_was_dropped_is_refused() -> None:
    form = Format(kind="manifest", current=3, steps={2: lambda old: old})
    with pytest.raises(UnsupportedFormat, match="format version 1, this release reads from 2 to 3"):
        upgrade({"format_version": 1}, form, where="here")


def test_a_sample_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        manifest().samples[0].size = 1  # type: ignore[misc]
