"""Where a run starts: its network, its energies, and the centre of its prior."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from posterion.network.config import EnergyReference, NetworkConfig, NoiseKind
from posterion.structures.ase_io import LabelledFrame
from posterion.training.config import TrainingConfig
from posterion.training.normalization import fit_energy_reference, network_config
from posterion.training.sampler_config import TransferPriorConfig
from posterion.training.transfer import (
    TransferSource,
    load_transfer_source,
    transfer_network,
    transfer_reference,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StartingPoint:
    """What is settled before the first step.

    Attributes:
        network: Network configuration.
        reference: Energy reference.
        transfer: Sample set that prior and start are centred on, if any.
        prior_identity: The prior as far as it shapes what is sampled: a sample set by its
            digest, wherever it is stored and whatever alias led to it.
    """

    network: NetworkConfig
    reference: EnergyReference
    transfer: TransferSource | None
    prior_identity: Mapping[str, JsonValue]


def starting_point(
    config: TrainingConfig, frames: Sequence[LabelledFrame], *, noise_readout: NoiseKind
) -> StartingPoint:
    """Settle network, energy reference and prior.

    Args:
        config: The run.
        frames: Training frames.
        noise_readout: What the likelihood of the method wants to know.

    Returns:
        The starting point.

    Raises:
        ConfigurationError: If the sample set of a transfer prior does not fit.
        PosterionError: If it cannot be read.
        StoreError: If its store cannot be read.
    """
    energy_std = config.likelihood.energy_std_per_sqrt_atom
    prior = config.prior
    if isinstance(prior, TransferPriorConfig):
        source = load_transfer_source(prior)
        kept: dict[str, JsonValue] = prior.model_dump(mode="json", exclude={"store", "bank"})
        return StartingPoint(
            network=transfer_network(source, config.network, frames, noise_readout=noise_readout),
            reference=transfer_reference(source, frames, energy_std_per_sqrt_atom=energy_std),
            transfer=source,
            prior_identity=kept | {"source": source.digest},
        )
    return StartingPoint(
        network=network_config(config, frames, noise_readout=noise_readout),
        reference=fit_energy_reference(frames, energy_std_per_sqrt_atom=energy_std),
        transfer=None,
        prior_identity=prior.model_dump(mode="json"),
    )
