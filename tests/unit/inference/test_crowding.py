"""A structure too crowded to list its pairs is refused before they are listed."""

import numpy as np
import pytest

from posterion.errors import StructureTooLarge
from posterion.inference.loading import load_bank
from posterion.inference.predictor import Predictor
from posterion.structures.structure import Structure
from posterion_store import Store
from tests.support.banks import publish_random_bank


def test_crowded_structure_is_too_large(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(tmp_path_factory.mktemp("store"))
    publish_random_bank(store, name="ethanol", n_samples=2, seed=0)
    predictor = Predictor(load_bank(store, "ethanol"))
    side = np.arange(14) * 0.32
    grid = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3)
    crowd = Structure(atomic_numbers=np.full(len(grid), 6), positions=grid)

    def listed(*_: object) -> None:
        raise AssertionError("the pairs were listed")

    monkeypatch.setattr("posterion.inference.predictor.build_graph", listed)
    with pytest.raises(StructureTooLarge, match="edges"):
        predictor.prepare(crowd)
