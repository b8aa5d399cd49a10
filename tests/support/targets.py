"""Densities whose moments are known, for samplers to be compared with.

A target gives the gradient g of U / N that a sampler is fed, so that a sampler which forgets
N is found out.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

N_DATA = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianTarget:
    """Independent Gaussians of mean zero.

    Attributes:
        std: Standard deviations, shape ``(n_parameters,)``.
        n_data: N, by which the gradient is divided.
    """

    std: Tensor
    n_data: int = N_DATA

    @property
    def curvature(self) -> Tensor:
        """Second derivative of U, shape ``(n_parameters,)``."""
        return self.std**-2

    def gradient(self, position: Tensor) -> Tensor:
        """Gradient of U / N, shape ``(n_chains, n_parameters)``."""
        return self.curvature * position / self.n_data


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarticTarget:
    """Independent densities proportional to exp(-q^4 / 4): flat in the middle, steep outside.

    Attributes:
        n_data: N, by which the gradient is divided.
    """

    n_data: int = N_DATA

    @property
    def second_moment(self) -> float:
        """E q^2 = 2 Gamma(3/4) / Gamma(1/4) = 0.676."""
        return 2.0 * math.gamma(0.75) / math.gamma(0.25)

    def gradient(self, position: Tensor) -> Tensor:
        """Gradient of U / N, shape ``(n_chains, n_parameters)``."""
        return position**3 / self.n_data


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearRegression:
    """Bayesian linear regression with known noise: a Gaussian posterior seen by minibatches.

    Attributes:
        features: Shape ``(n_data, n_parameters)``.
        labels: Shape ``(n_data,)``.
        noise_std: Standard deviation of the labels.
        prior_precision: Curvature of the Gaussian prior around zero.
    """

    features: Tensor
    labels: Tensor
    noise_std: float
    prior_precision: float

    @property
    def n_data(self) -> int:
        """N."""
        return int(self.features.shape[0])

    @property
    def posterior_precision(self) -> Tensor:
        """Curvature of U, shape ``(n_parameters, n_parameters)``."""
        precision: Tensor = self.features.T @ self.features / self.noise_std**2
        return precision + self.prior_precision * torch.eye(self.features.shape[1])

    @property
    def posterior_mean(self) -> Tensor:
        """Mode of the posterior, shape ``(n_parameters,)``."""
        projected = self.features.T @ self.labels / self.noise_std**2
        mean: Tensor = torch.linalg.solve(self.posterior_precision, projected)
        return mean

    @property
    def posterior_variance(self) -> Tensor:
        """Variance of each parameter, shape ``(n_parameters,)``."""
        covariance: Tensor = torch.linalg.inv(self.posterior_precision)
        return covariance.diagonal()

    def gradient(self, position: Tensor, index: Tensor) -> Tensor:
        """Minibatch gradient of U / N, each chain with data of its own.

        Args:
            position: Shape ``(n_chains, n_parameters)``.
            index: Data of each chain, shape ``(n_chains, batch_size)``.

        Returns:
            The gradient, shape of ``position``.
        """
        features = self.features[index]
        residual = (features @ position[:, :, None])[:, :, 0] - self.labels[index]
        likelihood = (residual[:, None, :] @ features)[:, 0] / index.shape[1] / self.noise_std**2
        return likelihood + self.prior_precision * position / self.n_data


def linear_regression(*, n_data: int, scales: tuple[float, ...], seed: int) -> LinearRegression:
    """Draw a regression problem whose features have the given standard deviations.

    The features are made orthogonal, so that minibatch noise heats each parameter by its own
    excess and not by its neighbours'.
    """
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(n_data, len(scales), generator=generator)
    features = torch.linalg.qr(raw).Q * n_data**0.5 * torch.tensor(scales)
    truth = torch.randn(len(scales), generator=generator)
    labels = features @ truth + 0.5 * torch.randn(n_data, generator=generator)
    return LinearRegression(features=features, labels=labels, noise_std=0.5, prior_precision=0.01)
