"""The course of the demo: serve, ask, simulate, judge, show."""

from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from posterion.demo.answers import Answers, ask
from posterion.demo.checks import Check, check
from posterion.demo.dynamics import N_STEPS, Trajectory, simulate
from posterion.demo.figure import draw
from posterion.demo.molecules import subjects, thermal_ethanol
from posterion.demo.record import write_record
from posterion.demo.service import RunningService, running_service
from posterion.demo.table import results_table
from posterion.serving.stop_signal import Stopped, stop_signal
from posterion_client import Client

BANK: Final = "ethanol"
SEED: Final = 7
STOPPED: Final = 130


def run(*, in_process: bool, json_file: Path | None, picture: Path, store: str | None) -> int:
    """Run the demo; see ``posterion.demo.run_demo``."""
    console = Console()
    mode = "one process (uvicorn)" if in_process else "Ray Serve"
    try:
        with stop_signal():
            answers, trajectory = _observe(console, store=store, in_process=in_process, mode=mode)
    except Stopped:
        console.print("stopped by a signal")
        return STOPPED
    checks = check(answers, trajectory)
    console.print(results_table(answers, trajectory))
    for each in checks:
        _print_check(console, each)
    picture.write_bytes(draw(answers, trajectory))
    written = [picture]
    if json_file is not None:
        write_record(json_file, answers=answers, trajectory=trajectory, checks=checks, mode=mode)
        written.append(json_file)
    console.print(f"written: {', '.join(map(str, written))}", soft_wrap=True)
    return 0 if all(each.passed for each in checks) else 1


def _observe(
    console: Console, *, store: str | None, in_process: bool, mode: str
) -> tuple[Answers, Trajectory]:
    console.print(f"Starting the service: {mode}.")
    with (
        console.status("waiting until it is ready …") as status,
        running_service(store=store, banks=(BANK,), in_process=in_process) as service,
    ):
        status.update("asking about four structures …")
        with Client(service.url) as client:
            answers = ask(client, subjects())
        status.stop()
        _print_service(console, service, answers)
        trajectory = _simulate(console, service.url)
        status.update("ending the service …")
        status.start()
    return answers, trajectory


def _print_service(console: Console, service: RunningService, answers: Answers) -> None:
    model = answers.model
    for line in (
        f"Ready after {service.startup_s:.1f} s at {service.url}",
        f"Model {model.name} {model.version}, {model.n_samples} posterior samples",
        f"One request with {len(answers.items)} structures: {answers.request_ms:.0f} ms",
    ):
        console.print(line, highlight=False)


def _simulate(console: Console, url: str) -> Trajectory:
    columns = (TextColumn("NVE from 300 K"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("NVE", total=N_STEPS + 1)
        return simulate(url, thermal_ethanol(), seed=SEED, report=lambda: progress.advance(task))


def _print_check(console: Console, result: Check) -> None:
    mark = "[green]passed[/green]" if result.passed else "[bold red]FAILED[/bold red]"
    console.print(mark, f"{result.name}:", end=" ", highlight=False)
    console.print(result.seen, highlight=False, markup=False, soft_wrap=True)
