"""What the noise readout says of the force error of an atom, isotropic per component.

`gaussian`: one number, log(sigma / s0) of a Gaussian. `evidential`: three numbers that make a
normal-inverse-gamma distribution over the mean and the variance of the error (Amini,
Schwarting, Soleimany and Rus, NeurIPS 2020); its two variances are the noise of the data and
what is not known about the mean.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from torch import Tensor
from torch.nn.functional import softplus

from posterion.network.config import NoiseKind

LEAST_EVIDENCE: Final = 1e-4
"""Added to nu, alpha - 1 and beta / s0^2, none of which may vanish."""


class Evidence(NamedTuple):
    """Parameters of a normal-inverse-gamma distribution, all of one shape.

    Attributes:
        nu: Evidence for the mean, in numbers of observations.
        alpha: Shape of the variance's distribution, above 1.
        beta: Its scale, eV^2/Angstrom^2.
    """

    nu: Tensor
    alpha: Tensor
    beta: Tensor

    @property
    def aleatoric_variance(self) -> Tensor:
        """Expected variance of the data, beta / (alpha - 1) (Amini et al., eq. 5)."""
        return self.beta / (self.alpha - 1.0)

    @property
    def epistemic_variance(self) -> Tensor:
        """Variance of the mean, beta / (nu (alpha - 1)) (Amini et al., eq. 5)."""
        return self.aleatoric_variance / self.nu


def evidence(noise: Tensor, *, scale: float) -> Evidence:
    """Read evidence from the outputs of an evidential readout.

    Args:
        noise: Shape ``(..., 3)``.
        scale: s0, eV/Angstrom.

    Returns:
        Evidence, each part of shape ``(...)``.
    """
    nu, shape, beta = (softplus(noise) + LEAST_EVIDENCE).unbind(dim=-1)
    return Evidence(nu=nu, alpha=1.0 + shape, beta=scale**2 * beta)


class NoiseModel(Protocol):
    """How the outputs of a noise readout are read."""

    n_outputs: int
    epistemic: bool
    """Whether they tell what is not known about the mean."""

    def force_std(self, noise: Tensor, *, scale: float) -> Tensor:
        """Aleatoric standard deviation of a force component.

        Args:
            noise: Shape ``(..., n_outputs)``.
            scale: s0, eV/Angstrom.

        Returns:
            Shape ``(...)``, eV/Angstrom.
        """
        ...

    def force_epistemic_std(self, noise: Tensor, *, scale: float) -> Tensor | None:
        """Epistemic standard deviation likewise; None if the readout says nothing of it."""
        ...


class GaussianNoise:
    """See the module; one number per atom."""

    n_outputs = 1
    epistemic = False

    def force_std(self, noise: Tensor, *, scale: float) -> Tensor:
        """See `NoiseModel`."""
        return scale * noise[..., 0].exp()

    def force_epistemic_std(self, noise: Tensor, *, scale: float) -> None:
        """See `NoiseModel`."""


class EvidentialNoise:
    """See the module; three numbers per atom."""

    n_outputs = 3
    epistemic = True

    def force_std(self, noise: Tensor, *, scale: float) -> Tensor:
        """See `NoiseModel`."""
        return evidence(noise, scale=scale).aleatoric_variance.sqrt()

    def force_epistemic_std(self, noise: Tensor, *, scale: float) -> Tensor:
        """See `NoiseModel`."""
        return evidence(noise, scale=scale).epistemic_variance.sqrt()


NOISE_MODELS: Final[Mapping[NoiseKind, NoiseModel]] = {
    "gaussian": GaussianNoise(),
    "evidential": EvidentialNoise(),
}
