"""What a caller may choose about an evaluation."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["float32", "float64"]
SamplesDetail = Literal["none", "energy", "full"]
Priority = Literal["interactive", "bulk"]
"""Who waits for the answer: a simulation for its next step, or a job for its end."""


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
    """

    precision: Precision = "float32"
    n_samples: int | None = None
    adaptive: bool = False
    stress: bool = False
    uncertainty: bool = True
    samples: SamplesDetail = "none"
