"""The trainer job: plan, sample, diagnose, calibrate, report, publish."""

import importlib.metadata
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor

from posterion.errors import DiagnosticsRefused
from posterion.inference.bank import VectorizedEngine
from posterion.inference.held_out_frames import evaluate_held_out
from posterion.inference.sample_file import encode_sample
from posterion.network.config import EnergyReference
from posterion.network.functional import NetworkFunction
from posterion.training.checkpoint import load_checkpoint, write_atomically
from posterion.training.config import TrainingConfig
from posterion.training.convergence import diagnose, failed_gates
from posterion.training.energy_noise import fit_energy_noise, with_energy_noise
from posterion.training.history import history_figure, read_log
from posterion.training.plan import RunPlan, plan_run
from posterion.training.report import Report, make_report
from posterion.training.report_input import ReportInput
from posterion.training.worker import CHECKPOINT, Progress
from posterion.training.workers import run_workers
from posterion.uncertainty.calibration import Calibration
from posterion.uncertainty.domain import TrainingDomain, fit_domain
from posterion.uncertainty.fitting import fit_calibration, with_measured_coverage
from posterion.uncertainty.held_out import HeldOut
from posterion_store import BlobRef, DatasetEntry, Manifest, SampleEntry, Store

HISTORY_FILE = "history.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a run left in the store.

    Attributes:
        digest: Digest of the manifest, ``sha256:...``.
        metrics: Figures on the report set.
        diagnostics: How the chains ran.
        folder: Run folder, with logs and plots.
    """

    digest: str
    metrics: Mapping[str, JsonValue]
    diagnostics: Mapping[str, JsonValue]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chains:
    """What the chains left behind.

    Attributes:
        parameters: Draws in the order of evaluation, ``(n_samples, n_parameters)``: first
            draws of all chains, then second draws, so that the first few samples already
            span the chains.
        origin: Chain and draw of each row of ``parameters``.
        diagnostics: How the chains ran.
        history: Plot of loss and temperature, PNG.
    """

    parameters: Tensor
    origin: tuple[tuple[int, int], ...]
    diagnostics: dict[str, JsonValue]
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
        report: Called with every sign of life of the chains.
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
    chains = collect_chains(plan)
    failures = failed_gates(
        chains.diagnostics, config.gates, temperature=config.sampler.temperature
    )
    if failures and not accept_diagnostics:
        raise DiagnosticsRefused(
            "the chains are not fit for publication:\n  "
            + "\n  ".join(failures)
            + f"\nsee {folder / HISTORY_FILE}. Longer burn-in or sampling is the cure; "
            "--accept-diagnostics publishes all the same and the model card says so"
        )
    chains.diagnostics["failed_gates"] = list(failures)
    return publish(plan, chains, store=store, alias=alias)


def collect_chains(plan: RunPlan) -> Chains:
    """Read the finished checkpoints and logs of all chains."""
    draws, traces, step_sizes, halvings = [], [], [], []
    logs = {}
    for group in plan.groups:
        task = plan.task(group)
        state = load_checkpoint(task.folder / CHECKPOINT, fingerprint=plan.fingerprint)
        draws.append(_series(state, "draws"))
        traces.append(_series(state, "traces"))
        step_sizes.append(state["frozen.eta"])
        halvings.append(int(state["retries"]))
        logs[f"chain {', '.join(map(str, group))}"] = read_log(task.folder / "log.csv")
    # A chain run for longer earlier on may have more than this run asks for.
    by_chain = torch.cat([kept[:, : plan.config.sampler.n_samples] for kept in draws])
    n_traces = min(kept.shape[1] for kept in traces)
    n_chains, n_draws, _ = by_chain.shape
    diagnostics = diagnose(
        torch.cat([kept[:, :n_traces] for kept in traces]),
        torch.cat(step_sizes),
        logs,
        n_labels=_labels_per_frame(plan),
    )
    diagnostics["step_size_halvings"] = list(halvings)
    history = history_figure(logs)
    write_atomically(plan.folder / HISTORY_FILE, history)
    return Chains(
        parameters=by_chain.transpose(0, 1).reshape(n_chains * n_draws, -1),
        origin=tuple((chain, draw) for draw in range(n_draws) for chain in range(n_chains)),
        diagnostics=diagnostics,
        history=history,
    )


def _labels_per_frame(plan: RunPlan) -> float:
    """Mean number of labels of a training frame: its energy and its force components."""
    frames = plan.split.train.frames
    return 1.0 + 3.0 * sum(frame.structure.n_atoms for frame in frames) / len(frames)


def _series(state: Mapping[str, Tensor], name: str) -> Tensor:
    """Stack ``name.0``, ``name.1``, ... to ``(n_chains, n, ...)``."""
    count = sum(key.startswith(f"{name}.") for key in state)
    return torch.stack([state[f"{name}.{i}"] for i in range(count)], dim=1)


def publish(plan: RunPlan, chains: Chains, *, store: Store, alias: str) -> Published:
    """Calibrate, measure, write the model card, and put everything into the store.

    Args:
        plan: The run.
        chains: Its samples.
        store: Where to publish.
        alias: Alias that is moved to the new version.

    Returns:
        What was published.
    """
    now = datetime.now(UTC)
    reference, calibration, held_out = _calibrate(plan, chains, date=now.date().isoformat())
    plan = replace(plan, reference=reference)
    domain = fit_domain(
        [frame.structure for frame in plan.split.train.frames], cutoff=plan.network.cutoff
    )
    created_at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    given = _report_input(plan, chains, calibration, domain, held_out, created_at)
    report = make_report(given)
    manifest = _manifest(plan, chains, given, report, store)
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
        diagnostics=chains.diagnostics,
        folder=plan.folder,
    )


def _calibrate(
    plan: RunPlan, chains: Chains, *, date: str
) -> tuple[EnergyReference, Calibration, HeldOut]:
    """Fit on the calibration frames, measure coverage on the report frames."""
    function = NetworkFunction(
        plan.network, plan.reference, dtype=torch.float32, device=plan.device
    )
    engine = VectorizedEngine(function, chains.parameters)
    cutoff = plan.network.cutoff
    fitted_on, measured_on = plan.split.calibration, plan.split.report
    seen = evaluate_held_out(engine, fitted_on.frames, cutoff=cutoff)
    reference = fit_energy_noise(plan.reference, seen)
    fitted = fit_calibration(
        with_energy_noise(seen, reference), dataset_digest=fitted_on.digest, date=date
    )
    held_out = with_energy_noise(
        evaluate_held_out(engine, measured_on.frames, cutoff=cutoff), reference
    )
    calibration = with_measured_coverage(fitted, held_out, dataset_digest=measured_on.digest)
    return reference, calibration, held_out


def _report_input(
    plan: RunPlan,
    chains: Chains,
    calibration: Calibration,
    domain: TrainingDomain,
    held_out: HeldOut,
    created_at: str,
) -> ReportInput:
    config = plan.config
    sets = (plan.split.train, plan.split.calibration, plan.split.report)
    return ReportInput(
        name=config.name,
        description=f"{config.description} Data: {config.data_source}.",
        licence=config.licence,
        level_of_theory=config.level_of_theory,
        created_at=created_at,
        method=config.sampler.kind,
        periodic=all(frame.structure.fully_periodic for frame in plan.split.train.frames),
        held_out=held_out,
        calibration=calibration,
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
        sampler=_sampler_section(config),
        diagnostics=chains.diagnostics,
        n_chains=config.n_chains,
        software={
            name: importlib.metadata.version(name) for name in ("posterion", "torch", "e3nn")
        },
    )


def _sampler_section(config: TrainingConfig) -> dict[str, JsonValue]:
    sections = {"sampler", "prior", "likelihood", "pretraining", "batch_size", "n_chains", "seed"}
    chosen: dict[str, JsonValue] = config.model_dump(mode="json", include=sections)
    return chosen


def _manifest(
    plan: RunPlan, chains: Chains, given: ReportInput, report: Report, store: Store
) -> Manifest:
    samples = []
    for row, (chain, draw) in zip(chains.parameters, chains.origin, strict=True):
        blob = store.put_blob(encode_sample(row.to(torch.float32).numpy()))
        samples.append(SampleEntry(sha256=blob.sha256, size=blob.size, chain=chain, draw=draw))
    contents = {**report.files, HISTORY_FILE: chains.history}
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
        metrics=dict(report.metrics),
        files=files,
    )
