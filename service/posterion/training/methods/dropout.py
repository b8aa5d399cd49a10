"""Monte Carlo dropout: one network, trained and published with units switched off at random.

A dropped network is the same network with other parameters (`posterion.network.input_units`),
so each published sample is one fixed mask: its forces are the gradient of its energy, and the
same in every step of a trajectory. Gal and Ghahramani, ICML 2016.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import JsonValue
from torch import Tensor

from posterion.network.functional import NetworkFunction
from posterion.training.method_config import McDropoutConfig
from posterion.training.methods.optimized import OptimizedNetworks, how_it_ended
from posterion.training.methods.protocol import BankSamples, FinishedGroup, TrainedOn
from posterion.training.run_parts import RunParts


class UnitDropout:
    """Draws masks that drop every unit with the same probability; see `Masks`.

    What is kept is divided by the probability to be kept, so the mean over masks is 1.

    Args:
        input_units: Unit that each parameter reads, int64, ``(n_parameters,)``; 0 for none.
        rate: Probability that a unit is dropped, in (0, 1).
    """

    def __init__(self, input_units: Tensor, rate: float) -> None:
        self._units = input_units
        self._n_units = int(input_units.max())
        self._rate = rate

    def draw(self, n_members: int, generator: torch.Generator) -> Tensor:
        """See `Masks`."""
        uniform = torch.rand((n_members, self._n_units), generator=generator, dtype=torch.float64)
        kept = (uniform >= self._rate).to(torch.float64) / (1.0 - self._rate)
        return torch.cat([kept.new_ones((n_members, 1)), kept], dim=1)[:, self._units]


@dataclass(frozen=True, slots=True)
class DroppedNetworks(OptimizedNetworks):
    """Fixed masks of one network; see `Method`.

    Attributes:
        settings: Rate, which units, and the masks that are published.
    """

    settings: McDropoutConfig

    @property
    def identity(self) -> Mapping[str, JsonValue]:
        """See `Method`."""
        return {
            "optimizer": "amsgrad",
            "dropout": self.settings.rate,
            "units": self.settings.units,
        }

    @property
    def outcome(self) -> str:
        """See `Method`."""
        return f"{self.settings.n_samples} masks of one network"

    @property
    def meaning(self) -> str:
        """See `Method`."""
        return (
            "One network with different units switched off in each sample. The spread of the "
            "samples is the epistemic part of the uncertainty."
        )

    def masks(self, parts: RunParts) -> UnitDropout:
        """A mask per step, from the run's generator."""
        return UnitDropout(parts.input_units(self.settings.units), self.settings.rate)

    def bank(self, groups: Sequence[FinishedGroup], trained_on: TrainedOn) -> BankSamples:
        """See `Method`."""
        (group,) = groups
        function = NetworkFunction(
            trained_on.network, trained_on.reference, dtype=torch.float32, device="cpu"
        )
        masks = UnitDropout(function.input_units(self.settings.units), self.settings.rate)
        generator = torch.Generator().manual_seed(self.settings.seed)
        average = group.state["average"]
        drawn = masks.draw(self.settings.n_samples, generator)
        return BankSamples(
            parameters=average * drawn.to(average.dtype),
            origin=tuple((group.chains[0], draw) for draw in range(self.settings.n_samples)),
            diagnostics=how_it_ended(groups),
        )
