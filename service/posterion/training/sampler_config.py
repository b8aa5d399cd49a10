"""How chains sample and which prior they see: the Markov chain sections of a configuration."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from posterion.training.section import Count, Positive, Section


class PriorConfig(Section):
    """Gaussian mean-field prior on the normalised weights: N(0, std^2)."""

    std: Positive = 1.0


class InverseGradientVarianceConfig(Section):
    """Step size inversely proportional to each parameter's minibatch-gradient variance.

    Attributes:
        epsilon: Excess relative temperature that minibatch noise may cause.
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


class SamplerConfig(Section):
    """Stochastic-gradient Hamiltonian Monte Carlo (Chen, Fox and Guestrin, 2014).

    Attributes:
        kind: ``sghmc``.
        friction: a.
        temperature: T of the posterior; 1 samples the posterior itself.
        preconditioner: Parameter-specific step size, frozen before sampling.
        ramp_steps: Steps over which the temperature rises from 0 to T.
        burn_in_steps: Steps at T before the step size is frozen.
        burn_in_rounds: The step size is estimated anew after each of so many equal parts.
        thinning_steps: Steps between collected samples.
        n_samples: Samples each chain collects.
    """

    kind: Literal["sghmc"] = "sghmc"
    friction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    temperature: Positive = 1.0
    preconditioner: Annotated[
        InverseGradientVarianceConfig | AmsgradConfig, Field(discriminator="kind")
    ] = InverseGradientVarianceConfig()
    ramp_steps: Count = 400
    burn_in_steps: Count = 4_000
    burn_in_rounds: Count = 2
    thinning_steps: Count = 1_200
    n_samples: Annotated[int, Field(ge=1)] = 4

    @model_validator(mode="after")
    def _burn_in_has_a_step_for_every_part(self) -> Self:
        if self.burn_in_steps <= self.burn_in_rounds:
            raise ValueError(
                f"burn_in_steps must exceed burn_in_rounds, got {self.burn_in_steps} "
                f"and {self.burn_in_rounds}"
            )
        return self


class GateConfig(Section):
    """What the chains must satisfy before they are published.

    Attributes:
        max_r_hat: Median within-chain split R-hat of forces on probe structures.
        max_kinetic_temperature: T_kin over T while sampling.
        max_loss_drift: Change of the potential between the halves of sampling, nat per label:
            0.05 is about an error scale moved by 5 %.
    """

    max_r_hat: Positive = 1.2
    max_kinetic_temperature: Positive = 1.3
    max_loss_drift: Positive = 0.05
