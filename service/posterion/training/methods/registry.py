"""Which method carries out which kind of configuration."""

from collections.abc import Callable, Mapping
from typing import Final

from posterion.training.config import TrainingConfig
from posterion.training.methods.mcmc import MarkovChains
from posterion.training.methods.protocol import Method

_METHODS: Final[Mapping[str, Callable[[TrainingConfig], Method]]] = {
    "sghmc": MarkovChains,
    "baoa": MarkovChains,
}


def method_of(config: TrainingConfig) -> Method:
    """The method that a configuration names."""
    return _METHODS[config.method.kind](config)
