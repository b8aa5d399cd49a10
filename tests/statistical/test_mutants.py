"""Which wrong samplers the checks reject: a check that passes anything checks nothing.

Each mutant is the source of one module with one text replaced. It must be rejected by the
check named for it; the table written to the terminal shows what that check measured.
"""

import sys
from dataclasses import dataclass, replace
from importlib.abc import SourceLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from posterion.posterior import (
    baoa,
    density,
    diagnostics,
    minibatches,
    preconditioner,
    schedules,
    sghmc,
    step_size,
    thermometer,
)
from tests.support.sampler_checks import CHECKS
from tests.support.sampler_kit import BAOA, SGHMC, Kit
from tests.support.sampling import Effort

pytestmark = pytest.mark.statistical

MODULES = (
    baoa,
    density,
    diagnostics,
    minibatches,
    preconditioner,
    schedules,
    sghmc,
    step_size,
    thermometer,
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong module.

    Attributes:
        fault: What is wrong, in words.
        module: The module it is wrong in.
        replacements: Right text -> wrong text.
        checks: Checks that must reject it.
    """

    fault: str
    module: ModuleType
    replacements: dict[str, str]
    checks: tuple[str, ...]


class _MutantLoader(SourceLoader):
    """Loads a module from mutated source."""

    def __init__(self, path: str, source: str) -> None:
        self._path = path
        self._source = source

    def get_filename(self, fullname: str) -> str:
        return self._path + ".mutant"

    def get_data(self, path: str | bytes) -> bytes:
        return self._source.encode()


def _load(mutant: Mutant) -> ModuleType:
    path = mutant.module.__file__
    assert path is not None
    source = Path(path).read_text(encoding="utf-8")
    for right, wrong in mutant.replacements.items():
        assert right in source, f"{path} no longer contains {right!r}"
        source = source.replace(right, wrong)
    spec = spec_from_loader(mutant.module.__name__, _MutantLoader(path, source))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _kit(mutant: Mutant) -> Kit:
    kit = BAOA if mutant.module is baoa else SGHMC
    module = _load(mutant)
    field = mutant.module.__name__.rpartition(".")[2]
    changes: dict[str, Any] = {"sampler" if field in {"sghmc", "baoa"} else field: module}
    return replace(kit, **changes)


NOISE = "(2.0 * friction * temperature) * step_size"
OU_NOISE = "((1.0 - (1.0 - friction) ** 2) * temperature) * step_size"
MOVE = "position=state.position + momentum, momentum"
RESTORED = 'self._remaining = state["remaining"].clone()'
COPY = "step_size.detach().clone(memory_format=torch.contiguous_format)"
VARIANCE = ("exact_variance", "variance")

MUTANTS = [
    Mutant(
        "factor 2 missing in the noise", sghmc, {NOISE: "friction * temperature * step_size"},
        VARIANCE,
    ),
    Mutant(
        "N missing before the gradient", sghmc, {"step_size * n_data * gradient":
        "step_size * gradient"}, VARIANCE,
    ),
    Mutant(
        "temperature on the standard deviation", sghmc,
        {NOISE: "(2.0 * friction * temperature**2) * step_size"},
        ("exact_variance", "temperature"),
    ),
    Mutant("friction missing in the noise", sghmc, {NOISE: "2.0 * temperature * step_size"},
        VARIANCE),
    Mutant(
        "step size left out of the noise", sghmc,
        {NOISE: "2.0 * friction * temperature * step_size.mean() + 0.0 * step_size"},
        ("variance",),
    ),
    Mutant(
        "preconditioner in the numerator of the noise", sghmc,
        {NOISE: "2.0 * friction * temperature * step_size.pow(3) / step_size.median() ** 2"},
        ("variance", "source_paper_update"),
    ),
    Mutant("explicit Euler: old momentum moves the position", sghmc,
        {MOVE: "position=state.position + state.momentum, momentum"}, VARIANCE),
    Mutant("sign of the momentum", sghmc,
        {MOVE: "position=state.position - momentum, momentum"}, VARIANCE),
    Mutant("sign of the gradient", sghmc,
        {"(1.0 - friction) - drift": "(1.0 - friction) + drift"}, VARIANCE),
    Mutant("friction missing on the momentum", sghmc,
        {"state.momentum * (1.0 - friction)": "state.momentum"}, VARIANCE),
    Mutant("noise not drawn anew but shared by the chains", sghmc,
        {"gradient.shape, generator": "gradient[:1].shape, generator"}, ("variance",)),
    Mutant("correction added instead of subtracted", sghmc,
        {"variance - minibatch_variance": "variance + minibatch_variance"},
        ("exact_corrected_variance", "corrected_minibatch_heat")),
    Mutant("N^2 missing in the correction", sghmc,
        {"(step_size * n_data).square()": "step_size.square()"},
        ("exact_corrected_variance", "corrected_minibatch_heat")),
    Mutant("BAOA: noise of SGHMC", baoa, {OU_NOISE: NOISE}, ("exact_variance", "variance")),
    Mutant("BAOA: temperature on the standard deviation", baoa,
        {"* temperature) * step_size": "* temperature**2) * step_size"},
        ("exact_variance", "temperature")),
    Mutant("BAOA: full first drift", baoa, {"0.5 * kicked": "kicked"}, VARIANCE),
    Mutant("BAOA: N missing before the gradient", baoa,
        {"step_size * n_data * gradient": "step_size * gradient"}, VARIANCE),
    Mutant("BAOA: correction of SGHMC", baoa,
        {"share = (1.0 - 0.5 * friction) ** 2": "share = 1.0"}, ("exact_corrected_variance",)),
    Mutant("adapting preconditioner reaches the chain", step_size,
        {COPY: "step_size"}, ("frozen_step_size",)),
    Mutant("adapting preconditioner reaches the chain, guard off", step_size,
        {COPY: "step_size", "if _digest(self.eta) != self.digest": "if not self.digest"},
        ("frozen_step_size",)),
    Mutant("step size proportional to Var(g)", preconditioner,
        {"/ (float(n_data) ** 2 * variance)": "/ float(n_data) ** 2 * variance"},
        ("uniform_heat",)),
    Mutant("factor 2 missing in the step size", preconditioner,
        {"2.0 * friction * epsilon": "friction * epsilon"}, ("uniform_heat", "minibatch_heat")),
    Mutant("N instead of N^2 in the step size", preconditioner,
        {"float(n_data) ** 2": "float(n_data)"}, ("uniform_heat", "minibatch_heat")),
    Mutant("mean not taken out of the variance", preconditioner,
        {"deviation = gradient - state.mean": "deviation = gradient"}, ("uniform_heat",)),
    Mutant("prior does not cap the step size", preconditioner,
        {"torch.minimum(uniform_heat, cap)": "uniform_heat"}, ("prior_only",)),
    Mutant("AMSGrad: scale in the numerator", preconditioner,
        {"n_data / scale": "n_data * scale"}, ("source_paper_update",)),
    Mutant("AMSGrad: no maximum", preconditioner,
        {"torch.maximum(state.maximum, second_moment)": "second_moment"},
        ("source_paper_update",)),
    Mutant("AMSGrad: no bias correction", preconditioner,
        {"1.0 - self.decay ** int(state.n_seen)": "1.0"}, ("source_paper_update",)),
    Mutant("AMSGrad: N missing", preconditioner,
        {"self.learning_rate / n_data": "self.learning_rate"}, ("source_paper_update",)),
    Mutant("prior not divided by N", density,
        {"prior.gradient(position) / n_data": "prior.gradient(position)"}, ("prior_only",)),
    Mutant("sign of the prior", density,
        {"_gradient - prior.gradient": "_gradient + prior.gradient"}, ("prior_only",)),
    Mutant("kinetic thermometer without 2 / (2 - a)", sghmc,
        {"2.0 * step_size / (2.0 - friction)": "step_size"}, ("thermometers",)),
    Mutant("kinetic thermometer of the standard deviation", diagnostics,
        {"momentum.square() / unit_variance": "momentum.square() / unit_variance.sqrt()"},
        ("thermometers",)),
    Mutant("configurational thermometer without N", diagnostics,
        {".mean(dim=-1) * n_data": ".mean(dim=-1)"}, ("thermometers",)),
    Mutant("factor 2 missing in the excess heat", diagnostics,
        {"gradient_variance / (2.0 * friction)": "gradient_variance / friction"},
        ("uniform_heat",)),
    Mutant("thermometer counts from zero, not from the start", thermometer,
        {"(position - sums.origin)": "position"}, ("distance_from_the_start",)),
    Mutant("thermometer multiplies step by step", thermometer,
        {"sums = self._closed() if starts_window else self": "sums = self._closed()"},
        ("temperature_of_epochs",)),
    Mutant("thermometer without N", thermometer,
        {"self.total * float(n_data)": "self.total"}, ("distance_from_the_start",)),
    Mutant("cycles do not reach T", schedules,
        {"start + (target - start) * progress": "start"}, ("cyclical",)),
    Mutant("cycles end at T = 1", schedules,
        {"target=self.temperature": "target=1.0"}, ("cyclical",)),
    Mutant("remaining permutation not restored", minibatches, {RESTORED: "pass"}, ("resume",)),
    Mutant("generator of the minibatches not restored", minibatches,
        {'self._generator.set_state(state["generator"])': "pass"}, ("resume",)),
]  # fmt: skip

REJECTIONS = [
    pytest.param(mutant, name, id=f"{mutant.fault}-{name}".replace(" ", "_"))
    for mutant in MUTANTS
    for name in mutant.checks
]


@pytest.mark.parametrize(("mutant", "check"), REJECTIONS)
def test_mutant_is_rejected(mutant: Mutant, check: str, capsys: pytest.CaptureFixture[str]) -> None:
    measurement = CHECKS[check](_kit(mutant), Effort())
    with capsys.disabled():
        sys.stdout.write(
            f"\n| {mutant.fault} | {check} | {measurement.value:.4g} | off by "
            f"{measurement.deviation:.3g}, allowed {measurement.bound:.2g} |"
        )
    assert not measurement.passed


@pytest.mark.parametrize("module", MODULES, ids=[module.__name__ for module in MODULES])
def test_a_mutant_of_nothing_passes(module: ModuleType) -> None:
    """The way mutants are loaded is not what gets them rejected."""
    names = {name for mutant in MUTANTS if mutant.module is module for name in mutant.checks}
    kit = _kit(Mutant("nothing", module, {}, ()))
    for name in names:
        measurement = CHECKS[name](kit, Effort())
        assert measurement.passed, (name, measurement)
