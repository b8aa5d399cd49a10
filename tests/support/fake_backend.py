"""A backend whose answers a test can compute by hand: each atom on a spring.

Energy ``k/2 sum |r - r0|^2`` and forces ``-k (r - r0)`` with ``k`` per posterior sample, so
that every part of a reply has a closed form and differs between atoms, axes and samples.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from posterion.api.backend import (
    Health,
    ModelCard,
    ModelIdentity,
    PredictReply,
    Timing,
    VersionInfo,
)
from posterion.api.stepper import Stepper, StepReply, StepsRequest
from posterion.errors import PosterionError, UnknownModel, UnsupportedElement
from posterion.structures.evaluation import EvaluationOptions, Priority
from posterion.structures.prediction import Flag, FloatArray, Prediction, SampleOutputs, Uncertainty
from posterion.structures.structure import Structure
from tests.support.spring_gradient import spring_gradient

MODEL: Final = "springs"
STABLE: Final = "sha256:" + "1a" * 32
OLDER: Final = "sha256:" + "2b" * 32
STIFFNESS: Final = np.array([0.5, 0.75, 1.0, 1.25])
"""Spring constants of the posterior samples, eV/Angstrom^2."""
ORIGIN: Final = np.array([0.1, -0.2, 0.3])
"""Where every spring is at rest, Angstrom."""
ALEATORIC: Final = 0.03125
FORCE_THRESHOLD: Final = 0.375
UNKNOWN_ELEMENT: Final = 92


@dataclass
class SpringBackend:
    """Implements `posterion.api.backend.Backend`; can be told to misbehave.

    Attributes:
        failure: Raised by ``predict``.
        structure_failures: Error by number of atoms of the structure it is for.
        unready: Raised by ``identity`` and ``default_model``.
        health: What both probes say.
        hold: If set, ``predict`` waits for it first.
        alias_moves: Whether the alias moves between ``identity`` and ``predict``.
        poison: If set, every energy is this.
        reached: Set when a ``predict`` has begun.
        calls: Arguments of each ``predict``: structures, options, deadline.
        priorities: Priority of each ``predict``.
        cancelled: Set when a ``predict`` was cancelled.
        lifecycle: Names of the lifespan calls so far.
        told_of_drain: Ends the sessions.
    """

    failure: Exception | None = None
    structure_failures: dict[int, PosterionError] = field(default_factory=dict)
    unready: PosterionError | None = None
    health: Health = field(default_factory=lambda: Health(ok=True, detail="fine"))
    hold: asyncio.Event | None = None
    alias_moves: bool = False
    poison: float | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[tuple[tuple[Structure, ...], EvaluationOptions, float | None]] = field(
        default_factory=list
    )
    priorities: list[Priority] = field(default_factory=list)
    cancelled: bool = False
    lifecycle: list[str] = field(default_factory=list)
    told_of_drain: Callable[[], None] = field(default=lambda: None)

    def default_model(self) -> str:
        if self.unready is not None:
            raise self.unready
        return MODEL

    def models(self) -> Sequence[ModelCard]:
        return (self.card(MODEL, None),)

    def versions(self, name: str) -> Sequence[VersionInfo]:
        self._digest(name, None)
        return (
            VersionInfo(
                version=STABLE[7:23],
                digest=STABLE,
                created_at="2026-11-20T10:00:00Z",
                aliases=("stable",),
            ),
            VersionInfo(
                version=OLDER[7:23], digest=OLDER, created_at="2026-11-19T10:00:00Z", aliases=()
            ),
        )

    def card(self, name: str, version: str | None) -> ModelCard:
        digest = self._digest(name, version)
        return ModelCard(
            name=name,
            version=digest[7:23],
            digest=digest,
            description="Independent springs.",
            elements=(1, 6, 8),
            cutoff=4.0,
            periodic=True,
            level_of_theory="none",
            datasets=({"role": "train", "source": "made up", "n_frames": 3, "digest": STABLE},),
            method="by hand",
            sampler={"n_steps": 4},
            diagnostics={"r_hat": 1.0},
            n_samples=len(STIFFNESS),
            n_chains=2,
            calibration={"level": 0.9},
            thresholds={"force-epistemic-high": {"candidate": FORCE_THRESHOLD}},
            metrics={"force_mae": 0.01},
            engines={"float32": "springs", "float64": "springs"},
            engine_deviations={"float32": 0.0, "float64": 0.0},
            created_at="2026-11-20T10:00:00Z",
            licence="CC0-1.0",
            aliases=("stable",) if digest == STABLE else (),
        )

    def identity(self, name: str, version: str | None) -> ModelIdentity:
        if self.unready is not None:
            raise self.unready
        digest = self._digest(name, version)
        return ModelIdentity(
            name=name,
            version=digest[7:23],
            digest=digest,
            n_samples=len(STIFFNESS),
            engine="springs",
        )

    async def predict(
        self,
        name: str,
        version: str | None,
        structures: Sequence[Structure],
        options: EvaluationOptions,
        *,
        deadline_s: float | None,
        priority: Priority = "interactive",
    ) -> PredictReply:
        self.calls.append((tuple(structures), options, deadline_s))
        self.priorities.append(priority)
        self.reached.set()
        if self.hold is not None:
            await self._wait(self.hold)
        if self.failure is not None:
            raise self.failure
        model = self.identity(name, OLDER if self.alias_moves else version)
        n_samples = options.n_samples or len(STIFFNESS)
        return PredictReply(
            model=replace(model, n_samples=n_samples),
            results=tuple(self._evaluate(structure, options) for structure in structures),
            timing=Timing(queue_ms=1.0, graph_ms=2.0, evaluate_ms=3.0),
        )

    async def open_steps(self, name: str, version: str | None, request: StepsRequest) -> Stepper:
        return _SpringStepper(self, version, request)

    def on_drain(self, notify: Callable[[], None]) -> None:
        self.told_of_drain = notify

    def live(self) -> Health:
        return self.health

    def ready(self) -> Health:
        return self.health

    async def startup(self) -> None:
        self.lifecycle.append("startup")

    async def shutdown(self) -> None:
        self.lifecycle.append("shutdown")

    async def _wait(self, event: asyncio.Event) -> None:
        try:
            await event.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    def _digest(self, name: str, version: str | None) -> str:
        if name == MODEL and version in (None, "stable", STABLE, STABLE[7:23]):
            return STABLE
        if name == MODEL and version in (OLDER, OLDER[7:23]):
            return OLDER
        raise UnknownModel("no such model or version")

    def _evaluate(
        self, structure: Structure, options: EvaluationOptions
    ) -> Prediction | PosterionError:
        if structure.n_atoms in self.structure_failures:
            return self.structure_failures[structure.n_atoms]
        if UNKNOWN_ELEMENT in structure.atomic_numbers:
            return UnsupportedElement("the model has not seen one of the elements")
        prediction = spring_prediction(structure, options)
        return prediction if self.poison is None else replace(prediction, energy=self.poison)


@dataclass
class _SpringStepper:
    backend: SpringBackend
    version: str | None
    request: StepsRequest

    @property
    def model(self) -> ModelIdentity:
        return self.backend.identity(MODEL, self.version)

    async def step(
        self, positions: FloatArray, cells: FloatArray | None, *, deadline_s: float | None
    ) -> StepReply:
        images = [
            self.request.structure.moved(each, None if cells is None else cells[index])
            for index, each in enumerate(positions)
        ]
        reply = await self.backend.predict(
            MODEL, self.version, images, self.request.options, deadline_s=deadline_s
        )
        return StepReply(results=reply.results, timing=reply.timing, n_rebuilds=len(images))


def spring_prediction(structure: Structure, options: EvaluationOptions) -> Prediction:
    """What the springs answer for one structure, in eV and Angstrom."""
    stiffness = STIFFNESS[: options.n_samples]
    away = structure.positions - ORIGIN
    energies = 0.5 * stiffness * (away**2).sum()
    forces = -stiffness[:, None, None] * away
    stress = None
    if options.stress and structure.volume is not None:
        stress = stiffness.mean() * (away.T @ away) / structure.volume
    uncertainty = None
    if options.uncertainty:
        samples = None
        if options.samples != "none":
            samples = SampleOutputs(
                energies=energies,
                forces=forces if options.samples == "full" else None,
                stress=None,
            )
        uncertainty = Uncertainty(
            calibrated=True,
            energy_epistemic=float(energies.std(ddof=1)),
            energy_aleatoric=ALEATORIC * structure.n_atoms**0.5,
            forces_epistemic=forces.std(axis=0, ddof=1),
            forces_aleatoric=np.full(structure.n_atoms, ALEATORIC),
            samples=samples,
        )
    return Prediction(
        energy=float(energies.mean()),
        forces=forces.mean(axis=0),
        stress=stress,
        uncertainty=uncertainty,
        flags=() if uncertainty is None else _flags(uncertainty),
        n_samples=len(energies),
        uncertainty_gradient=None
        if options.gradient_of is None
        else spring_gradient(structure, away, stiffness, options.gradient_of),
    )


def _flags(uncertainty: Uncertainty) -> tuple[Flag, ...]:
    if uncertainty.forces_max <= FORCE_THRESHOLD:
        return ()
    above = np.flatnonzero(uncertainty.forces_per_atom > FORCE_THRESHOLD)
    return (
        Flag(
            code="force-epistemic-high",
            severity="candidate",
            atoms=tuple(above.tolist()),
            metric="force_epistemic_max",
            value=uncertainty.forces_max,
            threshold=FORCE_THRESHOLD,
            unit="eV/angstrom",
            threshold_source="calibration",
            coverage=0.95,
            calibration_id=STABLE,
        ),
        Flag(
            code="close-contact",
            severity="candidate",
            atoms=(),
            metric="pair_distance",
            value=0.6,
            threshold=0.7,
            unit="angstrom",
            threshold_source="training-domain",
            coverage=None,
            calibration_id=None,
        ),
    )
