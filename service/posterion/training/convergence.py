"""Whether the chains may be published: thermometers, R-hat and ESS of forces, gates."""

import math
from collections.abc import Mapping

import numpy as np
from pydantic import JsonValue
from torch import Tensor

from posterion.posterior.diagnostics import (
    between_chain_rhat,
    effective_sample_size,
    median,
    within_chain_rhat,
)
from posterion.training.history import Log, column, loss_drift
from posterion.training.sampler_config import GateConfig

MIN_TRACES = 4
"""Fewest draws of which R-hat makes sense."""


def diagnose(
    traces: Tensor, step_sizes: Tensor, logs: Mapping[str, Log], *, n_labels: float
) -> dict[str, JsonValue]:
    """Sum up how the chains ran.

    Args:
        traces: Forces on probe structures, ``(n_chains, n_traces, n_components)``, eV/Angstrom.
        step_sizes: Frozen squared step sizes, ``(n_chains, n_parameters)``.
        logs: Chain name to log.
        n_labels: Mean number of labels of a training frame.

    Returns:
        The diagnostics section of the manifest; NaN becomes null.
    """
    kinetic = [float(np.mean(column(log, "t_kin", phase="sampling"))) for log in logs.values()]
    configurational = [
        float(np.mean(column(log, "t_conf", phase="sampling"))) for log in logs.values()
    ]
    drift = [loss_drift(log, n_labels=n_labels) for log in logs.values()]
    quantiles = np.quantile(step_sizes.sqrt().numpy(), [0.05, 0.5, 0.95])
    enough = traces.shape[1] >= MIN_TRACES
    several = enough and traces.shape[0] > 1
    within = [median(within_chain_rhat, chain[None]) if enough else math.nan for chain in traces]
    return {
        "n_chains": traces.shape[0],
        "n_traces": traces.shape[1],
        "kinetic_temperature": [_number(value) for value in kinetic],
        "configurational_temperature": [_number(value) for value in configurational],
        "loss_drift_nat_per_label": [_number(value) for value in drift],
        "r_hat_forces_within_chain": [_number(value) for value in within],
        "r_hat_forces_between_chains": _number(
            median(between_chain_rhat, traces) if several else math.nan
        ),
        "ess_forces": _number(median(effective_sample_size, traces) if enough else math.nan),
        "step_size_sqrt_eta_quantiles": {
            "0.05": float(quantiles[0]),
            "0.5": float(quantiles[1]),
            "0.95": float(quantiles[2]),
        },
    }


def failed_gates(
    diagnostics: Mapping[str, JsonValue], gates: GateConfig, *, temperature: float
) -> list[str]:
    """Which gates of publication the diagnostics do not pass, each as a sentence."""
    checks = (
        ("r_hat_forces_within_chain", "within-chain R-hat of forces", gates.max_r_hat),
        (
            "kinetic_temperature",
            "kinetic temperature while sampling",
            gates.max_kinetic_temperature * temperature,
        ),
        (
            "loss_drift_nat_per_label",
            "drift of the loss in nat per label",
            gates.max_loss_drift,
        ),
    )
    failures = []
    for key, words, limit in checks:
        values = diagnostics[key]
        if not isinstance(values, list):
            raise TypeError(f"{key} must be a list, got {type(values).__name__}")
        for chain, value in enumerate(values):
            if not isinstance(value, float) or not value <= limit:
                found = "undefined" if value is None else f"{value:.3g}"
                failures.append(f"chain {chain}: {words} is {found}, at most {limit:g} is accepted")
    return failures


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
