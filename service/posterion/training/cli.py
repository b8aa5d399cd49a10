"""The commands ``posterion train`` and ``recalibrate``: what they take and what they say."""

from pathlib import Path
from typing import Annotated

import typer

Store = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="POSTERION_STORE",
        metavar="URL",
        help="Where banks are published: a directory (made if missing), file:///path or s3://...",
    ),
]
RunDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Run folder, with plots. Default: runs/NAME.")
]


def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.yaml", help="Data, network, method; see docs/.")
    ],
    *,
    store: Store,
    run_dir: RunDir = None,
    alias: Annotated[str, typer.Option(help="Alias that is moved to the new version.")] = "stable",
    accept_diagnostics: Annotated[
        bool,
        typer.Option(
            "--accept-diagnostics",
            help="Publish although the chains do not pass the gates; the card says so.",
        ),
    ] = False,
) -> None:
    """Train networks that know what they do not know, calibrate and publish them.

    The method in the configuration decides how: Markov chains (sghmc, baoa),
    deep-ensemble, mc-dropout, last-layer-laplace, latent-mixture, evidential
    or mean-variance; docs/training.md explains each.

    Killed and started again, the same command continues from its checkpoints and gives
    bitwise the same samples.

    Example: posterion train ethanol.yaml --store /data/models
    """
    from posterion.training.command import run_training

    run_training(
        config, store=store, run_dir=run_dir, alias=alias, accept_diagnostics=accept_diagnostics
    )


def recalibrate(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.yaml", help="The configuration that drew the samples.")
    ],
    *,
    store: Store,
    run_dir: RunDir = None,
    alias: Annotated[
        str, typer.Option(help="Version to start from; moved to the new version.")
    ] = "stable",
) -> None:
    """Publish the samples of a bank again with fresh calibration, flags, density and card.

    For another target of the flags, other held-out frames, or after an upgrade: the samples
    stay, a minute's work replaces hours.

    Example: posterion recalibrate ethanol.yaml --store /data/models
    """
    from posterion.training.command import run_recalibration

    run_recalibration(config, store=store, run_dir=run_dir, alias=alias)
