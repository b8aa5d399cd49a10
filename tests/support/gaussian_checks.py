"""Whether a sampler has the right variance where the gradient is exact."""

import math

import torch
from torch import Tensor

from posterion.posterior.types import LangevinState, UnfrozenPreconditioner
from tests.support.sampler_kit import STANDARD_ERRORS, Kit, Measurement, worst
from tests.support.sampling import FRICTION, Effort, run, stationary_covariance
from tests.support.targets import GaussianTarget, QuarticTarget


def _gaussian(effort: Effort) -> tuple[GaussianTarget, Tensor, Tensor]:
    """Target of three scales, h = (.02, .1, .2) and the step sizes of every chain."""
    target = GaussianTarget(std=torch.tensor([0.1, 1.0, 10.0]))
    h = torch.tensor([0.02, 0.1, 0.2])
    return target, h, (h / target.curvature).expand(effort.n_chains, 3).contiguous()


def exact_variance(kit: Kit, effort: Effort) -> Measurement:
    """Stationary variance of the step as coded, from a Lyapunov equation, without noise.

    The bound is rounding: the equation is solved in float64 with condition below 1e4.
    """
    del effort
    hs = torch.tensor([1e-3, 0.02, 0.1, 0.5, 1.5], dtype=torch.float64)
    curvature, temperature = 4.0, 0.25
    ratios = []
    for h in hs:
        eta = h / curvature

        def advance(
            state: LangevinState, gradient: Tensor, noise: Tensor, eta: Tensor = eta
        ) -> LangevinState:
            moved: LangevinState = kit.sampler.advance(
                state,
                gradient / 10,
                eta.expand_as(noise),
                noise,
                n_data=10,
                friction=FRICTION,
                temperature=temperature,
            )
            return moved

        covariance = stationary_covariance(advance, curvature=curvature)
        ratios.append(covariance[0, 0] * curvature / temperature)
    return worst(torch.tensor(ratios), kit.variance_ratio(hs), 1e-10)


def exact_corrected_variance(kit: Kit, effort: Effort) -> Measurement:
    """Stationary variance with minibatch noise and its correction, from a Lyapunov equation.

    The excess is 1/2. The correction is exact for SGHMC; for BAOA it neglects terms of order
    h, and half of h = 1e-4 is the bound.
    """
    del effort
    h = torch.tensor([1e-5, 1e-4], dtype=torch.float64)
    curvature, n_data, excess = 4.0, 10, 0.5
    ratios = []
    for eta in h / curvature:
        noise_variance = 2.0 * FRICTION * excess / (n_data**2 * eta)

        def advance(
            state: LangevinState,
            gradient: Tensor,
            noise: Tensor,
            eta: Tensor = eta,
            correction: Tensor = noise_variance,
        ) -> LangevinState:
            moved: LangevinState = kit.sampler.advance(
                state,
                gradient / n_data,
                eta.expand_as(noise),
                noise,
                n_data=n_data,
                friction=FRICTION,
                temperature=1.0,
                noise_correction=correction,
            )
            return moved

        covariance = stationary_covariance(
            advance,
            curvature=curvature,
            gradient_variance=float(noise_variance) * n_data**2,
        )
        ratios.append(covariance[0, 0] * curvature)
    return worst(torch.tensor(ratios), kit.variance_ratio(h), 0.5e-4)


def variance(kit: Kit, effort: Effort) -> Measurement:
    """Var k over its exact value, three scales.

    All three are underdamped (h > a^2 / 4): positions lose sqrt(1 - a) per step, so records
    50 steps apart correlate by at most .9^25 = .072, and the error is that of independent
    records: sqrt(2 / 40960) = 0.7 % for 2048 chains x 20 records.
    """
    target, h, eta = _gaussian(effort)
    moments = run(
        kit.sampler.update,
        lambda q, _: target.gradient(q),
        eta,
        effort,
        n_data=target.n_data,
    )
    ratio = moments.second_moment * target.curvature / kit.variance_ratio(h)
    bound = STANDARD_ERRORS * effort.standard_error(correlation=0.9**25)
    return worst(ratio, torch.ones_like(ratio), bound)


