"""Posterion's model store: published posterior sample sets, immutable and verifiable.

store = Store.open("models")                    # a directory; or s3://bucket/prefix
manifest = store.manifest(store.resolve("ethanol"))
samples = [store.read_blob(sample) for sample in manifest.samples]
"""

from posterion_store.catalog import VersionEntry
from posterion_store.channel import ChannelEntry
from posterion_store.errors import (
    AlienObject,
    AmbiguousVersion,
    BackendError,
    ChannelContention,
    ChannelError,
    ChannelMoved,
    CorruptObject,
    DamagedObject,
    InvalidInput,
    InvalidManifest,
    InvalidName,
    MissingObject,
    NotFound,
    NothingToRollBack,
    StoreError,
    StoreNotFound,
    StoreReadOnly,
    StoreUnreachable,
    TruncatedObject,
    UnknownBank,
    UnknownVersion,
    UnsafeBackend,
    UnsupportedFormat,
    UnsupportedUrl,
)
from posterion_store.manifest import (
    BlobRef,
    DatasetEntry,
    Manifest,
    SampleEntry,
    Units,
    manifest_digest,
)
from posterion_store.store import Store
from posterion_store.verify import Finding, Report

__all__ = [
    "AlienObject",
    "AmbiguousVersion",
    "BackendError",
    "BlobRef",
    "ChannelContention",
    "ChannelEntry",
    "ChannelError",
    "ChannelMoved",
    "CorruptObject",
    "DamagedObject",
    "DatasetEntry",
    "Finding",
    "InvalidInput",
    "InvalidManifest",
    "InvalidName",
    "Manifest",
    "MissingObject",
    "NotFound",
    "NothingToRollBack",
    "Report",
    "SampleEntry",
    "Store",
    "StoreError",
    "StoreNotFound",
    "StoreReadOnly",
    "StoreUnreachable",
    "TruncatedObject",
    "Units",
    "UnknownBank",
    "UnknownVersion",
    "UnsafeBackend",
    "UnsupportedFormat",
    "UnsupportedUrl",
    "VersionEntry",
    "manifest_digest",
]
