"""What a transfer prior takes over from a published sample set: centre, network, energies.

The centre is a point in the weights of one network, so the new run uses that network, and
the scale of its outputs; the shifts of the elements are corrected by what the centre misses
on the new data, which another level of theory mostly is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from posterion.errors import ConfigurationError
from posterion.inference.bank import ReferenceEngine
from posterion.inference.held_out_frames import evaluate_held_out
from posterion.inference.loading import SampleBank, load_bank
from posterion.network.config import EnergyReference, NetworkConfig, NoiseKind
from posterion.network.functional import NetworkFunction
from posterion.structures.ase_io import LabelledFrame
from posterion.training.config import NetworkSizes
from posterion.training.sampler_config import TransferPriorConfig
from posterion_store import Store

N_SHIFT_FRAMES: Final = 128
"""Training frames from which the correction of the shifts is fitted, evenly spread."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TransferSource:
    """What was read from the published sample set.

    Attributes:
        name: Bank name.
        digest: ``sha256:...`` of its manifest.
        network: Its architecture, elements included.
        reference: Its energy reference.
        centre: Centre of the prior, shape ``(n_parameters,)``, float32.
    """

    name: str
    digest: str
    network: NetworkConfig
    reference: EnergyReference
    centre: Tensor


def load_transfer_source(config: TransferPriorConfig) -> TransferSource:
    """Read the sample set that a transfer prior names.

    Args:
        config: Store, bank and centre.

    Returns:
        The source.

    Raises:
        StoreError: If the store cannot be opened.
        UnknownModel: If it has no such bank or version.
        BankInvalid: If the sample set is damaged.
    """
    name, _, version = config.bank.partition("@")
    store = Store.open(config.store, read_only=True)
    bank = load_bank(store, name, version or None)
    return TransferSource(
        name=name,
        digest=bank.digest,
        network=bank.config,
        reference=bank.reference,
        centre=_CENTRES[config.centre](bank),
    )


def transfer_network(
    source: TransferSource,
    sizes: NetworkSizes,
    frames: Sequence[LabelledFrame],
    *,
    noise_readout: NoiseKind = "gaussian",
) -> NetworkConfig:
    """The network of the source, if it is the one asked for and knows the data's elements.

    Args:
        source: The published sample set.
        sizes: The configured sizes.
        frames: Training frames.
        noise_readout: What the likelihood of the method wants to know.

    Returns:
        The network, with the source's elements and neighbour count.

    Raises:
        ConfigurationError: If a size or the readout differs or an element is unknown; all
            are named.
    """
    wanted = NetworkConfig(
        elements=source.network.elements,
        average_neighbors=source.network.average_neighbors,
        noise_readout=noise_readout,
        **sizes.model_dump(),
    )
    theirs = source.network.model_dump()
    differing = [
        f"network.{name} is {value}, there {theirs[name]}"
        for name, value in wanted.model_dump().items()
        if value != theirs[name]
    ]
    if differing:
        raise ConfigurationError(
            f"the prior is centred on {source.name} ({source.digest}), whose network differs: "
            + "; ".join(differing)
        )
    elements = {int(z) for frame in frames for z in frame.structure.atomic_numbers}
    unknown = sorted(elements - set(source.network.elements))
    if unknown:
        raise ConfigurationError(
            f"the prior is centred on {source.name} ({source.digest}), which does not know the "
            f"elements {unknown} of the data, only {list(source.network.elements)}"
        )
    return source.network


def transfer_reference(
    source: TransferSource, frames: Sequence[LabelledFrame], *, energy_std_per_sqrt_atom: float
) -> EnergyReference:
    """The source's energy reference, its shifts corrected by what the centre misses.

    Args:
        source: The published sample set.
        frames: Training frames.
        energy_std_per_sqrt_atom: Aleatoric energy noise, eV.

    Returns:
        The same scale; shifts of least change that take the mean error of the centre's
        energies away, fitted in float64.
    """
    every = max(1, -(-len(frames) // N_SHIFT_FRAMES))
    chosen = list(frames[::every])
    function = NetworkFunction(source.network, source.reference, dtype=torch.float64, device="cpu")
    engine = ReferenceEngine(function, source.centre.double()[None])
    predicted = evaluate_held_out(engine, chosen, cutoff=source.network.cutoff)
    elements = source.network.elements
    counts = np.array(
        [[np.sum(frame.structure.atomic_numbers == z) for z in elements] for frame in chosen],
        dtype=np.float64,
    )
    missed = predicted.energy_reference - predicted.energies[0]
    correction, *_ = np.linalg.lstsq(counts, missed, rcond=None)
    return EnergyReference(
        shifts={
            z: source.reference.shifts[z] + float(change)
            for z, change in zip(elements, correction, strict=True)
        },
        scale=source.reference.scale,
        energy_std_per_sqrt_atom=energy_std_per_sqrt_atom,
    )


def _first_sample(bank: SampleBank) -> Tensor:
    return bank.parameters[0].cpu()


def _mean_of_a_chain(bank: SampleBank) -> Tensor:
    """Mean over the draws of the first sample's chain.

    Chains lie in basins of their own, between which a mean of weights is no network.
    """
    chains = [sample.chain for sample in bank.manifest.samples]
    rows = [row for row, chain in enumerate(chains) if chain == chains[0]]
    return bank.parameters[rows].cpu().double().mean(dim=0).float()


_CENTRES: Final = {"first-sample": _first_sample, "mean": _mean_of_a_chain}
