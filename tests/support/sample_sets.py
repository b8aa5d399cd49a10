"""Small sample sets to put into a store."""

from datetime import UTC, datetime, timedelta

from posterion_store import BlobRef, DatasetEntry, Manifest, SampleEntry, Store

_FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
CARD = b"# A model card\n"


def sample_bytes(number: int, draw: int) -> bytes:
    """Bytes that stand for the parameters of one posterior sample."""
    return f"parameters of draw {draw} of sample set {number}\n".encode() * 8


def put_sample_set(store: Store, name: str = "ethanol", number: int = 1) -> Manifest:
    """Put the blobs of a sample set of two draws and a model card; returns its manifest."""
    refs = [store.put_blob(sample_bytes(number, draw)) for draw in range(2)]
    return make_manifest(refs, store.put_blob(CARD), name=name, number=number)


def publish_sample_set(store: Store, name: str = "ethanol", number: int = 1) -> str:
    """Publish a sample set; returns its digest."""
    return store.publish(put_sample_set(store, name, number))


def make_manifest(refs: list[BlobRef], card: BlobRef, *, name: str, number: int) -> Manifest:
    """Describe a sample set; the number tells one from another."""
    return Manifest(
        name=name,
        created_at=(_FIRST_DAY + timedelta(days=number)).isoformat(),
        description=f"Sample set {number} of a test",
        licence="CC0-1.0",
        method="sghmc",
        software={"posterion": "0.1.0"},
        elements=(1, 6, 8),
        cutoff=4.5,
        periodic=False,
        level_of_theory="PBE/def2-SVP",
        network={"n_features": 8},
        energy_reference={"shifts": {"1": -13.6, "6": -1027.6}, "scale": 0.25},
        samples=tuple(
            SampleEntry(sha256=ref.sha256, size=ref.size, chain=0, draw=draw)
            for draw, ref in enumerate(refs)
        ),
        datasets=(
            DatasetEntry(
                role="train", source="made up", n_frames=10, digest=f"sha256:{number:064x}"
            ),
        ),
        sampler={"step_size": 1e-3, "n_chains": 1},
        diagnostics={"r_hat": 1.01},
        calibration={},
        domain={},
        metrics={"force_mae": 12.5},
        files={"README.md": card},
    )
