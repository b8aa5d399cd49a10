"""How a published sample set becomes a bank in memory, or a clear refusal.

The store has already compared every byte with its digest; here the contents are checked
against each other, so that a bank that loads can be evaluated.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from pydantic import BaseModel, JsonValue, ValidationError
from torch import Tensor

from posterion.errors import BankInvalid, UnknownModel
from posterion.inference.latent_density_file import DENSITY_FILE, decode_latent_density
from posterion.inference.sample_file import decode_sample
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.network.functional import NetworkFunction
from posterion.uncertainty.calibration import Calibration
from posterion.uncertainty.domain import TrainingDomain
from posterion.uncertainty.latent_density import LatentDensity
from posterion_store import (
    DamagedObject,
    InvalidManifest,
    InvalidName,
    Manifest,
    NotFound,
    SampleEntry,
    Store,
)

SectionT = TypeVar("SectionT", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleBank:
    """A sample set in memory, checked.

    Attributes:
        digest: ``sha256:<hex>`` of the manifest.
        manifest: The immutable description.
        config: Architecture of the network.
        reference: Its energy reference.
        parameters: Shape ``(n_samples, n_parameters)``, float32.
        calibration: Factors and thresholds.
        domain: What the training structures were like.
        latent_density: How common their environments were, in the scalars of the first
            sample; None for a bank published without.
    """

    digest: str
    manifest: Manifest
    config: NetworkConfig
    reference: EnergyReference
    parameters: Tensor
    calibration: Calibration
    domain: TrainingDomain
    latent_density: LatentDensity | None = None

    @property
    def name(self) -> str:
        """Bank name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """First 16 hex digits of the digest."""
        return self.digest.removeprefix("sha256:")[:16]

    @property
    def n_samples(self) -> int:
        """Number of posterior samples."""
        return len(self.parameters)

    @property
    def n_chains(self) -> int:
        """Number of Markov chains the samples come from."""
        return len({sample.chain for sample in self.manifest.samples})


def load_bank(
    store: Store, name: str, version: str | None = None, *, device: torch.device | str = "cpu"
) -> SampleBank:
    """Read one version of a bank and check it.

    Args:
        store: Where it was published.
        name: Bank name.
        version: Alias, at least eight hex digits, or whole digest; None = ``stable``.
        device: Where the parameters go.

    Returns:
        The bank.

    Raises:
        UnknownModel: If there is no such bank or version.
        BankInvalid: If an object is missing, damaged or does not fit the others; the
            message names it.
    """
    try:
        digest = store.resolve(name, version)
        manifest = store.manifest(digest)
    except (NotFound, InvalidName) as error:
        raise UnknownModel(str(error)) from error
    except (DamagedObject, InvalidManifest) as error:
        raise BankInvalid(f"bank {name}: {error}") from error
    where = f"manifest {digest} of bank {name}"
    config = _section(NetworkConfig, manifest.network, f"{where}: network")
    reference = _section(EnergyReference, manifest.energy_reference, f"{where}: energy_reference")
    calibration = _section(Calibration, manifest.calibration, f"{where}: calibration")
    domain = _section(TrainingDomain, manifest.domain, f"{where}: domain")
    _check_network(manifest, config, reference, domain, where=where)
    _check_samples(manifest, calibration, where=where)
    samples = [
        _sample(store, entry, index, n_parameters=_n_parameters(config), name=name)
        for index, entry in enumerate(manifest.samples)
    ]
    return SampleBank(
        digest=digest,
        manifest=manifest,
        config=config,
        reference=reference,
        parameters=torch.from_numpy(np.stack(samples)).to(device),
        calibration=calibration,
        domain=domain,
        latent_density=_latent_density(store, manifest, calibration, where=where),
    )


@lru_cache(maxsize=16)
def _n_parameters(config: NetworkConfig) -> int:
    """Length of a parameter vector; building the network to count is slow, so remembered."""
    reference = EnergyReference(shifts={}, scale=1.0, energy_std_per_sqrt_atom=1.0)
    return NetworkFunction(config, reference, dtype=torch.float32, device="cpu").n_parameters


def _section(kind: type[SectionT], document: dict[str, JsonValue], where: str) -> SectionT:
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        faults = "; ".join(
            f"/{'/'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise BankInvalid(f"{where}: {faults}") from error


def _check_network(
    manifest: Manifest,
    config: NetworkConfig,
    reference: EnergyReference,
    domain: TrainingDomain,
    *,
    where: str,
) -> None:
    if config.elements != tuple(manifest.elements):
        raise BankInvalid(
            f"{where}: the network knows elements {list(config.elements)}, "
            f"the manifest says {list(manifest.elements)}"
        )
    missing = sorted(set(config.elements) - set(reference.shifts))
    if missing:
        raise BankInvalid(f"{where}: energy_reference has no shift for elements {missing}")
    cutoffs = (manifest.cutoff, config.cutoff, domain.cutoff)
    if len(set(cutoffs)) > 1:
        raise BankInvalid(
            f"{where}: cutoffs of manifest, network and domain must agree, got {cutoffs}"
        )


def _check_samples(manifest: Manifest, calibration: Calibration, *, where: str) -> None:
    n_samples = len(manifest.samples)
    if n_samples < calibration.fewest_samples:
        raise BankInvalid(
            f"{where}: the calibration needs at least {calibration.fewest_samples} samples, "
            f"got {n_samples}"
        )
    if calibration.n_samples != n_samples:
        raise BankInvalid(
            f"{where}: the calibration is of {calibration.n_samples} samples, "
            f"the bank has {n_samples}"
        )


def _latent_density(
    store: Store, manifest: Manifest, calibration: Calibration, *, where: str
) -> LatentDensity | None:
    ref = manifest.files.get(DENSITY_FILE)
    if ref is None:
        if calibration.needs_latent_density:
            raise BankInvalid(f"{where}: the calibration needs the file {DENSITY_FILE}")
        return None
    config = NetworkConfig.model_validate(manifest.network)
    try:
        return decode_latent_density(
            store.read_blob(ref), elements=config.elements, n_features=config.n_features
        )
    except (DamagedObject, ValueError) as error:
        raise BankInvalid(
            f"bank {manifest.name}, {DENSITY_FILE}, blob sha256:{ref.sha256}: {error}"
        ) from error


def _sample(
    store: Store, entry: SampleEntry, index: int, *, n_parameters: int, name: str
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    where = (
        f"bank {name}, sample {index} (chain {entry.chain}, draw {entry.draw}), "
        f"blob sha256:{entry.sha256}"
    )
    try:
        return decode_sample(store.read_blob(entry), n_parameters=n_parameters)
    except DamagedObject as error:
        raise BankInvalid(f"{where}: {error}") from error
    except ValueError as error:
        raise BankInvalid(f"{where}: {error}") from error
