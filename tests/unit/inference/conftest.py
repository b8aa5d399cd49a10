"""One bank of random parameters for all tests of inference, loaded once."""

import pytest

from posterion.inference.loading import SampleBank
from posterion.inference.predictor import Predictor
from tests.support.banks import random_bank


@pytest.fixture(scope="session")
def bank() -> SampleBank:
    return random_bank()


@pytest.fixture(scope="session")
def predictor(bank: SampleBank) -> Predictor:
    return Predictor(bank)
