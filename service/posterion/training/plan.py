"""What a run consists of before the first step: data, reference, network, and its identity."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from posterion.errors import ConfigurationError
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.training.checkpoint import fingerprint_of
from posterion.training.config import TrainingConfig
from posterion.training.datasets import DataSplit, split_frames
from posterion.training.methods.protocol import Method
from posterion.training.methods.registry import method_of
from posterion.training.starting_point import starting_point
from posterion.training.transfer import TransferSource
from posterion.training.worker import WorkerTask

COMPILE_FROM_STEPS: Final = 10_000
"""Shorter runs do not win back the minutes of compilation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Everything the chains and the publication share.

    Attributes:
        config: The run.
        split: Training, calibration and report frames.
        network: Network configuration.
        reference: Energy reference.
        transfer: Sample set that prior and start are centred on; None = a prior around zero
            and random weights.
        folder: Run folder: checkpoints, logs, plots.
        device: ``cpu`` or ``cuda``.
        compiled: Whether the training step is compiled.
        fingerprint: Identity of what each chain samples; settings that do not change its path
            (number of chains and draws, execution, gates, texts) are left out, so a finished
            run can be extended by further chains or draws.
    """

    config: TrainingConfig
    split: DataSplit
    network: NetworkConfig
    reference: EnergyReference
    transfer: TransferSource | None
    folder: Path
    device: str
    compiled: bool
    fingerprint: str

    @property
    def method(self) -> Method:
        """What advances the members and turns them into samples."""
        return method_of(self.config)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Chains per worker: one each on a CPU, all together on a GPU."""
        chains = tuple(range(self.config.n_chains))
        return (chains,) if self.device == "cuda" else tuple((chain,) for chain in chains)

    @property
    def n_workers(self) -> int:
        """Workers that run at the same time."""
        wanted = self.config.execution.max_parallel_chains
        cores = max(1, len(os.sched_getaffinity(0)) // self.config.execution.threads_per_chain)
        return min(len(self.groups), wanted or cores)

    def task(self, chains: tuple[int, ...]) -> WorkerTask:
        """What the worker of a group of chains is given."""
        name = "chain-" + "-".join(map(str, chains))
        return WorkerTask(
            config=self.config,
            chains=chains,
            folder=self.folder / name,
            fingerprint=self.fingerprint,
            network=self.network,
            reference=self.reference,
            centre=None if self.transfer is None else self.transfer.centre,
            frames=self.split.train.frames,
            device=self.device,
            compiled=self.compiled,
        )


def plan_run(config: TrainingConfig, folder: Path) -> RunPlan:
    """Read the data, split it, centre the energies, and settle the device.

    Args:
        config: The run.
        folder: Run folder; made if missing.

    Returns:
        The plan.

    Raises:
        ConfigurationError: If a GPU is asked for and none is there, or the sample set of a
            transfer prior does not fit.
        UnknownModel: If there is no such sample set.
        StoreError: If its store cannot be read.
        DatasetError: If the data cannot be used.
    """
    split = split_frames(config.data, level_of_theory=config.level_of_theory)
    train = split.train.frames
    method = method_of(config)
    start = starting_point(config, train, noise_readout=method.likelihood.noise_readout)
    folder.mkdir(parents=True, exist_ok=True)
    device, compiled = _device(config.execution.device), _compiled(config)
    identity = {
        "device": device,
        "compiled": compiled,
        "train": split.train.digest,
        "network": start.network.model_dump(mode="json"),
        "reference": start.reference.model_dump(mode="json"),
        "seed": config.seed,
        "batch_size": config.batch_size,
        "threads": config.execution.threads_per_chain,
        "prior": start.prior_identity,
        "pretraining": config.pretraining.model_dump(mode="json"),
        "likelihood": config.likelihood.model_dump(mode="json"),
        "method": dict(method.identity),
    }
    return RunPlan(
        config=config,
        split=split,
        network=start.network,
        reference=start.reference,
        transfer=start.transfer,
        folder=folder,
        device=device,
        compiled=compiled,
        fingerprint=fingerprint_of(identity),
    )


def _compiled(config: TrainingConfig) -> bool:
    choice = config.execution.compile
    compiler = shutil.which("g++") or shutil.which("clang++")
    if choice == "always" and compiler is None:
        raise ConfigurationError(
            "execution.compile is 'always', but no C++ compiler (g++ or clang++) is on PATH; "
            "install one, or write 'auto' to train without it, two to five times slower"
        )
    # Draws are left out: asking a finished run for more of them must not change its engine.
    long_run = method_of(config).n_steps_to_draws >= COMPILE_FROM_STEPS
    return choice == "always" or (choice == "auto" and compiler is not None and long_run)


def _device(choice: str) -> str:
    available = torch.cuda.is_available()
    if choice == "cuda" and not available:
        raise ConfigurationError(
            "execution.device is 'cuda', but no GPU is available; write 'auto' or 'cpu'"
        )
    return "cuda" if choice in {"auto", "cuda"} and available else "cpu"
