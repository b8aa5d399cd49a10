"""What a caller is told about a version before trusting it."""

from collections.abc import Mapping

from pydantic import ValidationError

from posterion.api.backend import JsonObject, ModelCard
from posterion.inference.predictor import EngineReport
from posterion.uncertainty.calibration import Calibration
from posterion_store import Manifest
from posterion_store.names import version_of


def model_card(
    manifest: Manifest,
    digest: str,
    *,
    aliases: tuple[str, ...],
    engines: Mapping[str, EngineReport],
) -> ModelCard:
    """Describe one version.

    Args:
        manifest: Its immutable description.
        digest: Its digest.
        aliases: Aliases that point to it now.
        engines: Engine by precision; empty if the version is not in memory.

    Returns:
        The card.
    """
    calibration, thresholds = _calibration(manifest)
    return ModelCard(
        name=manifest.name,
        version=version_of(digest),
        digest=digest,
        description=manifest.description,
        elements=manifest.elements,
        cutoff=manifest.cutoff,
        periodic=manifest.periodic,
        level_of_theory=manifest.level_of_theory,
        datasets=[dataset.model_dump(mode="json") for dataset in manifest.datasets],
        method=manifest.method,
        sampler=manifest.sampler,
        diagnostics=manifest.diagnostics,
        n_samples=len(manifest.samples),
        n_chains=len({sample.chain for sample in manifest.samples}),
        calibration=calibration,
        thresholds=thresholds,
        metrics=manifest.metrics,
        engines={precision: one.name for precision, one in engines.items()},
        engine_deviations={precision: one.deviation for precision, one in engines.items()},
        created_at=manifest.created_at,
        licence=manifest.licence,
        aliases=aliases,
    )


def _calibration(manifest: Manifest) -> tuple[JsonObject, JsonObject]:
    """Calibration with its identity, and the thresholds with all samples evaluated.

    A version that cannot be loaded may still be described; its calibration then stands as
    published, without thresholds.
    """
    try:
        calibration = Calibration.model_validate(manifest.calibration)
    except ValidationError:
        return manifest.calibration, {}
    thresholds: dict[str, object] = {
        metric: threshold.model_dump(mode="json")
        for metric, threshold in calibration.entries[-1].thresholds.items()
    }
    return {**manifest.calibration, "id": calibration.identity}, thresholds
