"""Names cannot leave their folder, and every text means one kind of thing."""

import pytest

from posterion_store import BlobRef, InvalidName, Store, StoreError
from posterion_store.layout import belongs, blob_key, manifest_key
from posterion_store.names import check_alias, check_name, to_utc_timestamp
from tests.support.sample_sets import make_manifest

TRAVERSALS = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "/etc",
    "a\n",
    "a\x00",
    "Ä",
    "A",
    "-a",
    "a" * 64,
]


@pytest.mark.parametrize("name", TRAVERSALS)
def test_a_bank_name_that_could_leave_its_folder_is_refused_and_quoted(name: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check_name(name)
    assert repr(name) in caught.value.detail


@pytest.mark.parametrize("alias", [*TRAVERSALS, "1st", "deadbeef", "a" * 33])
def test_an_alias_is_no_path_and_no_version(alias: str) -> None:
    with pytest.raises(InvalidName):
        check_alias(alias)


@pytest.mark.parametrize("name", TRAVERSALS)
def test_every_operation_by_name_refuses_a_traversal(name: str, store: Store) -> None:
    for operation in (
        store.versions,
        store.aliases,
        store.resolve,
        store.history,
        store.verify,
        lambda text: store.rollback(text, by="me"),
        lambda text: store.promote(text, "0123456789abcdef", by="me"),
        lambda text: store.history("ethanol", text),
    ):
        with pytest.raises(InvalidName):
            operation(name)


@pytest.mark.parametrize(
    "digest", ["sha256:../../x", "0" * 64, "sha256:" + "0" * 63, "md5:" + "0" * 64]
)
def test_a_key_is_made_only_of_digests(digest: str) -> None:
    with pytest.raises(InvalidName):
        manifest_key(digest)


@pytest.mark.parametrize("sha256", ["../../x", "0" * 63, "A" * 64, "sha256:" + "0" * 64])
def test_a_blob_key_is_made_only_of_64_digits(sha256: str) -> None:
    with pytest.raises(InvalidName):
        blob_key(sha256)


@pytest.mark.parametrize("file", ["../x", "/x", "a//b", "a/../b", ".hidden", "a/.b", "x\n", "a\\b"])
def test_a_file_of_a_manifest_cannot_be_a_traversal(file: str) -> None:
    ref = BlobRef(sha256="0" * 64, size=1)
    document = make_manifest([ref], ref, name="ethanol", number=1).model_dump()
    with pytest.raises(ValueError, match="files"):
        type(make_manifest([ref], ref, name="ethanol", number=1)).model_validate(
            {**document, "files": {file: ref}}
        )


@pytest.mark.parametrize(
    "key",
    [
        "blobs/sha256/" + "0" * 63,
        "blobs/sha256/" + "g" * 64,
        "manifests/" + "0" * 64,
        "channels/ethanol/stable/1.json",
        "channels/ethanol/stable/000000000000.json",
        "versions/ethanol/20251301T000000000000Z-" + "0" * 64,
        "versions/Ethanol/20250101T000000000000Z-" + "0" * 64,
        "README.md",
    ],
)
def test_what_is_no_key_has_no_place(key: str) -> None:
    assert not belongs(key)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("2025-03-01T12:00:00+00:00", "2025-03-01T12:00:00Z"),
        ("2025-03-01T12:00:00Z", "2025-03-01T12:00:00Z"),
        ("2025-03-01T12:00:00.500000Z", "2025-03-01T12:00:00.500000Z"),
    ],
)
def test_a_time_has_one_spelling(given: str, written: str) -> None:
    assert to_utc_timestamp(given) == written
    assert to_utc_timestamp(written) == written


@pytest.mark.parametrize("text", ["yesterday", "2025-03-01T12:00:00", "2025-03-01T12:00:00+01:00"])
def test_a_time_that_is_not_utc_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="UTC"):
        to_utc_timestamp(text)


def test_store_errors_survive_a_process_boundary() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(InvalidName("why", key="what")))  # noqa: S301 - our own bytes
    assert isinstance(error, InvalidName)
    assert (error.detail, error.key, error.code) == ("why", "what", "invalid-name")


def test_every_error_has_its_own_code() -> None:
    def below(kind: type[StoreError]) -> list[type[StoreError]]:
        return [kind, *(each for child in kind.__subclasses__() for each in below(child))]

    codes = [kind.code for kind in below(StoreError)]
    assert len(codes) == len(set(codes)) > 20
