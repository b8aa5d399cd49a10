"""Chains that do not agree, run hot or drift are not published; a log is what was written."""

import math
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from pydantic import JsonValue

from posterion.errors import ConfigurationError
from posterion.posterior.chain import Phase
from posterion.training.chain_log import LOG_COLUMNS, ChainLog, open_event_files
from posterion.training.chain_setup import StepReport, phase_schedule
from posterion.training.convergence import ChainRecord, diagnose, failed_gates
from posterion.training.history import Log, column, history_figure, loss_drift, read_log
from posterion.training.sampler_config import GateConfig
from tests.support.training_runs import training_config

N_ROWS = 64
N_LABELS = 10.0
PNG = b"\x89PNG\r\n\x1a\n"
STEP_SIZES = torch.tensor([[1e-6, 4e-6, 9e-6]], dtype=torch.float64)


def log(*, t_kin: float = 1.1, drift: float = 0.0, n_rows: int = N_ROWS) -> Log:
    """A quarter pretraining, the rest sampling; potentials of unit noise plus a ramp."""
    rng = np.random.default_rng(3)
    n_before = n_rows // 4
    phases = ["pretraining"] * n_before + ["sampling"] * (n_rows - n_before)
    ramp = drift * np.arange(n_rows) / n_rows
    return {
        "step": [str(10 * (i + 1)) for i in range(n_rows)],
        "phase": phases,
        "potential": [f"{value:.6g}" for value in rng.normal(size=n_rows) + ramp],
        "force_mae": ["0.05"] * n_rows,
        "temperature": ["1"] * n_rows,
        "t_kin": ["nan"] * n_before + [str(t_kin)] * (n_rows - n_before),
        "t_conf": ["nan"] * n_before + ["0.9"] * (n_rows - n_before),
        "learning_rate": ["0.1"] * n_rows,
        "seconds": ["1.0"] * n_rows,
    }


def traces(*, n_traces: int = 40, drift: float = 0.0, apart: float = 0.0) -> torch.Tensor:
    """Independent draws, two chains, six components; then spoilt."""
    generator = torch.Generator().manual_seed(1)
    draws = torch.randn((2, n_traces, 6), generator=generator, dtype=torch.float64)
    draws += drift * torch.linspace(0.0, 1.0, n_traces)[:, None]
    draws[1] += apart
    return draws


def diagnostics(found: torch.Tensor | None = None, **changes: float) -> dict[str, JsonValue]:
    t_kin, drift = changes.get("t_kin", 1.1), changes.get("drift", 0.0)
    configurational = torch.tensor([[0.5, 2.0, 0.8], [0.5, 2.0, 0.8]])
    configurational[1] *= changes.get("cooling", 1.0)
    record = ChainRecord(
        traces=traces() if found is None else found,
        step_sizes=STEP_SIZES.expand(2, -1),
        excess_heat=torch.full((2, 3), changes.get("heat", 0.1)),
        configurational=configurational,
        data_share=torch.tensor([[1.0, 0.5, 0.0]]).expand(2, -1),
        logs={"chain 0": log(), "chain 1": log(t_kin=t_kin, drift=drift)},
    )
    return diagnose(record, n_labels=N_LABELS)


def failures(found: dict[str, JsonValue], temperature: float = 1.0) -> list[str]:
    return failed_gates(found, GateConfig(), temperature=temperature)


def test_chains_that_agree_pass_every_gate() -> None:
    found = diagnostics()
    assert failures(found) == []
    assert found["kinetic_temperature"] == pytest.approx([1.1, 1.1])
    # Weights 1, 1/2, 0 and 0, 1/2, 1 on 0.5, 2 and 0.8.
    assert found["configurational_temperature"] == pytest.approx([1.0, 1.0])
    assert found["configurational_temperature_of_prior"] == pytest.approx([1.2, 1.2])
    assert found["parameters_determined_by_data"] == pytest.approx([0.5, 0.5])
    assert found["excess_heat_of_momentum"] == pytest.approx([0.1, 0.1])
    assert found["r_hat_forces_between_chains"] == pytest.approx(1.0, abs=0.1)
    assert found["step_size_sqrt_eta_quantiles"] == pytest.approx(
        {"0.05": 1e-3, "0.5": 2e-3, "0.95": 3e-3}
    )


def test_chain_that_is_hot_is_named() -> None:
    (sentence,) = failures(diagnostics(t_kin=1.5))
    assert sentence == (
        "chain 1: kinetic temperature while sampling is 1.5, at most 1.32 is accepted"
    )


def test_heat_that_minibatches_are_known_to_bring_is_no_fault() -> None:
    assert failures(diagnostics(t_kin=1.5, heat=0.4)) == []


@pytest.mark.parametrize("temperature", [0.01, 0.25, 1.0])
def test_temperatures_are_judged_against_the_one_asked_for(temperature: float) -> None:
    as_asked = diagnostics(cooling=1.0)
    for key in ("kinetic_temperature", "configurational_temperature"):
        as_asked[key] = [temperature, temperature]
    assert failures(as_asked, temperature=temperature) == []
    (sentence,) = failures(as_asked | {"kinetic_temperature": [0.1, 5.0]}, temperature=temperature)
    assert sentence.startswith("chain 1: kinetic temperature while sampling is 5, at most ")
    cold = as_asked | {"configurational_temperature": [temperature, 0.02 * temperature]}
    (sentence,) = failures(cold, temperature=temperature)
    assert sentence == (
        f"chain 1: configurational temperature while sampling is {0.02 * temperature:.3g}, "
        f"at least {0.05 * temperature:.3g} is accepted"
    )


