"""Which engine evaluates a bank in single precision: the fastest that the reference confirms."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from posterion.errors import ConfigurationError
from posterion.graph.batch import build_graph, collate
from posterion.inference.bank import BankEngine, ReferenceEngine, VectorizedEngine
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.network.functional import NetworkFunction
from posterion.structures.structure import Structure

EngineSetting: TypeAlias = Literal["auto", "triton"]
"""``auto`` never takes ``triton``: nobody has seen it run on a GPU."""

TOLERANCE: Final = 1e-4
"""Largest force deviation that is accepted, relative to the root mean square of the forces.
Single precision itself costs some 1e-5 where forces are large."""

LARGEST_FUSED_DEGREE: Final = 2
"""Of l: kernels grow steeply with it, and what compiling them beyond 2 takes was not measured."""

_LOGGER: Final = logging.getLogger(__name__)
_ATOMS_PER_SIDE: Final = 3
_SPACING: Final = 1.8
_JITTER: Final = 0.1
_SHEAR: Final = 0.3
_SILENT: Final = 1e-12
"""A network without any force is compared with this, eV/Angstrom or eV/Angstrom^3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenEngine:
    """An engine and what its self-test measured.

    Attributes:
        engine: For batches in single precision.
        reference: The same samples in float64, which it was compared with.
        deviation: Largest difference of a component of forces or of stress from the
            reference, over all samples, relative to the root mean square of either.
    """

    engine: BankEngine
    reference: ReferenceEngine
    deviation: float


def choose_engine(
    config: NetworkConfig,
    reference: EnergyReference,
    parameters: Tensor,
    *,
    device: torch.device | str = "cpu",
    n_threads: int | None = None,
    setting: EngineSetting = "auto",
) -> ChosenEngine:
    """Build engines from the fastest to the most portable, and take the first that agrees.

    An engine that was asked for is taken or refused, never replaced.

    Args:
        config: Architecture.
        reference: Energy reference.
        parameters: Shape ``(n_samples, n_parameters)``.
        device: Where to evaluate.
        n_threads: Of the fused engine; None = as many as torch uses now.
        setting: What the operator asked for.

    Returns:
        The engine; of ``auto`` the last one is taken however far it deviates, with a warning.

    Raises:
        ConfigurationError: If the engine asked for is not installed, cannot run on the device
            or deviates.
    """

    def function(dtype: torch.dtype) -> NetworkFunction:
        return NetworkFunction(config, reference, dtype=dtype, device=device)

    def vectorized() -> BankEngine:
        return VectorizedEngine(function(torch.float32), parameters)

    oracle = ReferenceEngine(function(torch.float64), parameters)
    if setting == "triton":
        return _asked_for(_triton(config, reference, parameters, device), oracle, config)
    candidates: dict[str, Callable[[], BankEngine]] = {"vectorized": vectorized}
    if torch.device(device).type == "cpu" and config.l_max <= LARGEST_FUSED_DEGREE:
        candidates = {
            "fused": lambda: _fused(config, reference, parameters, n_threads)
        } | candidates
    return _first_that_agrees(candidates, oracle, config)


def _fused(
    config: NetworkConfig, reference: EnergyReference, parameters: Tensor, n_threads: int | None
) -> BankEngine:
    # Numba takes a while to import, and is not needed elsewhere.
    from posterion.inference.fused.engine import FusedEngine  # noqa: PLC0415

    return FusedEngine(config, reference, parameters, n_threads=n_threads)


def _triton(
    config: NetworkConfig,
    reference: EnergyReference,
    parameters: Tensor,
    device: torch.device | str,
) -> BankEngine:
    # An optional part, which nothing else needs.
    from posterion.inference.device_kernels.engine import TritonEngine  # noqa: PLC0415

    return TritonEngine(config, reference, parameters, device=device)


