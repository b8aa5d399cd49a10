"""A bank whose origin is not what this version would write is refused in words."""

from pathlib import Path

import pytest

from posterion.errors import ConfigurationError
from posterion.training.config import TrainingConfig
from posterion.training.job import HISTORY_FILE, train
from posterion.training.recalibration import recalibrate
from posterion.training.sampler_config import TransferPriorConfig
from posterion_store import Manifest, Store
from tests.support.data import morse_frames, write_extxyz
from tests.support.training_runs import N_DATA, training_config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    folder = tmp_path_factory.mktemp("data")
    write_extxyz(folder / "water.extxyz", morse_frames(N_DATA + 60, seed=4))
    return training_config((folder / "water.extxyz",), method={"kind": "mean-variance"}, n_chains=1)


@pytest.fixture(scope="module")
def published(config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("run")
    store = Store.open(str(folder / "store"))
    train(config, store=store, folder=folder / "run", report=lambda progress: None)
    return store


def republish(store: Store, **changes: object) -> Store:
    """The same store, with a newer version whose manifest is changed."""
    manifest = store.manifest(store.resolve("water"))
    changed = Manifest.model_validate(manifest.model_dump() | changes)
    store.promote("water", store.publish(changed), alias="changed", by="tests")
    return store


def test_without_the_history_of_its_chains(
    config: TrainingConfig, published: Store, tmp_path: Path
) -> None:
    files = dict(published.manifest(published.resolve("water")).files)
    del files[HISTORY_FILE]
    store = republish(published, files=files)
    with pytest.raises(ConfigurationError, match=r"has no history\.png.*not published by"):
        recalibrate(config, store=store, folder=tmp_path, alias="changed")


def test_with_settings_of_another_version(
    config: TrainingConfig, published: Store, tmp_path: Path
) -> None:
    sampler = dict(published.manifest(published.resolve("water")).sampler)
    sampler["method"] = {"kind": "mean-variance", "warmth": 3.0}
    store = republish(published, sampler=sampler)
    with pytest.raises(ConfigurationError, match=r"does not know .*warmth.*version that trained"):
        recalibrate(config, store=store, folder=tmp_path, alias="changed")


def test_what_nothing_contradicts_is_published_again(
    config: TrainingConfig, published: Store, tmp_path: Path
) -> None:
    before = published.manifest(published.resolve("water"))
    again = recalibrate(config, store=published, folder=tmp_path)
    assert published.manifest(again.digest).samples == before.samples


def test_the_source_of_a_transfer_prior_need_not_be_there(
    config: TrainingConfig, published: Store, tmp_path: Path
) -> None:
    """It was needed to draw the samples, not to judge them."""
    root = tmp_path / "store"
    changed = config.model_copy(
        update={
            "name": "transferred",
            "prior": TransferPriorConfig(store=published.url, bank="water", std=1.0),
        }
    )
    store = Store.open(str(root))
    train(changed, store=store, folder=tmp_path / "run", report=lambda progress: None)
    nowhere = TransferPriorConfig(store=str(tmp_path / "nowhere"), bank="water", std=1.0)
    again = recalibrate(
        changed.model_copy(update={"prior": nowhere}), store=store, folder=tmp_path / "card"
    )
    versions = [entry.digest for entry in store.versions("transferred")]
    assert again.digest in versions
    before, after = (store.manifest(one) for one in versions[:2])
    assert before.samples == after.samples
    assert before.sampler == after.sampler
    other = TransferPriorConfig(store=str(tmp_path / "nowhere"), bank="water", std=7.0)
    with pytest.raises(ConfigurationError, match=r"prior .*7\.0"):
        recalibrate(changed.model_copy(update={"prior": other}), store=store, folder=tmp_path / "c")
    sizes = changed.network.model_copy(update={"n_features": 16})
    with pytest.raises(ConfigurationError, match="network sizes"):
        recalibrate(
            changed.model_copy(update={"prior": nowhere, "network": sizes}),
            store=store,
            folder=tmp_path / "d",
        )
    with pytest.raises(ConfigurationError, match="was not drawn with a transfer prior"):
        recalibrate(
            config.model_copy(update={"prior": nowhere}), store=published, folder=tmp_path / "x"
        )
