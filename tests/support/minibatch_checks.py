"""Whether prior, minibatch noise and step sizes weigh what they should."""

import math

import torch
from torch import Tensor

from posterion.posterior.prior import GaussianPrior
from tests.support.sampler_kit import STANDARD_ERRORS, Kit, Measurement, worst
from tests.support.sampling import FRICTION, Effort, run
from tests.support.targets import linear_regression


def prior_only(kit: Kit, effort: Effort) -> Measurement:
    """Without any likelihood the chains sample the prior, with the step size of the cap.

    h = .02 a = .002 is overdamped: positions lose about h / a = 2 % per step, records 50 steps
    apart correlate by exp(-1), so the error is sqrt(2 / (40960 * .76)) = 0.8 %. The variance
    starts from zero and after 500 steps lacks exp(-2 * 500 * .02) = 2e-9.
    """
    n_data = 10
    prior = GaussianPrior(mean=torch.tensor([1.0, 0.0, -2.0]), std=torch.tensor([0.2, 1.0, 5.0]))
    silent = torch.zeros(effort.n_chains, 3)
    chooser = kit.preconditioner.InverseGradientVariance()
    state = chooser.init(silent.shape, silent.dtype, silent.device)
    for _ in range(2):
        state = chooser.update(state, silent)
    eta = chooser.step_size(
        state, friction=FRICTION, epsilon=0.1, n_data=n_data, prior_precision=prior.precision
    )
    moments = run(
        kit.sampler.update,
        lambda q, _: kit.density.gradient_per_datum(silent, q, prior=prior, n_data=n_data),
        eta,
        effort,
        n_data=n_data,
        centre=torch.as_tensor(prior.mean),
    )
    ratio = moments.second_moment * prior.precision
    ratio = ratio / kit.variance_ratio(torch.tensor(0.002))
    bound = STANDARD_ERRORS * effort.standard_error(correlation=math.exp(-1.0))
    return worst(ratio, torch.ones_like(ratio), bound)


def _regression(kit: Kit, effort: Effort, *, corrected: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Variance ratios, kinetic temperatures and excess heats of regression by minibatches."""
    target = linear_regression(n_data=200, scales=(0.3, 1.0, 3.0), seed=1)
    batch_size, excess = 10, torch.tensor([0.1, 0.3, 0.5])

    def gradient(position: Tensor, generator: torch.Generator) -> Tensor:
        shape = (effort.n_chains, batch_size)
        return target.gradient(position, torch.randint(target.n_data, shape, generator=generator))

    generator = torch.Generator().manual_seed(effort.seed + 1000)
    start = target.posterior_mean.expand(effort.n_chains, 3)
    chooser = kit.preconditioner.InverseGradientVariance()
    state = chooser.init((effort.n_chains, 3), start.dtype, start.device)
    for _ in range(150):
        state = chooser.update(state, gradient(start, generator))
    eta = excess * chooser.step_size(
        state, friction=FRICTION, epsilon=1.0, n_data=target.n_data, prior_precision=0.01
    )
    moments = run(
        kit.sampler.update,
        gradient,
        eta,
        effort,
        n_data=target.n_data,
        centre=target.posterior_mean,
        noise_correction=state.variance if corrected else None,
    )
    ratio = moments.second_moment / target.posterior_variance
    unit = kit.sampler.momentum_variance(torch.ones(3), friction=FRICTION)
    kinetic = moments.momentum_second_moment / unit
    return ratio, kinetic, excess


def minibatch_heat(kit: Kit, effort: Effort) -> Measurement:
    """Minibatches of 10 from 200 data overheat each parameter by its own excess.

    At 2048 chains the bound of 0.1 holds 5 standard errors and three known biases. Positions
    relax at the rate eta k / a = 2 excess B / N = .01 to .05 per step; records 50 steps apart
    correlate by exp(-.5) or less: 5 standard errors are 0.05 at ratio 1.1 and less than 0.06
    at 1.5. Step sizes estimated from 150 minibatches are too large by 2 / 147 on average;
    the noise of the gradient grows with the distance from the mode, by about
    (d + 2) / N = 2.5 % of the excess; the discretisation adds h / 3.8 < 0.3 %.
    """
    ratio, _, excess = _regression(kit, effort, corrected=False)
    return worst(ratio, 1.0 + kit.position_heat * excess, 0.1)


def corrected_minibatch_heat(kit: Kit, effort: Effort) -> Measurement:
    """With the correction the excess is gone; bound as in ``minibatch_heat``."""
    ratio, _, _ = _regression(kit, effort, corrected=True)
    return worst(ratio, torch.ones_like(ratio), 0.1)


def minibatch_kinetic_temperature(kit: Kit, effort: Effort) -> Measurement:
    """The kinetic thermometer shows the mean excess.

    The momentum forgets by .9 per step, so the records are independent: 5 standard errors of
    the mean over three parameters are 5 * .007 * sqrt(1.1^2 + 1.3^2 + 1.5^2) / 3 = .026. The
    biases of ``minibatch_heat`` add 0.3 * (2 / 147 + .025) = .012.
    """
    _, kinetic, excess = _regression(kit, effort, corrected=False)
    mean = kinetic.mean()[None]
    return worst(mean, 1.0 + kit.momentum_heat * excess.mean()[None], 0.05)


def uniform_heat(kit: Kit, effort: Effort) -> Measurement:
    """The step sizes give every parameter the excess asked for, whatever its gradient noise.

    Gradients are Gaussian with known variances over eight decades. The mean over 64 chains of
    an inverse variance from n = 1000 draws has bias 2 / n = 0.2 % and relative error
    sqrt(2 / 1000 / 64) = 0.56 %: the bound is bias plus 5 errors.
    """
    generator = torch.Generator().manual_seed(effort.seed)
    std, mean = torch.logspace(-2, 2, 5), torch.linspace(-3, 3, 5)
    n_data, epsilon = 50, 0.1
    chooser = kit.preconditioner.InverseGradientVariance()
    state = chooser.init((64, 5), std.dtype, std.device)
    for _ in range(1000):
        state = chooser.update(state, mean + std * torch.randn(64, 5, generator=generator))
    eta = chooser.step_size(
        state, friction=FRICTION, epsilon=epsilon, n_data=n_data, prior_precision=1e-9
    )
    heat = kit.diagnostics.excess_heat(eta, std.square(), n_data=n_data, friction=FRICTION)
    ratio = heat.mean(dim=0) / epsilon
    return worst(ratio, torch.ones_like(ratio), 0.002 + STANDARD_ERRORS * 0.0056)
