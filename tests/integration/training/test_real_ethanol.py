"""On real ethanol the optimiser finds the forces, and the chain does not lose them again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from posterion.inference.bank import VectorizedEngine
from posterion.inference.held_out_frames import evaluate_held_out
from posterion.network.functional import NetworkFunction
from posterion.training.chain_setup import chain_settings
from posterion.training.checkpoint import load_checkpoint
from posterion.training.config import TrainingConfig
from posterion.training.history import column, read_log
from posterion.training.plan import RunPlan, plan_run
from posterion.training.worker import run_worker
from tests.support.data import real_file
from tests.support.training_runs import training_config

N_PRETRAINING = 2000
MAX_MAE = 0.150
"""eV/Angstrom, after pretraining."""
MAX_KINETIC_TEMPERATURE = 1.5
KEPT = 1.1
"""A chain at T = 1 leaves the mode it starts from; the mean of a few draws comes back to it."""


def ethanol(path: Path) -> TrainingConfig:
    return training_config(
        files=(path,),
        name="ethanol",
        batch_size=10,
        n_chains=1,
        data={"files": [path], "n_train": 300, "n_calibration": 40, "n_report": 100},
        network={"cutoff": 4.5, "n_layers": 3, "n_features": 16, "l_max": 1},
        pretraining={"steps": N_PRETRAINING, "learning_rate": 1e-2},
        method={
            "kind": "sghmc",
            "preconditioner": {"kind": "inverse-gradient-variance", "minibatches": 100},
            "ramp_steps": 200,
            "burn_in_steps": 500,
            "burn_in_rounds": 1,
            "thinning_steps": 50,
            "n_samples": 6,
        },
        execution={"device": "cpu", "compile": "never", "log_every": 25},
    )


def force_mae(plan: RunPlan, parameters: Tensor) -> float:
    """Error of the mean over samples on frames not trained on, eV/Angstrom."""
    function = NetworkFunction(plan.network, plan.reference, dtype=torch.float32, device="cpu")
    engine = VectorizedEngine(function, parameters)
    held_out = evaluate_held_out(engine, plan.split.report.frames, cutoff=plan.network.cutoff)
    return float(np.abs(held_out.forces.mean(axis=0) - held_out.force_reference).mean())


@pytest.mark.statistical
@pytest.mark.timeout(3600)
def test_chain_keeps_what_pretraining_found(tmp_path: Path) -> None:
    plan = plan_run(ethanol(real_file("rmd17_ethanol_train01.extxyz")), tmp_path)
    task = plan.task((0,))
    run_worker(task, lambda progress: None)
    start, end = (
        load_checkpoint(task.folder / f"{name}.safetensors", fingerprint=plan.fingerprint)
        for name in ("start", "checkpoint")
    )
    before = force_mae(plan, start["position"])
    n_samples = chain_settings(plan.config).n_samples
    after = force_mae(plan, torch.cat([end[f"draws.{i}"] for i in range(n_samples)]))
    log = read_log(task.folder / "log.csv")
    kinetic = float(np.mean(column(log, "t_kin", phase="sampling")))
    assert before < MAX_MAE
    assert after < KEPT * before, (before, after)
    assert kinetic < MAX_KINETIC_TEMPERATURE
