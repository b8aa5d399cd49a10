"""`posterion evaluate` says how good a bank is, or in one line why it cannot."""

import json
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from posterion.cli import main
from posterion_store import Store
from tests.support.banks import publish_random_bank
from tests.support.data import morse_frames, write_extxyz
from tests.support.labelled import append_unlabelled, drawn_frames, with_silicon

N_FRAMES = 40
N_ATOMS = 9
PICTURES = {"elements.png", "error_against_uncertainty.png", "reliability.png", "roc.png"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one bank, frames it expects, and frames whose labels are far off."""
    folder = tmp_path_factory.mktemp("evaluate")
    store = Store.open(folder / "store")
    publish_random_bank(store, with_latent_density=True)
    publish_random_bank(store, name="single", n_samples=1)
    frames = drawn_frames(N_FRAMES)
    write_extxyz(folder / "frames.extxyz", [*frames, with_silicon(frames[0])])
    append_unlabelled(folder / "frames.extxyz", frames[0])
    write_extxyz(folder / "others.extxyz", drawn_frames(20, seed=8))
    write_extxyz(folder / "silicon.extxyz", [with_silicon(frames[0])])
    (folder / "empty.extxyz").write_text("")
    append_unlabelled(folder / "unlabelled.extxyz", frames[0])
    return folder


def run(
    folder: Path, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> int | str | None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr("sys.argv", ["posterion", "evaluate", "--store", "store", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code


@pytest.fixture(scope="module")
def done(folder: Path) -> tuple[dict[str, Any], str]:
    """The document and the output of a whole evaluation of two files."""
    with pytest.MonkeyPatch.context() as patch:
        text = StringIO()
        with redirect_stdout(text):
            arguments = ["ethanol@stable", "frames.extxyz", "--against", "others.extxyz"]
            status = run(folder, [*arguments, "--json", "scores.json", "--resamples", "60"], patch)
        assert status == 0
    return json.loads((folder / "scores.json").read_text()), text.getvalue()


def test_a_calibrated_bank_is_found_to_be_calibrated(done: tuple[dict[str, Any], str]) -> None:
    document, _ = done
    scores = document["file"]["scores"]
    coverage = scores["forces"]["coverage_90"]
    low, high = coverage["interval"]
    assert low < coverage["value"] < high
    # Five standard errors of 0.9 over 40 frames of 27 components, and of the 120 calibrated on.
    error = np.sqrt(0.9 * 0.1 / (27 * N_FRAMES) + 0.9 * 0.1 / (27 * 120))
    assert coverage["value"] == pytest.approx(0.9, abs=5 * error)
    assert scores["forces"]["nll_mixture"]["value"] == pytest.approx(
        scores["forces"]["nll_gaussian"]["value"], abs=0.2
    )
    # Both files are of one kind: nothing can tell them apart.
    told = document["out_of_distribution"]["structure_max"]["auroc"]["out_of_distribution"]
    low, high = told["epistemic"]["interval"]
    assert low < 0.5 < high


def test_every_frame_is_accounted_for(done: tuple[dict[str, Any], str]) -> None:
    document, output = done
    file = document["file"]
    assert (file["n_frames_in_file"], file["n_frames"]) == (N_FRAMES + 2, N_FRAMES)
    assert [(one["frame"], one["code"]) for one in file["refused"]] == [
        (N_FRAMES, "unsupported-element"),
        (N_FRAMES + 1, "invalid-dataset"),
    ]
    assert f"{N_FRAMES} of {N_FRAMES + 2} frames" in output
    assert "unsupported-element" in output
    assert file["elements"] == {"H": 6 * N_FRAMES, "C": 2 * N_FRAMES, "O": N_FRAMES}
    assert file["n_atoms"] == N_ATOMS * N_FRAMES


def test_the_document_says_what_was_evaluated(
    folder: Path, done: tuple[dict[str, Any], str]
) -> None:
    document, _ = done
    digest = Store.open(folder / "store", read_only=True).resolve("ethanol")
    assert document["bank"]["digest"] == digest
    assert document["settings"] == {
        "error_above_ev_per_angstrom": [0.1, 0.3],
        "n_resamples": 60,
        "seed": 0,
        "seed_of_calibrated_nll": 0,
        "interval_level": 0.95,
    }
    assert document["against"]["name"] == "others.extxyz"
    for key in ("created_at", "hardware", "software", "units"):
        assert document[key]
    flags = document["file"]["flags"]["by_code"]["any"]
    assert flags["flagged"]["of"] == N_FRAMES
    parts = [flags[name]["of"] for name in ("high_error", "between", "low_error")]
    assert sum(parts) == N_FRAMES


def test_every_uncertainty_is_scored(done: tuple[dict[str, Any], str]) -> None:
    scores = done[0]["file"]["scores"]
    kinds = {"epistemic", "total", "aleatoric", "latent"}
    for level in ("atom", "structure_max", "structure_mean"):
        assert set(scores[level]["spearman"]) == kinds
        assert set(scores[level]["auroc"]["error_above_0.3"]) == kinds
    assert {f"cnll_{kind}" for kind in kinds} <= set(scores["forces"])


def test_energies_that_training_leaves_open_are_left_out_and_counted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Water beside ethanol: its energy is off by thousands of eV."""
    frames = drawn_frames(8)
    write_extxyz(tmp_path / "both.extxyz", [*frames, *morse_frames(2, seed=1)])
    write_extxyz(tmp_path / "water.extxyz", morse_frames(2, seed=1))
    found = {}
    for name in ("both", "water"):
        target = tmp_path / f"{name}.json"
        arguments = ["ethanol", str(tmp_path / f"{name}.extxyz"), "--resamples", "5"]
        assert run(folder, [*arguments, "--json", str(target)], monkeypatch) == 0
        found[name] = json.loads(target.read_text())["file"]
    assert (found["both"]["n_frames"], found["both"]["n_energies"]) == (10, 8)
    # Labels are drawn from the prediction: well below an eV.
    assert found["both"]["scores"]["energy"]["mae"]["value"] < 1.0
    assert found["water"]["n_energies"] == 0
    assert "energy" not in found["water"]["scores"]


def test_a_bank_of_one_sample_is_scored_by_what_it_has(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "single.json"
    arguments = ["single", "others.extxyz", "--json", str(target), "--resamples", "5"]
    assert run(folder, arguments, monkeypatch) == 0
    scores = json.loads(target.read_text())["file"]["scores"]
    assert scores["forces"]["nll_mixture"]["value"] == pytest.approx(
        scores["forces"]["nll_gaussian"]["value"], rel=1e-9
    )
    # It has no epistemic part, hence none that could rank anything.
    assert scores["atom"]["spearman"]["epistemic"]["value"] is None
    assert scores["atom"]["spearman"]["aleatoric"]["value"] is not None


def longest_list(node: object) -> int:
    if isinstance(node, dict):
        return max((longest_list(one) for one in node.values()), default=0)
    if isinstance(node, list):
        return max([len(node), *(longest_list(one) for one in node)])
    return 0


def test_the_document_holds_no_arrays(done: tuple[dict[str, Any], str]) -> None:
    assert longest_list(done[0]) <= 2


def test_pictures_are_drawn(folder: Path, done: tuple[dict[str, Any], str]) -> None:
    files = {path.name: path for path in (folder / "evaluation-ethanol").iterdir()}
    assert set(files) == PICTURES
    for path in files.values():
        pixels = imread(BytesIO(path.read_bytes()))
        white = np.mean((pixels[..., :3] == 1.0).all(axis=-1))
        assert 0.4 < white < 0.99, path


def test_the_table_shows_the_numbers_of_the_document(done: tuple[dict[str, Any], str]) -> None:
    document, output = done
    mae = document["file"]["scores"]["forces"]["mae"]
    low, high = mae["interval"]
    assert f"{1e3 * mae['value']:.2f} [{1e3 * low:.2f}, {1e3 * high:.2f}]" in output
    assert "Is others.extxyz told from frames.extxyz?" in output


def test_the_same_seed_gives_the_same_numbers(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    done: tuple[dict[str, Any], str],
) -> None:
    target = tmp_path / "again.json"
    arguments = ["ethanol", "frames.extxyz", "--json", str(target), "--resamples", "60"]
    assert run(folder, arguments, monkeypatch) == 0
    again = json.loads(target.read_text())
    assert again["file"]["scores"] == done[0]["file"]["scores"]
    assert again["against"] is None
    assert (tmp_path / "evaluation-ethanol" / "roc.png").is_file()


def test_fewer_samples_and_other_thresholds(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "two.json"
    options = ["--samples", "2", "--error-above", "0.7", "--resamples", "0", "--plots", "two"]
    arguments = ["ethanol", "frames.extxyz", "--json", str(target), *options]
    assert run(folder, arguments, monkeypatch) == 0
    file = json.loads(target.read_text())["file"]
    assert file["n_samples"] == 2
    assert list(file["scores"]["atom"]["auroc"]) == ["error_above_0.7"]
    assert file["scores"]["forces"]["mae"]["interval"] is None
    assert (folder / "two" / "roc.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["methanol", "frames.extxyz"],
            2,
            r"invalid-configuration: .*banks \(ethanol, single\), got 'methanol'",
        ),
        (["ethanol@canary", "frames.extxyz"], 2, "invalid-configuration: .*canary"),
        (["ethanol", "unlabelled.extxyz"], 3, "invalid-dataset: none of 1 frames can be used"),
        (["ethanol", "silicon.extxyz"], 3, "invalid-dataset: .*unsupported-element.*14"),
        (["ethanol", "empty.extxyz"], 3, "invalid-dataset: .*empty.extxyz"),
        (["ethanol", "missing.extxyz"], 3, "invalid-dataset: .*missing.extxyz.*found none"),
        (["ethanol", "frames.extxyz", "--samples", "9"], 2, "2 to 4 samples, got 9"),
        (["ethanol", "frames.extxyz", "--error-above", "-1"], 2, "--error-above: .*positive"),
        (["ethanol", "frames.extxyz", "--json", "no/x.json"], 2, "there is no such folder"),
        (["ethanol", "frames.extxyz", "--device", "tpu"], 2, "--device: expected auto"),
        (["ethanol", "frames.extxyz", "--store", "nowhere"], 3, "nowhere"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_evaluated_is_one_line(
    arguments: list[str],
    status: int,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(folder, arguments, monkeypatch) == status
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)
