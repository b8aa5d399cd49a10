"""What a person reads of an evaluation: tables with intervals, and what to be wary of."""

from collections.abc import Iterator, Mapping
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from posterion.evaluation.flag_table import FlagTable, Proportion
from posterion.evaluation.record import EvaluatedFile
from posterion.inference.loading import SampleBank
from posterion.uncertainty.bootstrap import Estimate

# Name, label, factor and format of a score; the factor turns eV into meV and 1 into %.
_SCORES: Final = (
    ("mae", "MAE (meV/Å | meV)", 1e3, ".2f"),
    ("rmse", "RMSE (meV/Å | meV)", 1e3, ".2f"),
    ("nll_gaussian", "NLL, Gaussian of the moments (nats)", 1.0, ".3f"),
    ("nll_mixture", "NLL, exact mixture (nats)", 1.0, ".3f"),
    ("cnll_total", "calibrated NLL, total std (nats)", 1.0, ".3f"),
    ("cnll_epistemic", "calibrated NLL, epistemic std (nats)", 1.0, ".3f"),
    ("cnll_aleatoric", "calibrated NLL, aleatoric std (nats)", 1.0, ".3f"),
    ("cnll_latent", "calibrated NLL, latent score (nats)", 1.0, ".3f"),
    ("crps_gaussian", "CRPS, Gaussian (meV/Å | meV)", 1e3, ".2f"),
    ("crps_mixture", "CRPS, exact mixture (meV/Å | meV)", 1e3, ".2f"),
    ("coverage_50", "inside the 50 % interval (%)", 1e2, ".1f"),
    ("coverage_68", "inside the 68 % interval (%)", 1e2, ".1f"),
    ("coverage_90", "inside the 90 % interval (%)", 1e2, ".1f"),
    ("coverage_95", "inside the 95 % interval (%)", 1e2, ".1f"),
    ("miscalibration_area", "miscalibration area", 1.0, ".3f"),
    ("sharpness", "sharpness, RMS total std (meV/Å | meV)", 1e3, ".2f"),
    ("spearman", "Spearman of |error| and total std", 1.0, ".3f"),
)
_LEVELS: Final = {
    "atom": "atoms",
    "structure_max": "frames, worst atom",
    "structure_mean": "frames, mean of atoms",
}
_FEW_REFUSED: Final = 3
_TOO_LONG: Final = 1e4
_UNDEFINED: Final = "–"


def show(
    console: Console,
    bank: SampleBank,
    inside: EvaluatedFile,
    outside: EvaluatedFile | None,
    novelty: Mapping[str, Estimate],
) -> None:
    """Print everything.

    Args:
        console: Where to.
        bank: The bank.
        inside: The file that was asked about.
        outside: The second file, if any.
        novelty: How well the second is told from the first.
    """
    for one in (inside, outside):
        if one is not None:
            _show_file(console, bank, one)
    if outside is not None:
        title = f"Is {outside.file.name} told from {inside.file.name}?"
        console.print(_detection_table(title, novelty, "out_of_distribution"))


def _show_file(console: Console, bank: SampleBank, one: EvaluatedFile) -> None:
    scores = one.scores
    console.print(
        f"\n[bold]{escape(one.file.name)}[/bold]: {scores.n_frames} of {len(one.file.frames)} "
        f"frames, {scores.n_atoms} atoms; bank {bank.name}, version {bank.version}, "
        f"{scores.n_samples} samples; {one.evaluated.wall_s:.1f} s"
    )
    for warning in _warnings(bank, one):
        console.print(f"[yellow]{escape(warning)}[/yellow]")
    console.print(_score_table(scores.estimates))
    console.print(_rank_table(scores.estimates))
    for target in _kinds(scores.estimates, "atom/fraction/"):
        title = f"Are force errors above {target.removeprefix('error_above_')} eV/Å found?"
        console.print(_detection_table(title, scores.estimates, target))
    console.print(_element_table(one))
    console.print(flags_as_table(one.scores.flags))


def _warnings(bank: SampleBank, one: EvaluatedFile) -> Iterator[str]:
    known = one.familiarity
    yield ("caution: " if known.suspicious else "seen before? ") + known.note
    refused = one.evaluated.refused
    for each in refused[:_FEW_REFUSED]:
        yield f"not judged ({each.code}): {each.detail}"
    if len(refused) > _FEW_REFUSED:
        yield f"not judged: {len(refused)} frames in all; --json names each"
    n_left_out = one.scores.n_frames - one.scores.n_energies
    if n_left_out:
        yield (
            f"energies: {n_left_out} of {one.scores.n_frames} frames have a composition whose "
            f"energy the training data of {bank.name} leave open; "
            + ("the others are scored" if one.scores.n_energies else "no energy is scored")
        )


