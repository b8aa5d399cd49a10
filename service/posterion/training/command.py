"""What a person sees of a training run: bars with ETA, then a table of what was published."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue
from rich.console import Console
from rich.progress import TaskID
from rich.table import Table

from posterion.observability.progress import progress_bars
from posterion.training.config import TrainingConfig, load_config
from posterion.training.job import Published, finish
from posterion.training.methods.registry import method_of
from posterion.training.plan import plan_run
from posterion.training.recalibration import recalibrate
from posterion.training.worker import Progress
from posterion.training.workers import run_workers
from posterion_store import Store


def run_training(
    config_file: Path,
    *,
    store: str,
    run_dir: Path | None,
    alias: str,
    accept_diagnostics: bool,
) -> None:
    """Train from a configuration file and say what came out.

    Args:
        config_file: YAML configuration.
        store: URL of the store to publish to.
        run_dir: Run folder; default ``runs/NAME`` below the working directory.
        alias: Alias to move.
        accept_diagnostics: Publish whatever the gates say.

    Raises:
        PosterionError: What went wrong; nothing is lost, the same command continues.
        StoreError: If the store refuses.
    """
    console = Console()
    config = load_config(config_file)
    target = Store.open(store)
    folder = run_dir or Path("runs") / config.name
    method = method_of(config)
    plan = plan_run(config, folder)
    console.print(f"[bold]{config.name}[/bold]: {method.outcome}, checkpoints in {folder}")
    with progress_bars(console) as bars:
        shown: dict[tuple[int, ...], TaskID] = {}

        def report(progress: Progress) -> None:
            if progress.chains not in shown:
                label = f"{method.member} {', '.join(map(str, progress.chains))}"
                shown[progress.chains] = bars.add_task(label, total=progress.n_steps, note="")
            bars.update(
                shown[progress.chains],
                completed=progress.step,
                total=progress.n_steps,
                note=progress.message,
            )

        tasks = [plan.task(members) for members in plan.groups]
        run_workers(tasks, n_workers=plan.n_workers, report=report)
        published = finish(plan, store=target, alias=alias, accept_diagnostics=accept_diagnostics)
    _summarise(console, config, published, store=target.url, alias=alias)


def run_recalibration(config_file: Path, *, store: str, run_dir: Path | None, alias: str) -> None:
    """Calibrate the samples of a published bank again and say what came out.

    Args:
        config_file: YAML configuration that the samples were drawn with.
        store: URL of the store that holds the bank.
        run_dir: Folder for card and plots; default ``runs/NAME`` below the working directory.
        alias: Alias of the version to start from, moved to the new one.

    Raises:
        PosterionError: What went wrong; the old version stays what it was.
        StoreError: If the store refuses.
    """
    console = Console()
    config = load_config(config_file)
    target = Store.open(store)
    with console.status(f"{config.name}: evaluating the samples on held-out frames"):
        published = recalibrate(
            config, store=target, folder=run_dir or Path("runs") / config.name, alias=alias
        )
    _summarise(console, config, published, store=target.url, alias=alias)


def _summarise(
    console: Console, config: TrainingConfig, published: Published, *, store: str, alias: str
) -> None:
    table = Table(title=f"{config.name} on frames it has not seen", show_header=False)
    for name, value in _leaves(dict(published.metrics)):
        table.add_row(name, value)
    console.print(table)
    console.print(f"published {config.name}@{alias} = {published.digest}\n       in {store}")
    console.print(f"logs, plots and model card in {published.folder}")


def _leaves(section: dict[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested metrics to dotted names and short numbers."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", f"{value:.4g}" if isinstance(value, float) else str(value)
