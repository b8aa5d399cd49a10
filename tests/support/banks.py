"""A small bank of random parameters, published the way the trainer publishes.

Nothing about it is faked but the training: parameters are drawn, references are drawn from
the bank's own predictive distribution, and calibration and domain are fitted to them. So
everything that loads, serves or rolls out a bank can be tested without sampling one.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posterion.inference.bank import VectorizedEngine
from posterion.inference.held_out_frames import evaluate_held_out, training_latents
from posterion.inference.latent_density_file import DENSITY_FILE, encode_latent_density
from posterion.inference.loading import SampleBank, load_bank
from posterion.inference.sample_file import encode_sample
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.network.functional import NetworkFunction
from posterion.structures.ase_io import LabelledFrame
from posterion.structures.structure import Structure
from posterion.uncertainty.calibration import FEWEST_SAMPLES, Calibration, ErrorTarget
from posterion.uncertainty.domain import TrainingDomain, fit_domain
from posterion.uncertainty.fitting import fit_calibration
from posterion.uncertainty.held_out import HeldOut
from posterion.uncertainty.latent_density import LatentDensity
from posterion.uncertainty.latent_fitting import fit_latent_density
from posterion.uncertainty.mixture import MixtureMoments
from posterion_store import DatasetEntry, Manifest, SampleEntry, Store

NETWORK = NetworkConfig(
    elements=(1, 6, 8), cutoff=4.5, n_layers=2, n_features=4, l_max=1, average_neighbors=8.0
)
REFERENCE = EnergyReference(
    shifts={1: -16.4, 6: -1035.0, 8: -2042.0}, scale=3.0, energy_std_per_sqrt_atom=0.01
)

# Ethanol at rest, Angstrom: two carbons, oxygen, the hydrogen of the hydroxyl, five others.
NUMBERS = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1])
POSITIONS = np.array(
    [
        [1.1682, -0.4004, 0.0],
        [0.0, 0.5595, 0.0],
        [-1.1901, -0.2277, 0.0],
        [-1.9466, 0.3815, 0.0],
        [0.0426, 1.2075, 0.8869],
        [0.0426, 1.2075, -0.8869],
        [2.1159, 0.1448, 0.0],
        [1.1286, -1.0372, 0.8859],
        [1.1286, -1.0372, -0.8859],
    ]
)

N_FRAMES = 120
TARGET = ErrorTarget(force_error=0.485, energy_error=0.2)
THERMAL_DISPLACEMENT = 0.05
SAMPLE_SPREAD = 0.1
DATASET_DIGEST = f"sha256:{'0' * 63}1"


def ethanol(displacement: float = 0.0, *, seed: int = 0) -> Structure:
    """Ethanol at rest, or with every coordinate displaced by a normal deviate (Angstrom)."""
    noise = np.random.default_rng(seed).normal(scale=displacement, size=POSITIONS.shape)
    return Structure(atomic_numbers=NUMBERS, positions=POSITIONS + noise)


def thermal_ethanol(n_structures: int, *, seed: int = 0) -> list[Structure]:
    """Displaced ethanol molecules, as in the data the bank is calibrated on."""
    return [
        ethanol(THERMAL_DISPLACEMENT, seed=1000 * seed + index) for index in range(n_structures)
    ]


def random_parameters(n_samples: int, *, seed: int) -> Tensor:
    """Samples scattered around one start, ``(n_samples, n_parameters)``, float32."""
    generator = torch.Generator().manual_seed(seed)
    start = network_function(torch.float64).initial_parameters(generator)
    noise = torch.randn((n_samples, len(start)), generator=generator, dtype=torch.float64)
    return (start + SAMPLE_SPREAD * noise).to(torch.float32)


@lru_cache(maxsize=2)
def network_function(dtype: torch.dtype) -> NetworkFunction:
    """The bank's network on the CPU."""
    return NetworkFunction(NETWORK, REFERENCE, dtype=dtype, device="cpu")


