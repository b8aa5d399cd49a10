"""How a model card reads: Markdown for people, from the numbers the manifest holds."""

from collections.abc import Mapping, Sequence

from ase.data import chemical_symbols
from pydantic import JsonValue

from posterion.training.report_input import ReportInput
from posterion.uncertainty.calibration import Calibration, FlagThreshold
from posterion.uncertainty.domain import Composition

JsonObject = Mapping[str, JsonValue]

_MOST_COMPOSITIONS = 12


def write_model_card(given: ReportInput, metrics: JsonObject) -> str:
    """Write the README of a sample set.

    Args:
        given: The bank and its provenance.
        metrics: From `report_metrics`.

    Returns:
        Markdown.
    """
    sections = (
        _heading(given),
        _data(given),
        _sampling(given),
        _accuracy(metrics),
        _calibration(given.calibration),
        _use_and_limits(given),
    )
    return "\n\n".join(sections) + "\n"


def _heading(given: ReportInput) -> str:
    facts = _table(
        ("", ""),
        [
            ("Elements", ", ".join(_symbol(z) for z in _numbers(given.network["elements"]))),
            ("Cutoff", f"{_number(given.network['cutoff'], 'g')} Å"),
            ("Periodic structures in training", "yes" if given.periodic else "no"),
            ("Level of theory", given.level_of_theory),
            ("Samples", f"{given.calibration.n_samples}: {given.outcome}"),
            ("Made", given.created_at),
            ("Licence", given.licence),
        ],
    )
    return (
        f"# {given.name}\n\n{given.description}\n\n"
        f"{given.meaning} The mean of the samples answers energies (eV) and forces (eV/Å)."
        f"\n\n{facts}"
    )


def _data(given: ReportInput) -> str:
    rows = [
        (
            str(entry["role"]),
            str(entry["source"]),
            str(entry["n_frames"]),
            f"`{_short(str(entry['digest']))}`",
        )
        for entry in given.datasets
    ]
    return (
        "## Data\n\nThe sets are disjoint. Whole digests are in the manifest.\n\n"
        f"{_table(('role', 'source', 'frames', 'digest'), rows)}"
    )


def _sampling(given: ReportInput) -> str:
    return (
        "## Sampling\n\n"
        f"Method: `{given.method}`.\n\n"
        f"### Settings\n\n{_facts(given.sampler)}\n\n"
        f"### Diagnostics\n\n{_facts(given.diagnostics)}\n\n{given.reading}\n\n"
        f"### Network\n\n{_facts(given.network)}\n\n"
        f"### Software\n\n{_facts(dict(given.software))}"
    )


def _accuracy(metrics: JsonObject) -> str:
    rows = [
        (
            "MAE",
            f"{_number(metrics['force_mae_mev_per_angstrom'], '.1f')} meV/Å",
            f"{_number(metrics['energy_mae_mev'], '.2f')} meV",
        ),
        (
            "MAE per atom",
            "",
            f"{_number(metrics['energy_mae_mev_per_atom'], '.3f')} meV/atom",
        ),
        (
            "RMSE",
            f"{_number(metrics['force_rmse_mev_per_angstrom'], '.1f')} meV/Å",
            f"{_number(metrics['energy_rmse_mev'], '.2f')} meV",
        ),
        (
            "NLL of the moment-matched Gaussian (nats)",
            _number(metrics["force_nll"], ".3f"),
            _number(metrics["energy_nll"], ".3f"),
        ),
        (
            "NLL of the exact mixture (nats)",
            _number(metrics["force_nll_mixture"], ".3f"),
            _number(metrics["energy_nll_mixture"], ".3f"),
        ),
        (
            "CRPS of the exact mixture",
            f"{_number(metrics['force_crps_mev_per_angstrom'], '.1f')} meV/Å",
            f"{_number(metrics['energy_crps_mev'], '.2f')} meV",
        ),
        (
            "Sharpness (RMS predicted standard deviation)",
            f"{_number(metrics['force_sharpness_mev_per_angstrom'], '.1f')} meV/Å",
            f"{_number(metrics['energy_sharpness_mev'], '.2f')} meV",
        ),
        (
            "Miscalibration area",
            _number(metrics["force_miscalibration_area"], ".3f"),
            _number(metrics["energy_miscalibration_area"], ".3f"),
        ),
        (
            "Rank correlation of |error| and standard deviation",
            _number(metrics["force_error_spread_rank_correlation"], ".2f"),
            _number(metrics["energy_error_spread_rank_correlation"], ".2f"),
        ),
        (
            "Frames flagged by spread",
            _fraction(metrics["force_flagged_fraction"]),
            _fraction(metrics["energy_flagged_fraction"]),
        ),
        ("Frames flagged by latent density", _fraction(metrics["latent_flagged_fraction"]), ""),
        ("Frames flagged by any of these", _fraction(metrics["flagged_fraction"]), ""),
    ]
    coverage = [
        (f"{float(level):.0%}", _number(found, ".1%"), _number(energy, ".1%"))
        for (level, found), energy in zip(
            _object(metrics["force_coverage"]).items(),
            _object(metrics["energy_coverage"]).values(),
            strict=True,
        )
    ]
    return (
        f"## Accuracy\n\nMeasured on {metrics['n_frames']} report frames, used for nothing "
        "else. What the scores mean: `docs/science/scores.md`.\n\n"
        f"{_table(('', 'forces, per component', 'energies'), rows)}\n\n"
        f"{_table(('interval', 'forces inside', 'energies inside'), coverage)}\n\n"
        "![Predictions against references](parity.png)\n\n"
        "![Observed against nominal coverage](reliability.png)\n\n"
        "![Error against uncertainty](error_against_uncertainty.png)"
    )


