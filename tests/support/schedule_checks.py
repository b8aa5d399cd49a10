"""Whether cycles end in the posterior, and whether a thermometer tells who has arrived there."""

import math

import torch
from torch import Tensor

from posterion.posterior.types import LangevinState
from tests.support.sampler_kit import STANDARD_ERRORS, Kit, Measurement, worst
from tests.support.sampling import FRICTION, Effort, stationary_covariance
from tests.support.targets import GaussianTarget, linear_regression


def cyclical(kit: Kit, effort: Effort) -> Measurement:
    """Draws at the ends of cycles have the variance of the posterior at T = 1/4.

    Every cycle descends to the mode at temperature zero, so nothing is inherited from the last
    one. The factor falls to .25, h to (.005, .025, .05): all underdamped (h > a^2 / 4), so
    after 150 steps of settling the variance lacks .9^150 = 1e-7, and the draws 50 steps apart
    correlate by at most .9^25. The step size changes by less than 1 % per step and the
    discretisation by h / 3.8 = 1.3 % at most, which the exact ratio at the draw accounts for:
    half of it is granted for the lag.
    """
    target = GaussianTarget(std=torch.tensor([0.1, 1.0, 10.0]))
    h = torch.tensor([0.02, 0.1, 0.2])
    eta = (h / target.curvature).expand(effort.n_chains, 3)
    schedule = kit.schedules.CyclicalSchedule(
        n_draws=effort.n_steps // effort.stride,
        draws_per_cycle=2,
        thinning=effort.stride,
        n_exploration=100,
        n_ramp=20,
        n_settling=150,
        exploration_temperature=0.0,
        floor=0.25,
        temperature=0.25,
    )
    generator = torch.Generator().manual_seed(effort.seed)
    state = LangevinState(torch.ones_like(eta), torch.zeros_like(eta))
    factor, ratios = 1.0, []
    for index in range(schedule.n_steps):
        step = schedule.at(index)
        ratio = step.step_factor / factor
        state = state.at_rest() if step.restarts else state.rescaled(ratio)
        factor = step.step_factor
        state = kit.sampler.update(
            state,
            target.gradient(state.position),
            eta * factor,
            n_data=target.n_data,
            friction=FRICTION,
            temperature=step.temperature,
            generator=generator,
        )
        if step.draws:
            moment = (state.position.double().square() * target.curvature).mean(dim=0)
            ratios.append(moment / kit.variance_ratio(h * factor))
    value = torch.stack(ratios).mean(dim=0)
    lag = 0.0065 * 0.25
    bound = lag + 0.25 * STANDARD_ERRORS * effort.standard_error(correlation=0.9**25)
    return worst(value, torch.full_like(value, 0.25), bound)


def distance_from_the_start(kit: Kit, effort: Effort) -> Measurement:
    """The configurational thermometer tells how far a chain has come from where it started.

    T = 1/4, a standard normal target, start at c = 1/2. Overdamped directions, h = 1e-5 to
    2e-3 with a = .1, relax at the rate r = h / a per step, up to h / a^2 <= .2 of it at the
    fastest, which has long arrived. After s steps the mean of (q - c) q is
    T (1 - exp(-2 r s)) + c^2 (exp(-2 r s) - exp(-r s)): nearly 0 for tiny steps, although
    q^2 = 1/4 is what T asks for. The momentum builds up within 10 of 1000 steps: 1 %. The
    value of one chain has an error below sqrt(2) times T.
    """
    target = GaussianTarget(std=torch.ones(3))
    h = torch.tensor([1e-5, 1e-4, 2e-3])
    eta, n_steps = h.expand(effort.n_chains, 3), effort.n_steps
    generator = torch.Generator().manual_seed(effort.seed)
    state = LangevinState(torch.full_like(eta, 0.5), torch.zeros_like(eta))
    sums = kit.thermometer.start_virial(state.position)
    for _ in range(n_steps + 1):
        gradient = target.gradient(state.position)
        sums = sums.observe(state.position, gradient, starts_window=True)
        state = kit.sampler.update(
            state,
            gradient,
            eta,
            n_data=target.n_data,
            friction=FRICTION,
            temperature=0.25,
            generator=generator,
        )
    value = sums.temperatures(n_data=target.n_data).double().mean(dim=0)
    path = (h / FRICTION).double() * n_steps
    once, twice = ((1.0 - torch.exp(-n * path)) / (n * path) for n in (1, 2))
    truth = 0.25 * (1.0 - twice) + 0.25 * (twice - once)
    bound = 0.25 * (0.02 + STANDARD_ERRORS * math.sqrt(2.0 / effort.n_chains))
    return worst(value, truth, bound)


