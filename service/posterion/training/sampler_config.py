"""How chains sample and which prior they see: the Markov chain sections of a configuration."""

from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from posterion.training.section import Count, MethodSection, Positive, Section


class GaussianPriorConfig(Section):
    """Gaussian mean-field prior on the normalised weights: N(0, std^2)."""

    kind: Literal["gaussian"] = "gaussian"
    std: Positive = 1.0

    def found_from(self, folder: Path) -> Self:
        """The same: nothing of it lies in files."""
        del folder
        return self


class TransferPriorConfig(Section):
    """Gaussian prior around the weights of a published sample set: N(centre, std^2).

    Pretraining starts at the centre. The network must be that of the sample set.

    Attributes:
        store: URL of the store; a path is relative to the file of the configuration.
        bank: Bank name, or ``name@alias`` or ``name@version``; the digest it resolves to
            belongs to the identity of the run.
        centre: ``first-sample``, or ``mean`` of the draws of that sample's chain: chains lie
            in basins of their own, between which a mean of weights is no network.
        std: Standard deviation of every weight.
    """

    kind: Literal["transfer"] = "transfer"
    store: str
    bank: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}(@[A-Za-z0-9:._-]+)?$")]
    centre: Literal["first-sample", "mean"] = "first-sample"
    std: Positive = 0.2

    def found_from(self, folder: Path) -> Self:
        """The same with a path made absolute or relative to ``folder``; URLs stay."""
        if "://" in self.store:
            return self
        return self.model_copy(update={"store": str(folder / self.store)})


def _prior_kind(section: object) -> object:
    """The kind a section names, or ``gaussian``, which was the only one once."""
    if isinstance(section, dict):
        return section.get("kind", "gaussian")
    return getattr(section, "kind", None)


PriorConfig: TypeAlias = Annotated[
    Annotated[GaussianPriorConfig, Tag("gaussian")]
    | Annotated[TransferPriorConfig, Tag("transfer")],
    Discriminator(_prior_kind),
]


class InverseGradientVarianceConfig(Section):
    """Step size inversely proportional to each parameter's minibatch-gradient variance.

    Attributes:
        epsilon: Excess temperature that the noise of one minibatch may bring, in units of
            T = 1 whatever the temperature is. It sets the pace: relaxation takes about
            1/(2 epsilon) epochs. Positions feel 2/3 epsilon^2 of it with minibatches of a
            permutation, all of it with independent ones.
        minibatches: Gradients per estimate of the variance, taken without moving.
        prior_cap: Largest eta times the prior's precision, in units of the friction: bounds
            the steps of parameters about which the data seem to say nothing.
    """

    kind: Literal["inverse-gradient-variance"] = "inverse-gradient-variance"
    epsilon: Annotated[float, Field(gt=0, lt=1)] = 0.1
    minibatches: Annotated[int, Field(ge=10)] = 150
    prior_cap: Positive = 2e-4


class AmsgradConfig(Section):
    """The source paper's step size: AMSGrad's second moment, adapted until burn-in ends.

    Attributes:
        learning_rate: Of the equivalent optimiser.
        decay: b of the moving average of squared gradients.
        damping: Added to the root of the second moment.
    """

    kind: Literal["amsgrad"] = "amsgrad"
    learning_rate: Positive = 1e-3
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    damping: Positive = 1e-5


class ConstantScheduleConfig(Section):
    """One temperature and the frozen step size throughout sampling."""

    kind: Literal["constant"] = "constant"


class CyclicalScheduleConfig(Section):
    """Cycles that explore, then sample (Zhang et al., ICLR 2020).

    A factor on the frozen squared step size falls from 1 to ``floor`` along half a cosine in
    each cycle; the momentum starts at zero. Draws come at the end of a cycle, ``thinning_steps``
    apart.

    Attributes:
        exploration_steps: Steps at the exploration temperature.
        exploration_temperature: 0 descends, as in the paper; above T it crosses barriers.
        ramp_steps: Steps from there to T.
        settling_steps: Steps at T before the first ``thinning_steps``.
        draws_per_cycle: Draws of each cycle; ``n_samples`` must be a multiple of it.
        floor: Smallest factor on the squared step size.
    """

    kind: Literal["cyclical"] = "cyclical"
    exploration_steps: Count = 1_000
    exploration_temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    ramp_steps: Count = 200
    settling_steps: Annotated[int, Field(ge=0)] = 600
    draws_per_cycle: Count = 1
    floor: Annotated[float, Field(gt=0, le=1)] = 0.1


