"""Publish the samples of a bank again, with everything else as it would be made today.

Samples cost hours, what is fitted to them a minute: factors, thresholds, latent density and
card can follow a new target of the flags, other held-out frames or a newer Posterion.
"""

from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from posterion.errors import ConfigurationError
from posterion.inference.loading import SampleBank, load_bank
from posterion.training.config import TrainingConfig
from posterion.training.job import HISTORY_FILE, Outcome, Published, publish
from posterion.training.likelihood import published_network
from posterion.training.methods.protocol import BankSamples
from posterion.training.plan import RunPlan, plan_run
from posterion.training.report_input import sampler_section
from posterion.training.sampler_config import GaussianPriorConfig, TransferPriorConfig
from posterion.training.transfer import TransferSource
from posterion_store import Manifest, Store


def recalibrate(
    config: TrainingConfig, *, store: Store, folder: Path, alias: str = "stable"
) -> Published:
    """Calibrate, measure and publish the samples of the bank that a configuration made.

    Args:
        config: The run that drew the samples. Its method, network and training frames must be
            those of the bank; held-out frames, flags and texts may have changed.
        store: Where the bank is, and where the new version goes.
        folder: Where card and plots go; made if missing.
        alias: Names the version to start from, and is moved to the new one.

    Returns:
        What was published.

    Raises:
        ConfigurationError: If the configuration is of other samples; every difference is named.
        UnknownModel: If there is no such bank or version.
        BankInvalid: If it is damaged.
        DatasetError: If the data cannot be used.
        StoreError: If the store refuses.
    """
    bank = load_bank(store, config.name, alias)
    plan = _plan(config, bank, folder)
    differing = _differences(plan, bank)
    if differing:
        raise ConfigurationError(
            f"{config.name}@{alias} ({bank.version}) was not made by this configuration: "
            + "; ".join(differing)
            + ". Recalibrating keeps the samples; other ones need posterion train"
        )
    manifest = bank.manifest
    samples = BankSamples(
        parameters=bank.parameters,
        origin=tuple((sample.chain, sample.draw) for sample in manifest.samples),
        diagnostics=dict(manifest.diagnostics),
    )
    history = manifest.files.get(HISTORY_FILE)
    if history is None:
        raise ConfigurationError(
            f"{config.name}@{alias} ({bank.version}) has no {HISTORY_FILE}: it was not published "
            "by posterion train, so what it was trained on cannot be known"
        )
    return publish(
        plan, Outcome(samples=samples, history=store.read_blob(history)), store=store, alias=alias
    )


def _plan(config: TrainingConfig, bank: SampleBank, folder: Path) -> RunPlan:
    """The run, without the sample set of a transfer prior: what it gave is in the bank."""
    if not isinstance(config.prior, TransferPriorConfig):
        plan = plan_run(config, folder)
        network = published_network(plan.network, config.likelihood.residual)
        return replace(plan, network=network)
    plan = plan_run(config.model_copy(update={"prior": GaussianPriorConfig()}), folder)
    prior = bank.manifest.sampler.get("prior")
    source = prior.get("source") if isinstance(prior, dict) else None
    if not isinstance(source, str):
        raise ConfigurationError(
            f"{config.name} ({bank.version}) was not drawn with a transfer prior, as the "
            "configuration says"
        )
    centre = bank.parameters.new_empty(0)
    transfer = TransferSource(
        name=config.prior.bank,
        digest=source,
        network=bank.config,
        reference=bank.reference,
        centre=centre,
    )
    return replace(
        plan, config=config, network=bank.config, reference=bank.reference, transfer=transfer
    )


def _settings(config: TrainingConfig, manifest: Manifest) -> dict[str, tuple[object, object]]:
    """Settings of the chains here and as the bank records them, but for the prior."""
    # Older banks call the section of the method after the one kind there was.
    recorded = {
        "method" if name == "sampler" else name: value
        for name, value in manifest.sampler.items()
        if name != "prior"
    }
    try:
        theirs = TrainingConfig.model_validate(config.model_dump() | recorded)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise ConfigurationError(
            f"the manifest of {manifest.name} records settings that this version of Posterion "
            f"does not know ({faults}); recalibrate with the version that trained it"
        ) from error
    return {name: (getattr(config, name), getattr(theirs, name)) for name in recorded}


def _differences(plan: RunPlan, bank: SampleBank) -> list[str]:
    """What contradicts the claim that the plan's chains ended in the bank's samples."""
    manifest = bank.manifest
    trained_on = [entry.digest for entry in manifest.datasets if entry.role == "train"]
    sizes = plan.config.network.model_dump()
    own_prior = sampler_section(plan.config, plan.transfer)["prior"]
    pairs = {
        "method": (plan.config.method.kind, manifest.method),
        "training frames": ([plan.split.train.digest], trained_on),
        "network": (plan.network, bank.config),
        "energy shifts": (plan.reference.shifts, bank.reference.shifts),
        "energy scale": (plan.reference.scale, bank.reference.scale),
        "network sizes": (sizes, {name: getattr(bank.config, name) for name in sizes}),
        "prior": (own_prior, manifest.sampler.get("prior", own_prior)),
        "level of theory": (plan.split.level_of_theory, manifest.level_of_theory),
        **_settings(plan.config, manifest),
    }
    return [
        f"{name} {here} here, {there} there"
        for name, (here, there) in pairs.items()
        if here != there
    ]
