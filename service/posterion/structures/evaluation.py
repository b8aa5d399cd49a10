"""What a caller may choose about an evaluation."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["float32", "float64"]
SamplesDetail = Literal["none", "energy", "full"]
Priority = Literal["interactive", "bulk"]
"""Who waits for the answer: a simulation for its next step, or a job for its end."""
GradientScalar = Literal[
    "force_epistemic_rms", "force_epistemic_max_smooth", "energy_epistemic", "latent_score"
]
"""Numbers of one structure whose gradient may be asked for; see
`posterion.structures.prediction.UncertaintyGradient`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """Options that every structure of one batch shares; hashable, so batches form by it.

    Attributes:
        precision: ``float32`` for the fast engine, ``float64`` for the reference engine.
        n_samples: Evaluate only the first ``n_samples`` posterior samples; None = all.
        adaptive: Evaluate few samples, and more only where these leave a flag open; needs
            ``n_samples`` None.
        stress: Whether to differentiate with respect to strain.
        uncertainty: Whether to reduce the samples' spread to uncertainties and flags.
        samples: How much of each sample's own answer to keep.
        gradient_of: Scalar to differentiate by positions and cell; None = none. Needs
            ``adaptive`` False.
    """

    precision: Precision = "float32"
    n_samples: int | None = None
    adaptive: bool = False
    stress: bool = False
    uncertainty: bool = True
    samples: SamplesDetail = "none"
    gradient_of: GradientScalar | None = None

    @property
    def needs_spread(self) -> bool:
        """Whether the samples' spread is part of the answer; a latent score has none."""
        return self.uncertainty or self.gradient_of not in {None, "latent_score"}