def _calibration(calibration: Calibration) -> str:
    entry = calibration.entries[-1]
    rows = [_threshold(threshold) for threshold in entry.thresholds.values()]
    fitted = calibration.fitted_on
    return (
        f"## Calibration\n\nSplit conformal, {calibration.level:.0%} intervals, on "
        f"{fitted.n_frames} frames ({fitted.n_force_components} force components) of "
        f"`{_short(fitted.dataset_digest)}`, {calibration.date}. Standard deviations are "
        f"multiplied by {entry.forces.factor:.3f} (forces) and {entry.energy.factor:.3f} "
        f"(energies) when all {entry.n_samples} samples are evaluated; the manifest holds the "
        f"factors for fewer. Identity `{calibration.identity}`.\n\n"
        f"{_rule(calibration)}\n\n{_table(THRESHOLD_HEADER, rows)}\n\n"
        f"The last two columns were measured on {calibration.measured_on.n_frames} frames."
    )


THRESHOLD_HEADER = ("flag metric", "candidate", "failed", "level", "below candidate", "bounded")


def _rule(calibration: Calibration) -> str:
    target = calibration.target
    if target is None:
        return (
            "Beyond `candidate` lies the fraction of ordinary structures that the level leaves, "
            "as far as they are exchangeable with the calibration frames."
        )
    return (
        f"Below `candidate`, an error of an atom's force of "
        f"at most {target.force_error:g} eV/Å, and of the energy of at most "
        f"{1e3 * target.energy_error:g} meV per atom, is expected with a confidence of "
        f"{target.confidence:.0%}; `failed` is the same for "
        f"{calibration.failed_multiple:g} times these errors. Where calibration frames lie, "
        "they say so; beyond, a bound proportional to the metric is extrapolated: the level "
        "holds for structures exchangeable with the calibration frames."
    )


def _threshold(threshold: FlagThreshold) -> tuple[str, ...]:
    scale, unit = {
        "eV/angstrom": (1e3, "meV/Å"), "eV": (1e3, "meV × atoms"), "nat": (1.0, "nat")
    }[threshold.unit]  # fmt: skip
    bounded = threshold.error_coverage
    return (
        f"`{threshold.metric}`",
        f"{scale * threshold.candidate:.4g} {unit}",
        f"{scale * threshold.failed:.4g} {unit}",
        f"{threshold.level:.1%}",
        f"{threshold.candidate_coverage:.1%}",
        "" if bounded is None else f"{bounded:.1%}",
    )


def _use_and_limits(given: ReportInput) -> str:
    domain = given.domain
    formulae = [_formula(composition) for composition in domain.compositions]
    shown = ", ".join(formulae[:_MOST_COMPOSITIONS])
    more = len(formulae) - _MOST_COMPOSITIONS
    seen = f"{shown} and {more} more" if more > 0 else shown
    return (
        "## Intended use and limits\n\n"
        "Molecular dynamics and screening of structures like those of training, with the "
        "flags deciding where a reference calculation is due.\n\n"
        f"- Trained on {domain.n_structures} structures of at most {domain.n_atoms_max} atoms, "
        f"of composition {seen}. Energies of other compositions are flagged "
        "`composition-unseen`.\n"
        "- Neutral singlets only. Nothing beyond the cutoff interacts: no long-range "
        "electrostatics, no dispersion between distant molecules.\n"
        "- Coverage was measured on frames of the same origin as the training data. Along a "
        "trajectory that drifts away from them it is not guaranteed; that is what the flags "
        "are for.\n"
        "- The spread of the samples cannot see errors that all samples share, such as those "
        "of the level of theory."
    )


def _facts(values: JsonObject) -> str:
    if not values:
        return "None recorded."
    return _table(("", ""), [(f"`{name}`", _plain(value)) for name, value in values.items()])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _plain(value: JsonValue) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        if not value:
            return "none"
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_plain(item)}" for name, item in value.items())
    return str(value)


def _number(value: JsonValue, form: str) -> str:
    if value is None:
        return "undefined"
    assert isinstance(value, int | float), f"metrics hold numbers, got {value!r}"
    return format(value, form)


def _fraction(value: JsonValue) -> str:
    return "no such rule" if value is None else _number(value, ".1%")


def _numbers(value: JsonValue) -> list[int]:
    assert isinstance(value, list), f"elements are a list, got {value!r}"
    return [int(item) for item in value if isinstance(item, int)]


def _object(value: JsonValue) -> dict[str, JsonValue]:
    assert isinstance(value, dict), f"coverages are an object, got {value!r}"
    return value


def _symbol(number: int) -> str:
    return str(chemical_symbols[number])


def _formula(composition: Composition) -> str:
    """Hill order: carbon, hydrogen, then the alphabet; without carbon, the alphabet."""
    counts = {_symbol(number): count for number, count in composition.counts}
    first = [symbol for symbol in ("C", "H") if "C" in counts and symbol in counts]
    rest = sorted(symbol for symbol in counts if symbol not in first)
    return "".join(
        symbol + (str(counts[symbol]) if counts[symbol] > 1 else "") for symbol in first + rest
    )


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:16]
