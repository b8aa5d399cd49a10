"""Which method carries out which kind of configuration."""

from collections.abc import Callable, Mapping
from typing import Final

from posterion.training.config import TrainingConfig
from posterion.training.methods.dropout import DroppedNetworks
from posterion.training.methods.evidential import EvidentialNetwork
from posterion.training.methods.laplace import LastLayerLaplace
from posterion.training.methods.latent_mixture import LatentMixture
from posterion.training.methods.mcmc import MarkovChains
from posterion.training.methods.optimized import OptimizedNetworks
from posterion.training.methods.protocol import Method

METHODS: Final[Mapping[str, Callable[..., Method]]] = {
    "deep-ensemble": OptimizedNetworks,
    "evidential": EvidentialNetwork,
    "last-layer-laplace": LastLayerLaplace,
    "latent-mixture": LatentMixture,
    "mc-dropout": DroppedNetworks,
    "mean-variance": OptimizedNetworks,
    "sghmc": MarkovChains,
    "baoa": MarkovChains,
}
"""Each is made from the run and the section that names it."""


def method_of(config: TrainingConfig) -> Method:
    """The method that a configuration names."""
    return METHODS[config.method.kind](config, config.method)