def temperature_of_epochs(kit: Kit, effort: Effort) -> Measurement:
    """With minibatches of one permutation the thermometer reads T, not T plus the excess.

    N = 200, B = 10, excess .1 to .5, T = 1: products step by step would read up to 1.5. The
    truth is the variance of the mean over a window of 20 steps, from the step as coded; the
    noise of the epochs adds 5 % at most. Squares of consecutive windows correlate by
    exp(-4 excess) at most.
    """
    target = linear_regression(n_data=200, scales=(0.3, 1.0, 3.0), seed=1)
    excess, n_chains, n_window = torch.tensor([0.1, 0.3, 0.5]), effort.n_chains // 4, 20
    curvature = target.posterior_precision.diagonal()
    variance = curvature / (target.n_data * 10) * (190 / 199)
    eta = (2 * FRICTION * excess / (target.n_data**2 * variance)).expand(n_chains, 3)
    generator = torch.Generator().manual_seed(effort.seed)
    start = target.posterior_mean.expand(n_chains, 3)
    state, sums = LangevinState(start, torch.zeros_like(start)), None
    n_epochs = (effort.n_burn_in + effort.n_steps) // n_window
    for epoch in range(n_epochs):
        order = torch.rand(n_chains, target.n_data, generator=generator).argsort(dim=1)
        if epoch == effort.n_burn_in // n_window:
            sums = kit.thermometer.start_virial(start)
        for step, index in enumerate(torch.split(order, 10, dim=1)):
            gradient = target.gradient(state.position, index)
            if sums is not None:
                sums = sums.observe(state.position, gradient, starts_window=step == 0)
            state = kit.sampler.update(
                state,
                gradient,
                eta,
                n_data=target.n_data,
                friction=FRICTION,
                temperature=1.0,
                generator=generator,
            )
    assert sums is not None
    value: Tensor = sums.temperatures(n_data=target.n_data).double().mean(dim=0)
    h = (eta[0] * curvature).double()
    truth = torch.stack([_window_variance(kit, each, n_window) for each in h])
    kept = math.exp(-0.4)
    n_independent = n_chains * effort.n_steps / n_window * (1 - kept) / (1 + kept)
    return worst(value, truth, 0.05 + STANDARD_ERRORS * (2.0 / n_independent) ** 0.5)


def _window_variance(kit: Kit, h: Tensor, n_window: int) -> Tensor:
    """Variance of the mean of so many positions of a chain on a standard normal."""

    def advance(state: LangevinState, gradient: Tensor, noise: Tensor) -> LangevinState:
        moved: LangevinState = kit.sampler.advance(
            state,
            gradient,
            h.expand_as(noise),
            noise,
            n_data=1,
            friction=FRICTION,
            temperature=1.0,
        )
        return moved

    covariance = torch.from_numpy(stationary_covariance(advance, curvature=1.0))
    unit = torch.eye(2, dtype=torch.float64)
    position, momentum = unit[0][:, None], unit[1][:, None]
    after = advance(LangevinState(position, momentum), position, torch.zeros_like(position))
    step = torch.cat([after.position, after.momentum], dim=1).T
    lagged = [covariance]
    for _ in range(n_window - 1):
        lagged.append(step @ lagged[-1])
    weights = torch.tensor([n_window - lag for lag in range(n_window)], dtype=torch.float64)
    weights[1:] *= 2.0
    positions = torch.stack([each[0, 0] for each in lagged])
    return (weights * positions).sum() / n_window**2
