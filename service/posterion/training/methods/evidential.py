"""Deep evidential regression: one network that says itself what it does not know."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from posterion.training.likelihood import EvidentialForces
from posterion.training.method_config import EvidentialConfig
from posterion.training.methods.optimized import OptimizedNetworks


@dataclass(frozen=True, slots=True)
class EvidentialNetwork(OptimizedNetworks):
    """One network with an evidential noise readout; see `Method`.

    Attributes:
        settings: Weight of the regulariser.
    """

    settings: EvidentialConfig

    @property
    def likelihood(self) -> EvidentialForces:
        """See `Method`."""
        return EvidentialForces(self.config.likelihood.residual, self.settings.regularization)

    @property
    def identity(self) -> Mapping[str, JsonValue]:
        """See `Method`."""
        return {"optimizer": "amsgrad", "regularization": self.settings.regularization}

    @property
    def meaning(self) -> str:
        """See `Method`."""
        return (
            "One network that states evidence for its forces. The epistemic part of the "
            "uncertainty is its own statement, and the energy has none."
        )
