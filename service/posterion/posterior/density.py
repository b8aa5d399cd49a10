"""How a minibatch estimates the potential of the posterior, per datum.

    U(q) / N = mean over the data of -log lik_n(q) - log prior(q) / N

The mean over a minibatch is an unbiased estimate of the mean over the data, so the potential
and its gradient are of order one whatever the size of the data set.
"""

from torch import Tensor

from posterion.posterior.prior import GaussianPrior


def potential_per_datum(
    mean_negative_log_likelihood: Tensor,
    position: Tensor,
    *,
    prior: GaussianPrior,
    n_data: int,
) -> Tensor:
    """Potential per datum, U / N, for a loss that is differentiated as a whole.

    Args:
        mean_negative_log_likelihood: Mean over the minibatch, shape ``(n_chains,)``.
        position: Parameters, shape ``(n_chains, n_parameters)``.
        prior: Prior of the parameters.
        n_data: N, size of the data set.

    Returns:
        U / N of each chain, shape ``(n_chains,)``.
    """
    return mean_negative_log_likelihood - prior.log_density(position) / n_data


def gradient_per_datum(
    mean_negative_log_likelihood_gradient: Tensor,
    position: Tensor,
    *,
    prior: GaussianPrior,
    n_data: int,
) -> Tensor:
    """Gradient g of U / N, for a likelihood that is differentiated alone.

    Args:
        mean_negative_log_likelihood_gradient: Shape ``(n_chains, n_parameters)``.
        position: Parameters, same shape.
        prior: Prior of the parameters.
        n_data: N, size of the data set.

    Returns:
        The gradient, same shape.
    """
    return mean_negative_log_likelihood_gradient - prior.gradient(position) / n_data
