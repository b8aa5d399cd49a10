"""The trainer job: plan, sample, diagnose, calibrate, report, publish."""

import importlib.metadata
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from pydantic import JsonValue

from posterion.errors import DiagnosticsRefused
from posterion.inference.latent_density_file import DENSITY_FILE, encode_latent_density
from posterion.inference.sample_file import encode_sample
from posterion.network.noise import NOISE_MODELS
from posterion.structures.frame_digest import FRAMES_FILE, encode_frame_names
from posterion.training.calibrating import Calibrated, CalibrationWish, LatentRole, calibrate
from posterion.training.checkpoint import load_checkpoint, write_atomically
from posterion.training.config import TrainingConfig
from posterion.training.history import history_figure, read_log
from posterion.training.likelihood import published_network
from posterion.training.methods.protocol import BankSamples, FinishedGroup, TrainedOn
from posterion.training.plan import RunPlan, plan_run
from posterion.training.report import make_report
from posterion.training.report_input import ReportInput, sampler_section
from posterion.training.worker import CHECKPOINT, Progress
from posterion.training.workers import run_workers
from posterion.uncertainty.domain import TrainingDomain, fit_domain
from posterion_store import BlobRef, DatasetEntry, Manifest, SampleEntry, Store

HISTORY_FILE = "history.png"
WIDENED = (
    "Where atoms are rarer than training shows, the latent density widens the spread of their "
    "forces."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a run left in the store.

    Attributes:
        digest: Digest of the manifest, ``sha256:...``.
        metrics: Figures on the report set.
        diagnostics: How the members ran.
        folder: Run folder, with logs and plots.
    """

    digest: str
    metrics: Mapping[str, JsonValue]
    diagnostics: Mapping[str, JsonValue]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What the members left behind.

    Attributes:
        samples: Parameter vectors and how the members ran.
        history: Plot of loss and temperature, PNG.
    """

    samples: BankSamples
    history: bytes


def train(
    config: TrainingConfig,
    *,
    store: Store,
    folder: Path,
    report: Callable[[Progress], None],
    alias: str = "stable",
    accept_diagnostics: bool = False,
) -> Published:
    """Run the whole job, continuing from the checkpoints in the run folder.

    Args:
        config: The run.
        store: Where to publish.
        folder: Run folder.
        report: Called with every sign of life of the members.
        alias: Alias that is moved to the new version.
        accept_diagnostics: Publish although a gate is not passed; the card says so.

    Returns:
        What was published.

    Raises:
        PosterionError: Whatever went wrong; checkpoints stay.
        StoreError: If the store refuses.
    """
    plan = plan_run(config, folder)
    tasks = [plan.task(chains) for chains in plan.groups]
    run_workers(tasks, n_workers=plan.n_workers, report=report)
    return finish(plan, store=store, alias=alias, accept_diagnostics=accept_diagnostics)


def finish(plan: RunPlan, *, store: Store, alias: str, accept_diagnostics: bool) -> Published:
    """Do what follows the last step of every member; arguments as in `train`.

    Raises:
        DiagnosticsRefused: If a gate is not passed, and that is not accepted.
        PosterionError: Whatever went wrong; checkpoints stay.
        StoreError: If the store refuses.
    """
    network = published_network(plan.network, plan.config.likelihood.residual)
    plan = replace(plan, network=network)
    outcome = collect(plan)
    diagnostics = outcome.samples.diagnostics
    failures = plan.method.failed_gates(diagnostics)
    if failures and not accept_diagnostics:
        raise DiagnosticsRefused(
            "the chains are not fit for publication:\n  "
            + "\n  ".join(failures)
            + f"\nsee {plan.folder / HISTORY_FILE}. Longer burn-in or sampling is the cure; "
            "--accept-diagnostics publishes all the same and the model card says so"
        )
    diagnostics["failed_gates"] = list(failures)
    return publish(plan, outcome, store=store, alias=alias)


def collect(plan: RunPlan) -> Outcome:
    """Read the finished checkpoints and logs, and let the method turn them into samples."""
    groups = []
    for chains in plan.groups:
        folder = plan.task(chains).folder
        state = load_checkpoint(folder / CHECKPOINT, fingerprint=plan.fingerprint)
        groups.append(FinishedGroup(chains=chains, state=state, log=read_log(folder / "log.csv")))
    samples = plan.method.bank(
        groups,
        TrainedOn(
            network=plan.network,
            reference=plan.reference,
            frames=plan.split.train.frames,
            device=plan.device,
        ),
    )
    samples.diagnostics["gradient_evaluations"] = sum(
        len(group.chains) * plan.method.n_steps_of(group.state) for group in groups
    )
    samples.diagnostics["divergences"] = [int(group.state["retries"]) for group in groups]
    history = history_figure(
        {f"{plan.method.member} {group.numbers}": group.log for group in groups}
    )
    write_atomically(plan.folder / HISTORY_FILE, history)
    return Outcome(samples=samples, history=history)


def publish(plan: RunPlan, outcome: Outcome, *, store: Store, alias: str) -> Published:
    """Calibrate, measure, write the model card, and put everything into the store.

    Args:
        plan: The run.
        outcome: Its samples.
        store: Where to publish.
        alias: Alias that is moved to the new version.

    Returns:
        What was published.
    """
    now = datetime.now(UTC)
    wish = CalibrationWish(
        target=plan.config.flags,
        date=now.date().isoformat(),
        latent=_latent_role(plan),
    )
    calibrated = calibrate(
        outcome.samples.parameters,
        plan.network,
        plan.reference,
        plan.split,
        wish,
        device=plan.device,
    )
    plan = replace(plan, reference=calibrated.reference)
    domain = fit_domain(
        [frame.structure for frame in plan.split.train.frames], cutoff=plan.network.cutoff
    )
    created_at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    given = _report_input(plan, outcome, calibrated, domain, created_at)
    report = make_report(given)
    files = {
        **report.files,
        **outcome.samples.files,
        HISTORY_FILE: outcome.history,
        FRAMES_FILE: encode_frame_names(plan.split.structures),
        DENSITY_FILE: encode_latent_density(calibrated.latent_density),
    }
    manifest = _manifest(plan, outcome, given, report.metrics, files, store)
    digest = store.publish(manifest)
    store.promote(manifest.name, digest, alias=alias, by="posterion train")
    for name, data in report.files.items():
        write_atomically(plan.folder / name, data)
    write_atomically(
        plan.folder / "published.json",
        json.dumps({"digest": digest, "store": store.url}, indent=2).encode(),
    )
    return Published(
        digest=digest,
        metrics=report.metrics,
        diagnostics=outcome.samples.diagnostics,
        folder=plan.folder,
    )


def _latent_role(plan: RunPlan) -> LatentRole | None:
    if plan.method.latent_epistemic:
        return "whole"
    states_its_own = NOISE_MODELS[plan.network.noise_readout].epistemic
    widen = plan.config.widen_beyond_training and not states_its_own
    return "beyond-training" if widen else None


def _meaning(plan: RunPlan, *, widened: bool) -> str:
    return f"{plan.method.meaning} {WIDENED}" if widened else plan.method.meaning


def _report_input(
    plan: RunPlan,
    outcome: Outcome,
    calibrated: Calibrated,
    domain: TrainingDomain,
    created_at: str,
) -> ReportInput:
    config = plan.config
    sets = (plan.split.train, plan.split.calibration, plan.split.report)
    return ReportInput(
        name=config.name,
        description=f"{config.description} Data: {config.data_source}.",
        licence=config.licence,
        level_of_theory=plan.split.level_of_theory,
        created_at=created_at,
        method=config.method.kind,
        periodic=all(frame.structure.fully_periodic for frame in plan.split.train.frames),
        held_out=calibrated.held_out,
        calibration=calibrated.calibration,
        domain=domain,
        datasets=[
            {
                "role": frames.role,
                "source": frames.source,
                "n_frames": len(frames.frames),
                "digest": frames.digest,
            }
            for frames in sets
        ],
        network=plan.network.model_dump(mode="json"),
        sampler=sampler_section(config, plan.transfer),
        diagnostics=outcome.samples.diagnostics,
        outcome=plan.method.outcome,
        meaning=_meaning(plan, widened=calibrated.widened),
        reading=plan.method.reading,
        software={
            name: importlib.metadata.version(name) for name in ("posterion", "torch", "e3nn")
        },
    )


def _manifest(
    plan: RunPlan,
    outcome: Outcome,
    given: ReportInput,
    metrics: Mapping[str, JsonValue],
    contents: Mapping[str, bytes],
    store: Store,
) -> Manifest:
    samples = []
    for row, (chain, draw) in zip(outcome.samples.parameters, outcome.samples.origin, strict=True):
        blob = store.put_blob(encode_sample(row.to(torch.float32).numpy()))
        samples.append(SampleEntry(sha256=blob.sha256, size=blob.size, chain=chain, draw=draw))
    files: dict[str, BlobRef] = {name: store.put_blob(data) for name, data in contents.items()}
    return Manifest(
        name=given.name,
        created_at=given.created_at,
        description=given.description,
        licence=given.licence,
        method=given.method,
        software=dict(given.software),
        elements=plan.network.elements,
        cutoff=plan.network.cutoff,
        periodic=given.periodic,
        level_of_theory=given.level_of_theory,
        network=plan.network.model_dump(mode="json"),
        energy_reference=plan.reference.model_dump(mode="json"),
        samples=tuple(samples),
        datasets=tuple(DatasetEntry.model_validate(entry) for entry in given.datasets),
        sampler=dict(given.sampler),
        diagnostics=dict(given.diagnostics),
        calibration=given.calibration.model_dump(mode="json"),
        domain=given.domain.model_dump(mode="json"),
        metrics=dict(metrics),
        files=files,
    )
