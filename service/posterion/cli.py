"""What ``posterion`` does on a command line: demo, serve, explore, label, train, evaluate.

Exit codes: 0 done · 1 a check or a service failed · 2 wrong usage or configuration ·
3 data, checkpoint or store cannot be used.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from posterion.errors import (
    BankInvalid,
    CheckpointMismatch,
    ConfigurationError,
    DatasetError,
    PosterionError,
)
from posterion.labelling.cli import explore, label
from posterion.training.cli import recalibrate, train
from posterion_store.errors import StoreError

EXIT_USAGE = 2
EXIT_INPUT = 3

app = typer.Typer(
    name="posterion",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Energies, forces and honest uncertainty for molecular dynamics, served over REST.\n\n"
        "Start with `posterion demo`. `posterion serve` answers http://127.0.0.1:8000/v1; "
        "`posterion explore`, `posterion label` and `posterion train` lead from a molecule to "
        "a sample set of your own, `posterion evaluate` says how good one is; "
        "`posterion-store` looks after published ones."
    ),
)

StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="POSTERION_STORE",
        metavar="URL",
        help="Model store: a directory, file:///path or s3://bucket/prefix. "
        "Default: the store that ships with the package (read-only).",
    ),
]
InProcess = Annotated[
    bool,
    typer.Option("--in-process", help="One process under uvicorn, without Ray: starts faster."),
]


@app.command()
def demo(
    *,
    in_process: InProcess = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON.")
    ] = None,
    picture: Annotated[
        Path, typer.Option("--picture", metavar="FILE", help="Where the plot goes.")
    ] = Path("posterion-demo.png"),
) -> None:
    """Start the service, ask it about ethanol, run molecular dynamics, check the answers.

    Four structures go in one request: ethanol at rest, a 300 K geometry, one with a C-H
    bond stretched to 1.6 Angstrom, one with an element the bank does not know. Then 100
    steps of NVE run through the ASE calculator. Exits 0 only if all is as it should be.
    """
    from posterion.demo import run_demo

    raise typer.Exit(run_demo(in_process=in_process, json_file=json_file, picture=picture))


@app.command()
def serve(  # noqa: PLR0913 - one parameter per option
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 opens it to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    store: StoreUrl = None,
    bank: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[@ALIAS]",
            help="Bank to serve; repeat for several, the first is the default model. "
            "Default: every bank of the store, at its alias `stable`.",
        ),
    ] = None,
    in_process: InProcess = False,
    replicas: Annotated[int, typer.Option(min=1, help="Replicas (Ray Serve only).")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    engine: Annotated[
        str,
        typer.Option(
            metavar="auto|triton",
            help="Engine of single precision. triton: needs a GPU and the extra `gpu`; no GPU "
            "has run it yet.",
        ),
    ] = "auto",
    n_cpus: Annotated[int, typer.Option("--cpus", min=1, help="Threads per replica.")] = 1,
    ingress: Annotated[
        str | None,
        typer.Option(
            metavar="haproxy|ray",
            help="What accepts connections in front of the replicas (Ray Serve only). "
            "haproxy: a molecule's round trip is several times shorter, slow clients are "
            "cut off; Linux. ray: Ray's own proxy, where HAProxy does not run. "
            "Default: haproxy.",
        ),
    ] = None,
    startup_timeout_s: Annotated[
        float | None,
        typer.Option(
            "--startup-timeout",
            metavar="SECONDS",
            help="Give up if it is not ready by then (Ray Serve only). Default: 180.",
        ),
    ] = None,
) -> None:
    """Serve predictions over HTTP until SIGINT or SIGTERM.

    A version promoted with `posterion-store promote` is picked up without a restart.

    Example: posterion serve --store /data/models --bank ethanol --bank water@canary
    """
    from pydantic import ValidationError

    from posterion.serving.launch import serve as run
    from posterion.serving.settings import ServeSettings

    options = {
        "host": host,
        "port": port,
        "banks": tuple(bank or ()),
        "in_process": in_process,
        "replicas": replicas,
        "device": device,
        "engine": engine,
        "n_cpus": n_cpus,
    }
    chosen = {"store": store, "ingress": ingress, "startup_timeout_s": startup_timeout_s}
    options |= {name: value for name, value in chosen.items() if value is not None}
    try:
        settings = ServeSettings.model_validate(options)
    except ValidationError as error:
        lines = [f"--{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigurationError("; ".join(lines)) from error
    raise typer.Exit(run(settings))


app.command()(explore)
app.command()(label)


app.command()(train)
app.command()(recalibrate)


@app.command()
def evaluate(  # noqa: PLR0913 - one parameter per option
    bank: Annotated[str, typer.Argument(metavar="BANK", help="NAME, NAME@ALIAS or NAME@VERSION.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Labelled frames: extxyz, rMD17 npz, ...")
    ],
    *,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE_OOD", help="Frames that should be told from those of FILE."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every number as JSON.")
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Default: evaluation-NAME, beside the JSON file."),
    ] = None,
    store: StoreUrl = None,
    n_samples: Annotated[
        int | None,
        typer.Option("--samples", min=1, help="Use the first so many samples. Default: all."),
    ] = None,
    error_above: Annotated[
        list[float] | None,
        typer.Option(
            metavar="X",
            help="Force errors above X eV/Angstrom are to be found; repeat for several. "
            "Default: 0.1 and 0.3.",
        ),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=0, help="Resamples of frames behind each interval; 0 = none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Score a bank on labelled frames: errors, error bars, detection of errors, flags.

    Every number comes with a 95 % interval; docs/science/scores.md explains them. Pictures
    go to a folder. Frames that the bank cannot judge are named, never dropped in silence.

    Example: posterion evaluate ethanol test.extxyz --against other.extxyz --json scores.json
    """
    from posterion.bundled import bundled_store
    from posterion.evaluation.command import EvaluationRequest, run_evaluation, score_settings

    run_evaluation(
        EvaluationRequest(
            bank=bank,
            file=file,
            against=against,
            json_file=json_file,
            plots=plots,
            store=store or bundled_store(),
            n_samples=n_samples,
            device=device,
            settings=score_settings(error_above, n_resamples=resamples, seed=seed),
        )
    )


def main() -> None:
    """Run the command line; deliberate errors become one message and an exit code."""
    try:
        app()
    except (ConfigurationError, DatasetError, BankInvalid, CheckpointMismatch) as error:
        usage = isinstance(error, ConfigurationError)
        _fail(error.code, error.detail, EXIT_USAGE if usage else EXIT_INPUT)
    except StoreError as error:
        _fail(error.code, str(error), EXIT_INPUT)
    except PosterionError as error:
        _fail(error.code, error.detail, 1)


def _fail(code: str, detail: str, status: int) -> None:
    sys.stderr.write(f"posterion: {code}: {detail}\n")
    sys.exit(status)
