"""Stores to test: one in memory, one in a directory."""

import os
import shutil
from pathlib import Path

import pytest

from posterion_store import Store
from tests.support.sample_sets import publish_sample_set


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A fresh store on each kind of storage that needs no server."""
    return Store.open("memory://" if request.param == "memory" else tmp_path / "store")


@pytest.fixture
def local(tmp_path: Path) -> Store:
    """A fresh store in a directory."""
    return Store.open(tmp_path / "store")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No unit test cuts the power; the one about durability records the calls."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def digest(local: Store) -> str:
    """The digest of a sample set that is ``stable`` in the directory."""
    digest = publish_sample_set(local)
    local.promote("ethanol", digest, by="ann")
    return digest


@pytest.fixture
def mirror(tmp_path: Path, digest: str, local: Store) -> Store:
    """A copy of the store, made while it was whole."""
    shutil.copytree(local.url, tmp_path / "mirror")
    return Store.open(tmp_path / "mirror", read_only=True)
