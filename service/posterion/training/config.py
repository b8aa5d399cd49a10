"""What a training run is made of: one YAML file, checked before anything starts."""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from posterion.errors import ConfigurationError
from posterion.training.config_errors import explain
from posterion.training.method_config import (
    DeepEnsembleConfig,
    EvidentialConfig,
    LastLayerLaplaceConfig,
    LatentMixtureConfig,
    McDropoutConfig,
    MeanVarianceConfig,
)
from posterion.training.sampler_config import (
    BAOAConfig,
    GateConfig,
    GaussianPriorConfig,
    PriorConfig,
    SGHMCConfig,
)
from posterion.training.section import Count, Positive, Residual, Section, Seed
from posterion.uncertainty.calibration import ErrorTarget

MethodConfig = Annotated[
    SGHMCConfig
    | BAOAConfig
    | DeepEnsembleConfig
    | EvidentialConfig
    | LastLayerLaplaceConfig
    | LatentMixtureConfig
    | McDropoutConfig
    | MeanVarianceConfig,
    Field(discriminator="kind"),
]
BankName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class DataConfig(Section):
    """Which labelled frames are used, and for what.

    Attributes:
        files: extxyz or rMD17 npz files, relative to the configuration file; energies in eV
            and forces in eV/Angstrom (npz: kcal/mol, as rMD17 ships).
        n_train: Frames the posterior is conditioned on.
        n_calibration: Frames the calibration is fitted on.
        n_report: Frames the model card's figures come from.
        report_files: Files of the report set, if it does not come from ``files``.
        seed: Of the random split.
    """

    files: tuple[Path, ...] = Field(min_length=1)
    n_train: Count
    n_calibration: Annotated[int, Field(ge=20)]
    n_report: Annotated[int, Field(ge=10)]
    report_files: tuple[Path, ...] = ()
    seed: Seed = 0


class NetworkSizes(Section):
    """Size of the network; elements and neighbour counts come from the data.

    Attributes are those of ``posterion.network.config.NetworkConfig``.
    """

    cutoff: Positive = 4.5
    n_layers: Annotated[int, Field(ge=1, le=8)] = 3
    n_features: Annotated[int, Field(ge=1, le=512)] = 16
    l_max: Annotated[int, Field(ge=0, le=4)] = 2
    parity: Literal["natural", "full"] = "natural"
    n_radial: Annotated[int, Field(ge=1, le=64)] = 8
    envelope_degree: Annotated[int, Field(ge=2, le=20)] = 6
    radial_hidden: Annotated[int, Field(ge=1, le=1024)] = 64
    readout_hidden: Annotated[int, Field(ge=1, le=1024)] = 16
    noise_scale: Positive = 0.1


class LikelihoodConfig(Section):
    """Fixed energy noise; the force noise is predicted per atom.

    Attributes:
        residual: Whose density the force likelihood is: each component's, or that of the
            norm of an atom's force error, as the single-network methods were compared.
        energy_std_per_sqrt_atom: eV; a structure's energy noise is this times sqrt(n_atoms).
    """

    energy_std_per_sqrt_atom: Positive = 2e-3
    residual: Residual = "component"


class PretrainingConfig(Section):
    """Optimisation that brings a chain near a mode before sampling starts (AMSGrad).

    Attributes:
        steps: Minibatch steps.
        learning_rate: At the start; it falls to zero on a cosine.
        average_decay: Decay of the running average of the weights the chain starts from.
        energy_warm_up: Fraction of the steps over which the weight of the energies rises
            from 1e-4 to 1.
    """

    steps: Count = 10_000
    learning_rate: Positive = 5e-3
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    energy_warm_up: Annotated[float, Field(gt=0, le=1)] = 0.6


class ExecutionConfig(Section):
    """Where and how the chains run; none of this changes what is sampled.

    Attributes:
        device: ``cpu``, ``cuda`` or ``auto``.
        threads_per_chain: Threads of each chain's process; results are bitwise
            reproducible for a given number.
        max_parallel_chains: Chains that run at the same time; default one per core.
        compile: Compile the training step: minutes once, two to five times faster steps.
            ``auto`` compiles long runs where a C++ compiler is found.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between rows of the CSV log.
        tensorboard: Also write TensorBoard event files (extra ``tensorboard``).
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads_per_chain: Count = 1
    max_parallel_chains: Count | None = None
    compile: Literal["auto", "always", "never"] = "auto"
    checkpoint_every: Count = 1_000
    log_every: Count = 50
    tensorboard: bool = False


class TrainingConfig(Section):
    """One training run, from files to a published sample set.

    Attributes:
        name: Bank name to publish under.
        description: One sentence for the model card.
        licence: Licence of the sample set.
        level_of_theory: Of the reference data; not needed where every frame says it, as
            `posterion label` writes them.
        data_source: Where the data come from, with their licence.
        batch_size: Frames per minibatch.
        method: What is done about uncertainty, and its settings.
        n_chains: Independent members: chains, or networks that are optimised.
        seed: Of initial weights, minibatch order and noise.
        flags: Errors that an answer without a flag promises not to exceed.
        widen_beyond_training: Whether the latent density adds to the spread of the forces of
            atoms rarer than the rarest of an ordinary calibration frame.
    """

    name: BankName
    description: str
    licence: str
    level_of_theory: str | None = None
    data_source: str
    batch_size: Count = 5
    method: MethodConfig = SGHMCConfig()
    n_chains: Count = Field(default_factory=lambda given: given["method"].usual_members)
    seed: Seed = 0
    data: DataConfig
    network: NetworkSizes = NetworkSizes()
    prior: PriorConfig = GaussianPriorConfig()
    likelihood: LikelihoodConfig = LikelihoodConfig()
    pretraining: PretrainingConfig = PretrainingConfig()
    execution: ExecutionConfig = ExecutionConfig()
    gates: GateConfig = GateConfig()
    flags: ErrorTarget = ErrorTarget()
    widen_beyond_training: bool = True

    @model_validator(mode="after")
    def _enough_data_and_members(self) -> Self:
        if self.batch_size > self.data.n_train:
            raise ValueError(
                f"batch_size must not exceed data.n_train, got {self.batch_size} "
                f"and {self.data.n_train}"
            )
        fewest, most = self.method.fewest_members, self.method.most_members
        if not fewest <= self.n_chains <= most:
            wanted = f"{fewest}" if fewest == most else f"from {fewest} to {most}"
            raise ValueError(
                f"n_chains must be {wanted} for this {self.method.kind}, got {self.n_chains}"
            )
        return self


def load_config(path: Path) -> TrainingConfig:
    """Read and check a configuration; paths in it become relative to its folder.

    Args:
        path: A YAML file.

    Returns:
        The configuration.

    Raises:
        ConfigurationError: If the file is missing, not YAML, or a key or value is wrong;
            the message names every wrong field, and the key that was probably meant.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: expected YAML, but {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: expected a mapping, got {type(document).__name__}")
    try:
        config = TrainingConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(f"{path}:\n{explain(error, TrainingConfig)}") from error
    return _resolve_paths(config, path.parent)


def _resolve_paths(config: TrainingConfig, folder: Path) -> TrainingConfig:
    data = config.data.model_copy(
        update={
            "files": tuple(folder / file for file in config.data.files),
            "report_files": tuple(folder / file for file in config.data.report_files),
        }
    )
    return config.model_copy(update={"data": data, "prior": config.prior.found_from(folder)})