def temperature(kit: Kit, effort: Effort) -> Measurement:
    """Var k at T = 1/4, where a temperature on the standard deviation would give 1/16.

    Bound as in ``variance``, for a truth of 1/4.
    """
    target, h, eta = _gaussian(effort)
    moments = run(
        kit.sampler.update,
        lambda q, _: target.gradient(q),
        eta,
        effort,
        n_data=target.n_data,
        temperature=torch.tensor(0.25),
    )
    value = moments.second_moment * target.curvature / kit.variance_ratio(h)
    bound = 0.25 * STANDARD_ERRORS * effort.standard_error(correlation=0.9**25)
    return worst(value, torch.full_like(value, 0.25), bound)


def thermometers(kit: Kit, effort: Effort) -> Measurement:
    """Kinetic and configurational temperature on a Gaussian, over their exact value.

    Both are T times the variance ratio of the sampler: for the momentum of SGHMC
    Var u = 2 eta T / (2 - a) times it, for BAOA Var u = eta T. The momentum forgets by 1 - a
    per step, the position as in ``variance``, so the bound is that of ``variance``.
    """
    target, h, eta = _gaussian(effort)
    moments = run(
        kit.sampler.update,
        lambda q, _: target.gradient(q),
        eta,
        effort,
        n_data=target.n_data,
    )
    # As if every eta were 9, so that the thermometer must divide by it and not by its root.
    unit = kit.sampler.momentum_variance(torch.full((3,), 9.0), friction=FRICTION)
    measured = 3.0 * moments.momentum_second_moment.sqrt()[:, None]
    kinetic = kit.diagnostics.kinetic_temperature(measured, unit[:, None]) / kit.variance_ratio(h)
    position, gradient = torch.tensor([[2.0]]), torch.tensor([[0.5 / target.n_data]])
    reading = kit.diagnostics.configurational_temperature(position, gradient, target.n_data)
    configurational = moments.virial / kit.variance_ratio(h) * reading
    bound = STANDARD_ERRORS * effort.standard_error(correlation=0.9**25)
    both = torch.cat([kinetic, configurational])
    return worst(both, torch.ones_like(both), bound)


def frozen_step_size(kit: Kit, effort: Effort) -> Measurement:
    """A preconditioner that goes on adapting next to the chain must not reach the draws.

    N(0, 1) with the exact gradient and a step size of h = .1 on average. A moving average of
    the squared gradient keeps writing new step sizes into the tensor that was frozen, and each
    record insists on a frozen step size. Bound as in ``variance``, h unknown to a few per
    cent: the discretisation bias is at most h / 3.8 = 3 % for h <= .11.
    """
    target = GaussianTarget(std=torch.ones(1), n_data=1)
    live = torch.full((effort.n_chains, 1), 0.1)
    frozen = kit.step_size.freeze(live)
    square = torch.ones_like(live)
    steps = iter(range(1, effort.n_burn_in + effort.n_steps + 1))

    def gradient(position: Tensor, _: torch.Generator) -> Tensor:
        g = target.gradient(position)
        square.mul_(0.9).add_(g.square(), alpha=0.1)
        live.copy_(0.1 / (square.sqrt() + 1e-3)).clamp_(max=1.0)
        if next(steps) % effort.stride == 0:
            kit.step_size.require_frozen(frozen)
        return g

    try:
        moments = run(kit.sampler.update, gradient, frozen.eta, effort, n_data=1)
    except UnfrozenPreconditioner:
        return Measurement(math.nan, math.inf, 0.0)
    bound = 0.03 + STANDARD_ERRORS * effort.standard_error(correlation=0.9**25)
    return worst(moments.second_moment, torch.ones(1, dtype=torch.float64), bound)


def quartic(kit: Kit, effort: Effort) -> Measurement:
    """E q^2 of exp(-q^4 / 4) is 0.676, on a density that is not Gaussian.

    With four parameters per chain there are 4 x 2048 x 20 records; q^2 has variance
    E q^4 - (E q^2)^2 = 1 - .457 = .737^2. At eta = .01 the mean curvature is 3 E q^2 = 2, so
    positions are underdamped and records 50 steps apart independent as in ``variance``: the
    standard error is .0018. The discretisation adds about h / 3.8 = 0.5 % of .676 = .0036 for
    SGHMC. Together .0127 at 2048 chains.
    """
    target = QuarticTarget()
    moments = run(
        kit.sampler.update,
        lambda q, _: target.gradient(q),
        torch.full((effort.n_chains, 4), 0.01),
        effort,
        n_data=target.n_data,
    )
    value = moments.second_moment.mean()[None]
    bound = 0.0036 + STANDARD_ERRORS * 0.737 / (4 * effort.n_records) ** 0.5
    return worst(value, torch.full_like(value, target.second_moment), bound)