def _asked_for(engine: BankEngine, oracle: ReferenceEngine, config: NetworkConfig) -> ChosenEngine:
    deviation = force_deviation(engine, oracle, config)
    if deviation > TOLERANCE:
        raise ConfigurationError(
            f"engine {engine.name} failed its self-test on {engine.device}: forces or stress "
            f"deviate by {deviation:.1e} of their root mean square, more than {TOLERANCE:.0e}"
        )
    return ChosenEngine(engine=engine, reference=oracle, deviation=deviation)


def _first_that_agrees(
    candidates: Mapping[str, Callable[[], BankEngine]],
    oracle: ReferenceEngine,
    config: NetworkConfig,
) -> ChosenEngine:
    *faster, last = candidates
    for name in faster:
        try:
            engine = candidates[name]()
            deviation = force_deviation(engine, oracle, config)
        # Whatever a compiler or its library does, a slower engine can still answer.
        except Exception:
            _LOGGER.warning("engine %s is not used: it cannot run here", name, exc_info=True)
            continue
        if deviation <= TOLERANCE:
            return ChosenEngine(engine=engine, reference=oracle, deviation=deviation)
        _LOGGER.warning(
            "engine %s is not used: its forces deviate by %.1e of their root mean square, "
            "more than %.0e",
            name,
            deviation,
            TOLERANCE,
        )
    engine = candidates[last]()
    deviation = force_deviation(engine, oracle, config)
    if deviation > TOLERANCE:
        _LOGGER.warning(
            "forces of engine %s deviate by %.1e of their root mean square: ask for float64 "
            "where that matters",
            last,
            deviation,
        )
    return ChosenEngine(engine=engine, reference=oracle, deviation=deviation)


def force_deviation(engine: BankEngine, oracle: ReferenceEngine, config: NetworkConfig) -> float:
    """Compare forces and stress of all samples with the reference, for a cluster and for a crystal.

    Args:
        engine: Single precision.
        oracle: Of the same samples.
        config: Their architecture.

    Returns:
        See `ChosenEngine`; infinity where a number is not finite.
    """
    graphs = [build_graph(structure, config.cutoff) for structure in _probes(config)]
    found, expected = (
        one.evaluate(
            collate(graphs, dtype=one.dtype, device=one.device), n_samples=None, stress=True
        )
        for one in (engine, oracle)
    )
    pairs = [(found.forces, expected.forces)]
    if found.stress is not None and expected.stress is not None:
        # Only the second structure has a cell.
        pairs.append((found.stress[:, 1], expected.stress[:, 1]))
    largest = 0.0
    for one, other in pairs:
        scale = max(float(other.square().mean().sqrt()), _SILENT)
        deviation = float((one.double() - other).abs().max()) / scale
        largest = max(largest, deviation if np.isfinite(deviation) else np.inf)
    return largest


def _probes(config: NetworkConfig) -> list[Structure]:
    """A distorted cubic cluster of all elements, and a triclinic cell smaller than the cutoff."""
    rng = np.random.default_rng(0)
    sides = np.array(list(product(range(_ATOMS_PER_SIDE), repeat=3)), dtype=np.float64)
    spacing = min(_SPACING, 0.45 * config.cutoff)
    elements = np.array(config.elements)
    cluster = Structure(
        atomic_numbers=np.resize(elements, len(sides)),
        positions=spacing * (sides + _JITTER * rng.normal(size=sides.shape)),
    )
    n_cell = max(2, len(elements))
    cell = spacing * np.array([[n_cell, 0.0, 0.0], [_SHEAR, 1.4, 0.0], [_SHEAR, -_SHEAR, 1.5]])
    places = (np.arange(n_cell)[:, None] + 0.5) / n_cell * np.array([1.0, 0.0, 0.0])
    crystal = Structure(
        atomic_numbers=np.resize(elements, n_cell),
        positions=places @ cell + _JITTER * spacing * rng.normal(size=(n_cell, 3)),
        cell=cell,
        pbc=(True, True, True),
    )
    return [cluster, crystal]
