"""A plan names what it will do before the first step, and what it cannot do on this machine."""

from pathlib import Path

import pytest
import torch

from posterion.errors import ConfigurationError
from posterion.training.plan import RunPlan, plan_run
from tests.support.data import morse_frames, write_extxyz
from tests.support.training_runs import N_DATA, sampler, training_config


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "frames.extxyz"
    write_extxyz(path, morse_frames(N_DATA + 60, seed=8))
    return path


def planned(data: Path, folder: Path, **changes: object) -> RunPlan:
    return plan_run(training_config(files=(data,), **changes), folder)


def test_compiler_that_is_missing_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    always = {"device": "cpu", "compile": "always"}
    with pytest.raises(ConfigurationError, match=r"execution\.compile is 'always', but no C\+\+"):
        planned(data, tmp_path, execution=always)


def test_fingerprint_covers_what_is_sampled_and_nothing_else(data: Path, tmp_path: Path) -> None:
    def fingerprint(**changes: object) -> str:
        return planned(data, tmp_path, **changes).fingerprint

    base = fingerprint()
    same: list[dict[str, object]] = [
        {"n_chains": 3},
        {"description": "Another sentence."},
        {"gates": {"max_r_hat": 9.0}},
        {"execution": {"device": "cpu", "checkpoint_every": 99}},
        {"method": sampler(n_samples=9)},
    ]
    other: list[dict[str, object]] = [
        {"seed": 4},
        {"batch_size": 5},
        {"prior": {"kind": "gaussian", "std": 2.0}},
        {"likelihood": {"energy_std_per_sqrt_atom": 0.5}},
        {"likelihood": {"residual": "norm"}},
        {"method": {"kind": "mean-variance"}, "n_chains": 1},
        {"method": {"kind": "mc-dropout"}, "n_chains": 1},
        {"method": {"kind": "mc-dropout", "rate": 0.2}, "n_chains": 1},
        {"method": {"kind": "mc-dropout", "units": "hidden"}, "n_chains": 1},
        {"method": {"kind": "evidential"}, "n_chains": 1},
        {"method": {"kind": "evidential", "regularization": 0.1}, "n_chains": 1},
        {"pretraining": {"steps": 21}},
        {"method": sampler(temperature=0.5)},
        {"method": sampler("amsgrad")},
        {"method": sampler() | {"kind": "baoa"}},
        {"method": sampler(minibatches="independent")},
        {"method": sampler(schedule={"kind": "cyclical"})},
        {"network": {"n_features": 5}},
        {"execution": {"device": "cpu", "threads_per_chain": 2}},
    ]
    assert {fingerprint(**changes) for changes in same} == {base}
    assert len({fingerprint(**changes) for changes in other} | {base}) == len(other) + 1


def test_methods_that_treat_the_same_networks_differently_share_them(
    data: Path, tmp_path: Path
) -> None:
    members = {"deep-ensemble": 5, "mean-variance": 1, "latent-mixture": 1, "last-layer-laplace": 1}
    plans = [
        planned(data, tmp_path, method={"kind": kind}, n_chains=n) for kind, n in members.items()
    ]
    assert len({plan.fingerprint for plan in plans}) == 1
    assert len({plan.task(plan.groups[0]).folder for plan in plans}) == 1


def test_gpu_that_is_not_there_is_named(data: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is there")
    with pytest.raises(ConfigurationError, match=r"execution\.device is 'cuda', but no GPU"):
        planned(data, tmp_path, execution={"device": "cuda"})