def test_chain_that_has_hardly_moved_or_is_overheated_is_named() -> None:
    (cold,) = failures(diagnostics(cooling=0.03))
    assert "configurational temperature while sampling is 0.03, at least 0.05" in cold
    (hot,) = failures(diagnostics(cooling=2.0))
    assert "configurational temperature while sampling is 2, at most 1.5" in hot
    assert len(failures(diagnostics(cooling=math.nan))) == 1


def test_loss_that_drifts_is_named() -> None:
    (sentence,) = failures(diagnostics(drift=20.0))
    assert sentence.startswith("chain 1: drift of the loss in nat per label is ")


def test_traces_that_drift_are_named_for_both_chains() -> None:
    sentences = failures(diagnostics(traces(drift=8.0)))
    assert [s.split(" is ")[0] for s in sentences] == [
        f"chain {chain}: within-chain R-hat of forces" for chain in (0, 1)
    ]


def test_chains_apart_are_seen_between_chains_only() -> None:
    found = diagnostics(traces(apart=5.0))
    between = found["r_hat_forces_between_chains"]
    assert isinstance(between, float)
    assert between > 2.0
    assert failures(found) == []


@pytest.mark.parametrize("spoilt", ["few", "nan"])
def test_what_cannot_be_judged_is_not_passed(spoilt: str) -> None:
    found = traces(n_traces=3) if spoilt == "few" else traces() * math.nan
    sentences = failures(diagnostics(found))
    assert len(sentences) == 2
    assert all("R-hat of forces is undefined" in sentence for sentence in sentences)


def test_kinetic_temperature_that_is_no_number_is_not_passed() -> None:
    (sentence,) = failures(diagnostics(t_kin=math.nan))
    assert "kinetic temperature while sampling is undefined" in sentence


def test_drift_is_zero_in_noise_and_large_in_a_ramp() -> None:
    assert loss_drift(log(), n_labels=N_LABELS) < 0.05
    # The halves of the last three quarters of a ramp of 20 differ by 3/8 of it.
    assert loss_drift(log(drift=20.0), n_labels=N_LABELS) == pytest.approx(0.75, abs=0.25)
    assert loss_drift(log(drift=20.0, n_rows=16), n_labels=N_LABELS) == 0.0


def test_history_is_a_picture_whatever_was_logged() -> None:
    pictures = [
        history_figure({"chain 0": log(), "chain 1": log(drift=5.0)}),
        history_figure({"chain 0": log(n_rows=1)}),
        history_figure({f"chain {i}": log(n_rows=8) for i in range(5)}),
    ]
    for picture in pictures:
        assert picture.startswith(PNG)
        assert float(imread(BytesIO(picture)).std()) > 0.0
    assert pictures[0] != pictures[1]


def reports(n_steps: int) -> list[StepReport]:
    schedule = phase_schedule(training_config())
    first = schedule.n_steps_before_sampling
    return [
        StepReport(schedule.at(first + i), float(i), 0.1 * i, 1.0, math.nan, math.nan)
        for i in range(n_steps)
    ]


def fill(chain_log: ChainLog, *, first: int, n_rows: int) -> None:
    for row in range(n_rows):
        for report in reports(2):
            chain_log.add(report)
        chain_log.write(first + 2 * row)


def test_rows_are_averages_of_their_steps(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    chain_log = ChainLog(path, resume_at=0)
    for report in reports(4):
        chain_log.add(report)
    message = chain_log.write(4)
    found = read_log(path)
    assert tuple(found) == LOG_COLUMNS
    assert column(found, "potential").tolist() == [1.5]
    assert column(found, "force_mae").tolist() == [0.15]
    assert column(found, "t_kin", phase="sampling").tolist() == [1.0]
    assert column(found, "t_kin", phase="burn-in").size == 0
    assert np.isnan(column(found, "t_conf")).all()
    assert message == f"{Phase.SAMPLING}: force MAE 150.0 meV/A, T_kin 1.00"


def test_row_averages_over_the_steps_of_its_phase(tmp_path: Path) -> None:
    """The steps before, at another temperature, would spoil what the gates read."""
    schedule = phase_schedule(training_config())
    first = schedule.n_steps_before_sampling
    chain_log = ChainLog(tmp_path / "log.csv", resume_at=0)
    for step, kinetic in ((first - 1, 9.0), (first, 1.0), (first + 1, 2.0)):
        plan = schedule.at(step)
        chain_log.add(StepReport(plan, 0.0, 0.1, kinetic, math.nan, math.nan))
    chain_log.write(first + 2)
    found = read_log(tmp_path / "log.csv")
    assert column(found, "t_kin", phase="sampling").tolist() == [1.5]


def test_resumed_log_drops_what_comes_again_and_what_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    fill(ChainLog(path, resume_at=0), first=2, n_rows=5)
    with path.open("a", encoding="utf-8") as file:
        file.write("5,sampl")
    resumed = ChainLog(path, resume_at=6)
    fill(resumed, first=8, n_rows=1)
    assert read_log(path)["step"] == ["2", "4", "6", "8"]


def test_events_hold_the_averages_that_are_numbers(tmp_path: Path) -> None:
    written = []

    class Events:
        def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
            written.append((tag, scalar_value, global_step))

    fill(ChainLog(tmp_path / "log.csv", resume_at=0, events=Events()), first=2, n_rows=1)
    assert written == [("potential", 0.5, 2), ("force_mae", 0.05, 2), ("t_kin", 1.0, 2)]


def test_tensorboard_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigurationError, match=r"execution\.tensorboard is true, but"):
        open_event_files(tmp_path, resume_at=0)


def test_tensorboard_writes_event_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra posterion[tensorboard]")
    events = open_event_files(tmp_path, resume_at=0)
    fill(ChainLog(tmp_path / "log.csv", resume_at=0, events=events), first=2, n_rows=1)
    assert list(tmp_path.glob("events.out.tfevents*"))
