"""The procedures that tell a right sampler from a wrong one, each with its bound.

Each check takes a ``Kit``, the modules under test, and returns what it measured beside the
bound it must not exceed. The default suite runs them on the real modules, the statistical
suite on several seeds and on mutants, which they must reject.
"""

from collections.abc import Callable

import torch
from safetensors.torch import load, save
from torch import Tensor

from posterion.posterior.minibatches import PermutedMinibatches
from posterion.posterior.types import LangevinState
from tests.support.gaussian_checks import (
    exact_corrected_variance,
    exact_variance,
    frozen_step_size,
    quartic,
    temperature,
    thermometers,
    variance,
)
from tests.support.minibatch_checks import (
    corrected_minibatch_heat,
    minibatch_heat,
    minibatch_kinetic_temperature,
    prior_only,
    uniform_heat,
)
from tests.support.sampler_kit import Kit, Measurement, worst
from tests.support.sampling import FRICTION, Effort
from tests.support.schedule_checks import (
    cyclical,
    distance_from_the_start,
    temperature_of_epochs,
)
from tests.support.targets import linear_regression

Check = Callable[[Kit, Effort], Measurement]


def source_paper_update(kit: Kit, effort: Effort) -> Measurement:
    """AMSGrad with SGHMC is the source paper's update, written in its own variables.

    There p is the momentum, im the preconditioner and q moves by lr im p; T = 1. The bound
    is rounding in float64.
    """
    generator = torch.Generator().manual_seed(effort.seed)
    lr, n_data, decay, offset, shape = 1e-2, 40, 0.99, 1e-5, (4, 6)
    curvature = torch.logspace(-1, 1, shape[1], dtype=torch.float64)
    fade = torch.linspace(1.0, 0.2, 30, dtype=torch.float64)
    gradients = [a * torch.randn(shape, generator=generator, dtype=torch.float64) for a in fade]

    v = m = torch.zeros(shape, dtype=torch.float64)
    chooser = kit.preconditioner.Amsgrad(learning_rate=lr, decay=decay, offset=offset)
    seen = chooser.init(shape, v.dtype, v.device)
    for g in gradients:
        v = decay * v + (1 - decay) * g**2
        m = torch.maximum(m, v)
        seen = chooser.update(seen, g)
    im = 1 / ((m / (1 - decay ** len(gradients))).sqrt() + offset)
    eta = chooser.step_size(
        seen, friction=FRICTION, epsilon=0.1, n_data=n_data, prior_precision=1.0
    )

    q, p = gradients[0], torch.zeros_like(v)
    state = kit.sampler.init(q)
    for xi in gradients[1:]:
        p = (1 - FRICTION) * p - FRICTION * curvature * q
        p = p + FRICTION * (2 / (lr * im * n_data)).sqrt() * xi
        q = q + lr * im * p
        state = kit.sampler.advance(
            state,
            curvature * state.position,
            eta,
            xi,
            n_data=n_data,
            friction=FRICTION,
            temperature=1.0,
        )
    relative = (state.position - q).abs().max()[None]
    return worst(relative, torch.zeros_like(relative), 1e-10)


def resume(kit: Kit, effort: Effort) -> Measurement:
    """A chain stored in the middle of an epoch and loaded again goes on bitwise.

    Position, momentum, step size, generator and remaining permutation pass through the bytes
    of a safetensors file. The value is the number of differing numbers: none may differ.
    """
    target = linear_regression(n_data=50, scales=(0.3, 1.0, 3.0), seed=1)

    def advance(
        state: LangevinState, eta: Tensor, order: PermutedMinibatches, noise: torch.Generator
    ) -> LangevinState:
        for _ in range(7):
            g = target.gradient(state.position, order.next_batch().expand(4, 6))
            state = kit.sampler.update(
                state,
                g,
                eta,
                n_data=target.n_data,
                friction=FRICTION,
                temperature=1.0,
                generator=noise,
            )
        return state

    def order(seed: int) -> PermutedMinibatches:
        generator = torch.Generator().manual_seed(seed)
        made: PermutedMinibatches = kit.minibatches.PermutedMinibatches(
            n_data=target.n_data, batch_size=6, generator=generator
        )
        return made

    noise, batches = torch.Generator().manual_seed(effort.seed), order(effort.seed)
    frozen = kit.step_size.freeze(torch.full((4, 3), 1e-4))
    state = advance(kit.sampler.init(torch.zeros(4, 3)), frozen.eta, batches, noise)
    parts = {
        "state": state._asdict(),
        "step_size": frozen.state_dict(),
        "order": batches.state_dict(),
        "noise": {"generator": noise.get_state()},
    }
    stored = save({f"{k}/{n}": t for k, part in parts.items() for n, t in part.items()})
    straight = advance(state, frozen.eta, batches, noise)

    loaded = load(stored)
    parts = {
        k: {n.split("/")[1]: t for n, t in loaded.items() if n.startswith(k + "/")} for k in parts
    }
    again, other = torch.Generator(), order(effort.seed + 1)
    again.set_state(parts["noise"]["generator"])
    other.load_state_dict(parts["order"])
    eta = kit.step_size.load_frozen_step_size(parts["step_size"], device=torch.device("cpu")).eta
    resumed = advance(LangevinState(**parts["state"]), eta, other, again)
    differing = sum((a != b).sum() for a, b in zip(straight, resumed, strict=True))
    differing = torch.as_tensor(differing, dtype=torch.float64)[None]
    return worst(differing, torch.zeros_like(differing), 0.0)


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        exact_variance,
        exact_corrected_variance,
        variance,
        temperature,
        thermometers,
        prior_only,
        minibatch_heat,
        corrected_minibatch_heat,
        minibatch_kinetic_temperature,
        uniform_heat,
        source_paper_update,
        frozen_step_size,
        quartic,
        cyclical,
        distance_from_the_start,
        temperature_of_epochs,
        resume,
    )
}
# The source paper's update is SGHMC; no other sampler is asked to be it.
BAOA_CHECKS = {name: check for name, check in CHECKS.items() if name != "source_paper_update"}