def _score_table(estimates: Mapping[str, Estimate]) -> Table:
    table = Table("score", "force components", "energies", title="Errors and error bars")
    for name, label, factor, form in _SCORES:
        cells = [
            _estimate(estimates.get(f"{quantity}/{name}"), factor=factor, form=form)
            for quantity in ("forces", "energy")
        ]
        if any(cell != _UNDEFINED for cell in cells):
            table.add_row(label, *cells)
    per_atom = _estimate(estimates.get("energy/mae_per_atom"), factor=1e3, form=".3f")
    table.add_row("MAE per atom (meV)", "", per_atom)
    return table


def _rank_table(estimates: Mapping[str, Estimate]) -> Table:
    table = Table("uncertainty", *_LEVELS.values(), title="Spearman of uncertainty and |ΔF|")
    for kind in _kinds(estimates, "atom/spearman/"):
        cells = [_estimate(estimates[f"{level}/spearman/{kind}"]) for level in _LEVELS]
        table.add_row(kind, *cells)
    return table


def _detection_table(title: str, estimates: Mapping[str, Estimate], target: str) -> Table:
    table = Table("of", "by", "AUROC", "AUPRC", title=title)
    for level, label in _LEVELS.items():
        share = estimates[f"{level}/fraction/{target}"].value
        without = _UNDEFINED if share is None else f"{share:.3f}"
        table.add_row(label, "no skill", "0.5", without, style="dim")
        for kind in _kinds(estimates, f"{level}/auroc/{target}/"):
            areas = [estimates[f"{level}/{area}/{target}/{kind}"] for area in ("auroc", "auprc")]
            table.add_row("", kind, *(_estimate(area) for area in areas))
        table.add_section()
    return table


def _kinds(estimates: Mapping[str, Estimate], prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in estimates if name.startswith(prefix)]


def _element_table(one: EvaluatedFile) -> Table:
    table = Table(
        "element",
        "atoms",
        "MAE (meV/Å)",
        "RMSE (meV/Å)",
        "RMS total std (meV/Å)",
        "inside 90 % (%)",
        title="Force components by element",
    )
    for symbol, n_atoms in one.scores.elements.items():
        cells = [
            _estimate(one.scores.estimates[f"element/{symbol}/{name}"], factor=factor, form=".1f")
            for name, factor in (
                ("mae", 1e3),
                ("rmse", 1e3),
                ("sharpness", 1e3),
                ("coverage_90", 1e2),
            )
        ]
        table.add_row(symbol, str(n_atoms), *cells)
    return table


def flags_as_table(flags: FlagTable) -> Table:
    """Which flags frames carry; no code is cut at 80 columns.

    Args:
        flags: Their counts.
    """
    table = Table(
        Column("flag", no_wrap=True),
        "all frames",
        "(as failed)",
        f"an error\n> {flags.high:g} eV/Å",
        "between",
        f"all errors\n< {flags.low:g} eV/Å",
        title="Does a flag mean an error? Frames flagged, of those with",
        caption="codes that flag nothing are left out",
    )
    for row in flags.rows:
        if row is not flags.rows[0] and row.flagged.count == 0:
            continue
        cells = (row.flagged, row.failed, row.high_error, row.between, row.low_error)
        style = "bold" if row is flags.rows[0] else ""
        table.add_row(row.code, *(_proportion(cell) for cell in cells), style=style)
    return table


def _estimate(estimate: Estimate | None, *, factor: float = 1.0, form: str = ".3f") -> str:
    """A number with its interval; a dash where it is undefined."""
    if estimate is None or estimate.value is None:
        return _UNDEFINED
    if abs(factor * estimate.value) >= _TOO_LONG:
        form = ".3g"
    text = format(factor * estimate.value, form)
    if estimate.low is None or estimate.high is None:
        return text
    return rf"{text} \[{factor * estimate.low:{form}}, {factor * estimate.high:{form}}]"


def _proportion(proportion: Proportion) -> str:
    interval = proportion.interval
    if interval is None:
        return "none"
    low, high = (100.0 * end for end in interval)
    share = 100.0 * proportion.count / proportion.of
    return f"{proportion.count} of {proportion.of}\n{share:.1f} %\n\\[{low:.1f}, {high:.1f}]"