class MarkovChainConfig(MethodSection):
    """What every stochastic-gradient sampler is told.

    Attributes:
        friction: a.
        temperature: T of the posterior; 1 samples the posterior itself, less a sharper one.
        preconditioner: Parameter-specific step size, frozen before sampling.
        minibatches: ``permutation`` cuts one permutation per epoch, whose noise cancels;
            ``independent`` draws every minibatch anew.
        noise_correction: Take the heat of the minibatches out of the injected noise. Only with
            independent minibatches: it would cool the chain below T where noise cancels.
        ramp_steps: Steps over which the temperature rises from 0 to T.
        burn_in_steps: Steps at T before the step size is frozen.
        burn_in_rounds: The step size is estimated anew after each of so many equal parts.
        thinning_steps: Steps between collected samples.
        n_samples: Samples each chain collects.
        schedule: Temperature and step size while sampling.
    """

    friction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    temperature: Positive = 1.0
    preconditioner: Annotated[
        InverseGradientVarianceConfig | AmsgradConfig, Field(discriminator="kind")
    ] = InverseGradientVarianceConfig()
    minibatches: Literal["permutation", "independent"] = "permutation"
    noise_correction: bool = False
    ramp_steps: Count = 400
    burn_in_steps: Count = 4_000
    burn_in_rounds: Count = 2
    thinning_steps: Count = 1_200
    n_samples: Annotated[int, Field(ge=1)] = 4
    schedule: Annotated[
        ConstantScheduleConfig | CyclicalScheduleConfig, Field(discriminator="kind")
    ] = ConstantScheduleConfig()

    @property
    def fewest_members(self) -> int:
        """See `MethodSection`: the spread of one sample is undefined."""
        return 2 if self.n_samples == 1 else 1

    @model_validator(mode="after")
    def _burn_in_has_a_step_for_every_part(self) -> Self:
        if self.burn_in_steps <= self.burn_in_rounds:
            raise ValueError(
                f"burn_in_steps must exceed burn_in_rounds, got {self.burn_in_steps} "
                f"and {self.burn_in_rounds}"
            )
        return self

    @model_validator(mode="after")
    def _only_noise_that_stays_is_corrected(self) -> Self:
        if self.noise_correction and self.minibatches == "permutation":
            raise ValueError(
                "noise_correction must not be combined with minibatches: permutation, whose "
                "noise cancels over an epoch: the chain would be cooled below its temperature; "
                "write minibatches: independent, or noise_correction: false"
            )
        return self

    @model_validator(mode="after")
    def _cycles_are_whole(self) -> Self:
        schedule = self.schedule
        if (
            isinstance(schedule, CyclicalScheduleConfig)
            and self.n_samples % schedule.draws_per_cycle
        ):
            raise ValueError(
                "n_samples must be a multiple of schedule.draws_per_cycle, got "
                f"{self.n_samples} and {schedule.draws_per_cycle}"
            )
        return self


class SGHMCConfig(MarkovChainConfig):
    """Stochastic-gradient Hamiltonian Monte Carlo (Chen, Fox and Guestrin, 2014)."""

    kind: Literal["sghmc"] = "sghmc"


class BAOAConfig(MarkovChainConfig):
    """Langevin dynamics by the BAOA splitting (after Leimkuhler and Matthews, 2013)."""

    kind: Literal["baoa"] = "baoa"


SamplerConfig: TypeAlias = SGHMCConfig | BAOAConfig


class GateConfig(Section):
    """What the chains must satisfy before they are published.

    Attributes:
        max_r_hat: Median within-chain split R-hat of forces on probe structures.
        max_kinetic_temperature: T_kin while sampling, over T plus the heat that minibatches
            are known to bring to the momentum.
        min_configurational_temperature: T_conf about the start of the chain, over T: near 0 for
            a chain that has not moved, near 1 for one that has forgotten where it started,
            below 0 for one that still descends.
        max_configurational_temperature: Likewise, for chains that minibatches overheat.
        max_loss_drift: Change of the potential between the halves of sampling, nat per label:
            0.05 is about an error scale moved by 5 %.
    """

    max_r_hat: Positive = 1.2
    max_kinetic_temperature: Positive = 1.2
    min_configurational_temperature: Annotated[float, Field(le=1)] = 0.05
    max_configurational_temperature: Annotated[float, Field(ge=1)] = 1.5
    max_loss_drift: Positive = 0.05
