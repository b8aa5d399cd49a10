"""The recipe that ships is the recipe of the bank that ships, and the bank is sound."""

from pathlib import Path

import pytest

import posterion.bundled
from posterion.bundled import BUNDLED_BANKS, bundled_store
from posterion.training.config import TrainingConfig, load_config
from posterion.training.report_input import sampler_section
from posterion.training.sampler_config import TransferPriorConfig
from posterion_store import Store

MEGABYTE = 1_000_000


@pytest.mark.parametrize("bank", BUNDLED_BANKS)
def test_bundled_recipe_is_the_one_in_the_manifest(bank: str) -> None:
    store = Store.open(bundled_store(), read_only=True)
    manifest = store.manifest(store.resolve(bank))
    config = load_config(Path(posterion.bundled.__path__[0]) / f"{bank}.yaml")
    # The set was published when its section was still called like the one kind there was.
    recorded = {
        "method" if name == "sampler" else name: value for name, value in manifest.sampler.items()
    }
    assert recorded.keys() == sampler_section(config).keys()
    if isinstance(config.prior, TransferPriorConfig):
        # A sample set names its prior's by digest, wherever it was stored.
        prior = recorded["prior"]
        assert isinstance(prior, dict)
        assert str(prior.pop("source")).startswith("sha256:")
        prior["store"] = config.prior.store
    assert TrainingConfig.model_validate(config.model_dump() | recorded) == config
    sizes = config.network.model_dump()
    assert {name: manifest.network[name] for name in sizes} == sizes
    frames = {entry.role: entry.n_frames for entry in manifest.datasets}
    data = config.data
    assert frames == {
        "train": data.n_train,
        "calibration": data.n_calibration,
        "report": data.n_report,
    }


def test_bundled_store_is_sound_and_small() -> None:
    assert Store.open(bundled_store(), read_only=True).verify().ok
    files = [path for path in Path(bundled_store()).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10 * MEGABYTE
