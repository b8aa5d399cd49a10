"""Whether the chains may be published: thermometers, R-hat and ESS of forces, gates."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import JsonValue
from torch import Tensor

from posterion.posterior.mixing import (
    FEWEST_DRAWS,
    between_chain_rhat,
    effective_sample_size,
    median,
    within_chain_rhat,
)
from posterion.posterior.thermometer import weighted_temperature
from posterion.training.history import Log, column, loss_drift
from posterion.training.sampler_config import GateConfig


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChainRecord:
    """What the chains left behind for judgement.

    Attributes:
        traces: Forces on probe structures, ``(n_chains, n_traces, n_components)``, eV/Angstrom.
        step_sizes: Frozen squared step sizes, ``(n_chains, n_parameters)``.
        excess_heat: Excess temperature that minibatches bring to each parameter's momentum,
            same shape.
        configurational: Configurational temperature of each parameter about the start of the
            chain, same shape.
        data_share: How far the data determine each parameter, from 0 to 1, same shape.
        logs: Name of a group of chains to its log.
    """

    traces: Tensor
    step_sizes: Tensor
    excess_heat: Tensor
    configurational: Tensor
    data_share: Tensor
    logs: Mapping[str, Log]


def diagnose(record: ChainRecord, *, n_labels: float) -> dict[str, JsonValue]:
    """Sum up how the chains ran.

    Args:
        record: What they left.
        n_labels: Mean number of labels of a training frame.

    Returns:
        The diagnostics section of the manifest; NaN becomes null.
    """
    traces, logs = record.traces, record.logs.values()
    quantiles = np.quantile(record.step_sizes.sqrt().numpy(), [0.05, 0.5, 0.95])
    enough = traces.shape[1] >= FEWEST_DRAWS
    several = enough and traces.shape[0] > 1
    within = [median(within_chain_rhat, chain[None]) if enough else math.nan for chain in traces]
    share = record.data_share
    return {
        "n_chains": traces.shape[0],
        "n_traces": traces.shape[1],
        "kinetic_temperature": _numbers(
            float(np.mean(column(log, "t_kin", phase="sampling"))) for log in logs
        ),
        "excess_heat_of_momentum": _numbers(record.excess_heat.double().mean(dim=1).tolist()),
        "configurational_temperature": _numbers(
            weighted_temperature(record.configurational, share).tolist()
        ),
        "configurational_temperature_of_prior": _numbers(
            weighted_temperature(record.configurational, 1.0 - share).tolist()
        ),
        "parameters_determined_by_data": _numbers(share.double().mean(dim=1).tolist()),
        "loss_drift_nat_per_label": _numbers(loss_drift(log, n_labels=n_labels) for log in logs),
        "r_hat_forces_within_chain": _numbers(within),
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


class _Gate(NamedTuple):
    """One condition: the values under a key must lie between two limits."""

    key: str
    words: str
    least: float
    most: float


def failed_gates(
    diagnostics: Mapping[str, JsonValue], gates: GateConfig, *, temperature: float
) -> list[str]:
    """Which gates of publication the diagnostics do not pass, each as a sentence.

    Args:
        diagnostics: From ``diagnose``.
        gates: The limits.
        temperature: T of the posterior, in which temperatures are judged.

    Returns:
        The sentences, naming chain, number and limit.
    """
    heats = [heat for heat in _values(diagnostics, "excess_heat_of_momentum") if heat is not None]
    expected = temperature + (sum(heats) / len(heats) if heats else math.nan)
    return [
        _sentence(chain, gate, value)
        for gate in _gates(gates, temperature=temperature, kinetic=expected)
        for chain, value in enumerate(_values(diagnostics, gate.key))
        if value is None or not gate.least <= value <= gate.most
    ]


def _gates(gates: GateConfig, *, temperature: float, kinetic: float) -> Sequence[_Gate]:
    return (
        _Gate(
            "r_hat_forces_within_chain", "within-chain R-hat of forces", -math.inf, gates.max_r_hat
        ),
        _Gate(
            "kinetic_temperature",
            "kinetic temperature while sampling",
            -math.inf,
            gates.max_kinetic_temperature * kinetic,
        ),
        _Gate(
            "configurational_temperature",
            "configurational temperature while sampling",
            gates.min_configurational_temperature * temperature,
            gates.max_configurational_temperature * temperature,
        ),
        _Gate(
            "loss_drift_nat_per_label",
            "drift of the loss in nat per label",
            -math.inf,
            gates.max_loss_drift,
        ),
    )


def _sentence(chain: int, gate: _Gate, value: float | None) -> str:
    found = "undefined" if value is None else f"{value:.3g}"
    too_low = value is not None and value < gate.least
    limit = f"at least {gate.least:.3g}" if too_low else f"at most {gate.most:.3g}"
    return f"chain {chain}: {gate.words} is {found}, {limit} is accepted"


def _values(diagnostics: Mapping[str, JsonValue], key: str) -> list[float | None]:
    values = diagnostics[key]
    if not isinstance(values, list):
        raise TypeError(f"{key} must be a list, got {type(values).__name__}")
    return [value if isinstance(value, float) else None for value in values]


def _numbers(values: Iterable[float]) -> list[JsonValue]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
