"""The sections of a configuration that name a method other than a Markov chain."""

from typing import Annotated, Literal

from pydantic import Field

from posterion.network.config import UnitKind
from posterion.training.section import MethodSection, Seed


class DeepEnsembleConfig(MethodSection):
    """Networks optimised from different starts (Lakshminarayanan et al., NeurIPS 2017).

    ``n_chains`` is their number; all else stands in ``pretraining``.
    """

    kind: Literal["deep-ensemble"] = "deep-ensemble"

    @property
    def usual_members(self) -> int:
        """See `MethodSection`."""
        return 5

    @property
    def fewest_members(self) -> int:
        """See `MethodSection`: one network has no spread."""
        return 2


class _OneMember(MethodSection):
    """A method of a single network."""

    @property
    def usual_members(self) -> int:
        """See `MethodSection`."""
        return 1

    @property
    def most_members(self) -> int:
        """See `MethodSection`."""
        return 1


class MeanVarianceConfig(_OneMember):
    """One network that predicts mean and noise (Nix and Weigend, ICNN 1994).

    It has no spread: its epistemic part is zero, but for what `widen_beyond_training` adds.
    """

    kind: Literal["mean-variance"] = "mean-variance"


class LatentMixtureConfig(_OneMember):
    """One network whose epistemic score is the rarity of its final scalars.

    A Gaussian mixture describes the scalars of the training atoms; its negative log density,
    times a conformal scale, is the epistemic standard deviation.
    """

    kind: Literal["latent-mixture"] = "latent-mixture"


class McDropoutConfig(_OneMember):
    """One network trained and evaluated with dropped units (Gal and Ghahramani, ICML 2016).

    Attributes:
        rate: Probability that a unit is dropped.
        units: ``all``: channels that enter a layer after the first, final scalars and hidden
            units of the readouts; ``readout``: the latter two; ``hidden``: the last.
        n_samples: Masks that are published.
        seed: Of the published masks.
    """

    kind: Literal["mc-dropout"] = "mc-dropout"
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.1
    units: UnitKind = "all"
    n_samples: Annotated[int, Field(ge=2, le=256)] = 12
    seed: Seed = 0


class LastLayerLaplaceConfig(_OneMember):
    """One network with a Gaussian posterior of its last energy weights.

    Attributes:
        n_samples: Draws that are published.
        seed: Of the draws.
    """

    kind: Literal["last-layer-laplace"] = "last-layer-laplace"
    n_samples: Annotated[int, Field(ge=2, le=256)] = 12
    seed: Seed = 0


class EvidentialConfig(_OneMember):
    """One network that predicts evidence for its forces (Amini et al., NeurIPS 2020).

    Attributes:
        regularization: lambda, Angstrom/eV: weight of the evidence put into wrong forces.
    """

    kind: Literal["evidential"] = "evidential"
    regularization: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.2