def publish_random_bank(
    store: Store,
    *,
    name: str = "ethanol",
    n_samples: int = 4,
    seed: int = 0,
    alias: str | None = "stable",
    with_latent_density: bool = False,
) -> str:
    """Publish a bank of ethanol, and promote it unless ``alias`` is None.

    Args:
        store: A writable store.
        name: Bank name.
        n_samples: Number of posterior samples, of two chains in turn.
        seed: Other parameters, hence another digest.
        alias: Alias to move to it.
        with_latent_density: Publish the density of the training atoms' scalars too.

    Returns:
        The digest of the manifest.
    """
    parameters = random_parameters(n_samples, seed=seed)
    density = _density(n_samples, seed) if with_latent_density else None
    calibration = _calibration(n_samples, seed=seed, with_latent_density=with_latent_density)
    files = {"README.md": b"# A bank of random parameters\n"}
    if density is not None:
        files[DENSITY_FILE] = encode_latent_density(density)
    blobs = [store.put_blob(encode_sample(sample.numpy())) for sample in parameters]
    manifest = Manifest(
        name=name,
        created_at=f"2026-01-01T00:00:{seed % 60:02d}Z",
        description="Random parameters around one start; for tests.",
        licence="CC0-1.0",
        method="random",
        software={},
        elements=NETWORK.elements,
        cutoff=NETWORK.cutoff,
        periodic=False,
        level_of_theory="none",
        network=NETWORK.model_dump(mode="json"),
        energy_reference=REFERENCE.model_dump(mode="json"),
        samples=tuple(
            SampleEntry(sha256=blob.sha256, size=blob.size, chain=index % 2, draw=index // 2)
            for index, blob in enumerate(blobs)
        ),
        datasets=(
            DatasetEntry(
                role="calibration",
                source="drawn from the bank itself",
                n_frames=N_FRAMES,
                digest=DATASET_DIGEST,
            ),
        ),
        sampler={},
        diagnostics={},
        calibration=calibration.model_dump(mode="json"),
        domain=_domain(seed).model_dump(mode="json"),
        metrics={},
        files={name: store.put_blob(data) for name, data in files.items()},
    )
    digest = store.publish(manifest)
    if alias is not None:
        store.promote(name, digest, alias=alias, by="tests")
    return digest


def random_bank(
    *, n_samples: int = 4, seed: int = 0, with_latent_density: bool = False
) -> SampleBank:
    """The same bank, loaded from a store in memory."""
    store = Store.open("memory://")
    publish_random_bank(
        store, n_samples=n_samples, seed=seed, with_latent_density=with_latent_density
    )
    return load_bank(store, "ethanol")


def drawn_held_out(
    parameters: Tensor,
    structures: Sequence[Structure],
    *,
    seed: int,
    latent_density: LatentDensity | None = None,
) -> HeldOut:
    """Predictions for structures, with references drawn from the predictive distribution."""
    engine = VectorizedEngine(network_function(torch.float32), parameters)
    unlabelled = [
        LabelledFrame(structure=structure, energy=0.0, forces=np.zeros((structure.n_atoms, 3)))
        for structure in structures
    ]
    predicted = evaluate_held_out(
        engine, unlabelled, cutoff=NETWORK.cutoff, latent_density=latent_density
    )
    rng = np.random.default_rng(seed)
    return replace(
        predicted,
        energy_reference=_drawn(predicted.energy_moments(len(parameters)), rng),
        force_reference=_drawn(predicted.force_moments(len(parameters)), rng),
    )


def _drawn(moments: MixtureMoments, rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.normal(moments.mean.numpy(), moments.total.sqrt().numpy())


@lru_cache(maxsize=8)
def _calibration(n_samples: int, *, seed: int, with_latent_density: bool) -> Calibration:
    parameters = random_parameters(n_samples, seed=seed)
    held_out = drawn_held_out(
        parameters,
        thermal_ethanol(N_FRAMES, seed=seed + 2),
        seed=seed,
        latent_density=_density(n_samples, seed) if with_latent_density else None,
    )
    return fit_calibration(
        held_out,
        target=TARGET,
        fewest_samples=min(n_samples, FEWEST_SAMPLES),
        dataset_digest=DATASET_DIGEST,
        date="2026-01-01",
    )


@lru_cache(maxsize=8)
def _density(n_samples: int, seed: int) -> LatentDensity:
    """Of the scalars of the first sample, for the structures the domain was fitted to."""
    engine = VectorizedEngine(
        network_function(torch.float32), random_parameters(n_samples, seed=seed)
    )
    numbers, latent = training_latents(
        engine, thermal_ethanol(N_FRAMES, seed=seed + 1), cutoff=NETWORK.cutoff
    )
    return fit_latent_density(numbers, latent, elements=NETWORK.elements)


@lru_cache(maxsize=8)
def _domain(seed: int) -> TrainingDomain:
    return fit_domain(thermal_ethanol(N_FRAMES, seed=seed + 1), cutoff=NETWORK.cutoff)
