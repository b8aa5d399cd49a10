"""How hot the chains run: thermometers of the momentum, and the heat minibatches bring."""

from torch import Tensor


def kinetic_temperature(momentum: Tensor, unit_variance: Tensor) -> Tensor:
    """Temperature of the momentum: mean of u^2 over its variance at T = 1.

    It is T plus the mean excess heat, up to the discretisation bias of the sampler.

    Args:
        momentum: u, shape ``(n_chains, n_parameters)``.
        unit_variance: Variance of u at T = 1 with the step size in use, which the sampler's
            ``momentum_variance`` gives; same shape.

    Returns:
        The temperature of each chain, shape ``(n_chains,)``.
    """
    return (momentum.square() / unit_variance).mean(dim=-1)


def configurational_temperature(position: Tensor, gradient: Tensor, n_data: int) -> Tensor:
    """Temperature of the position: mean of q N g, by the virial theorem.

    Args:
        position: q relative to any fixed point, shape ``(n_chains, n_parameters)``.
        gradient: g at ``position``, same shape.
        n_data: N.

    Returns:
        The temperature of each chain, shape ``(n_chains,)``; a single value is noisy, and
        minibatches of one permutation raise it by the excess heat: see ``thermometer``.
    """
    return (position * gradient).mean(dim=-1) * n_data


def excess_heat(
    step_size: Tensor, gradient_variance: Tensor, *, n_data: int, friction: float
) -> Tensor:
    """Excess temperature that independent minibatches bring to each parameter.

    It does not depend on T. Minibatches cut from one permutation per epoch cancel over the
    epoch, so parameters that relax over several epochs stay cooler than this; the momentum
    does not.

    Args:
        step_size: eta, shape ``(n_chains, n_parameters)``.
        gradient_variance: Var(g) over minibatches, same shape.
        n_data: N.
        friction: a.

    Returns:
        epsilon_i = eta N^2 Var(g) / (2 a), same shape.
    """
    return step_size * float(n_data) ** 2 * gradient_variance / (2.0 * friction)


def relaxation_steps(*, epsilon: float, n_data: int, batch_size: int) -> float:
    """Steps a parameter needs to forget its position: about 1 / (2 epsilon) epochs.

    A well-specified likelihood has Var(g) = k / (N B), with the curvature k of U; with
    ``InverseGradientVariance`` the position then relaxes at the rate eta k / a = 2 epsilon B / N.

    Args:
        epsilon: Excess relative temperature the step sizes were chosen for.
        n_data: N.
        batch_size: B.

    Returns:
        Number of steps.
    """
    return n_data / batch_size / (2.0 * epsilon)
