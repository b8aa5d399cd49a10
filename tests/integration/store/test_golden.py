"""A store written by the first release stays readable, whatever is released later.

The files under ``tests/data/store_format_1`` are never rewritten: a change of the format
adds a version, an upgrade step and another such store.
"""

import hashlib
import shutil
from pathlib import Path

from posterion_store import Store

GOLDEN = Path(__file__).parents[2] / "data" / "store_format_1"
FIRST = "sha256:818c08544f97dd3422f21548315c41419760bfa16779711a290af187b19340c4"
SECOND = "sha256:fb3dfcec0ae2c445bc63f556d5b3bca5eb73ca119968ac6bf4ea22e168f532f0"


def test_the_catalog_of_format_1_reads_as_it_was_written() -> None:
    store = Store.open(GOLDEN, read_only=True)
    assert store.names() == ["ethanol"]
    assert [(v.digest, v.created_at) for v in store.versions("ethanol")] == [
        (FIRST, "2025-01-02T00:00:00Z"),
        (SECOND, "2025-01-03T00:00:00Z"),
    ]
    assert store.aliases("ethanol") == {"candidate": SECOND, "stable": FIRST}
    assert store.heads()["ethanol", "stable"] == (3, FIRST)
    moves = [(e.seq, e.action, e.manifest, e.prev, e.by) for e in store.history("ethanol")]
    assert moves == [
        (1, "promote", FIRST, None, "ann"),
        (2, "promote", SECOND, FIRST, "ann"),
        (3, "rollback", FIRST, SECOND, "bob"),
    ]


def test_a_manifest_of_format_1_reads_as_it_was_written() -> None:
    store = Store.open(GOLDEN, read_only=True)
    manifest = store.manifest(store.resolve("ethanol"))
    assert (manifest.name, manifest.method, manifest.cutoff) == ("ethanol", "sghmc", 4.5)
    assert manifest.elements == (1, 6, 8)
    assert manifest.energy_reference == {"shifts": {"1": -13.6, "6": -1027.6}, "scale": 0.25}
    assert [(s.chain, s.draw, s.size) for s in manifest.samples] == [(0, 0, 296), (0, 1, 296)]
    data = [store.read_blob(blob) for blob in manifest.blobs]
    assert data[0].startswith(b"parameters of draw 0 of sample set 1\n")
    assert data[2] == b"# A model card\n"
    stored = (GOLDEN / "manifests" / f"{FIRST[7:]}.json").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == FIRST[7:]


def test_a_store_of_format_1_is_sound_and_can_be_continued(tmp_path: Path) -> None:
    assert Store.open(GOLDEN, read_only=True).verify().findings == ()
    shutil.copytree(GOLDEN, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert store.publish(store.manifest(SECOND)) == SECOND
    entry = store.promote("ethanol", SECOND, by="ann")
    assert (entry.seq, entry.prev) == (4, FIRST)
    assert store.verify().findings == ()
