"""`posterion train` publishes calibrated banks, and a kill changes nothing but the time."""

import csv
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import yaml

from posterion.cli import main
from posterion.errors import ConfigurationError
from posterion.evaluation.frame_file import familiarity, read_frame_file
from posterion.inference.latent_density_file import DENSITY_FILE
from posterion.inference.loading import load_bank
from posterion.inference.predictor import Predictor
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.frame_digest import FRAMES_FILE
from posterion.structures.prediction import Prediction
from posterion.training.command import run_recalibration
from posterion.uncertainty.calibration import Calibration, ErrorTarget
from posterion_store import Manifest, Store
from tests.support.data import morse_frames, write_extxyz
from tests.support.training_runs import SMALL_NETWORK, sampler, training_config

POSTERION = Path(sysconfig.get_path("scripts")) / "posterion"
DEADLINE_S = 200.0
POLL_S = 0.05
KILL_AT_STEP = 60
N_FRAMES = 140
N_FRESH = 200
"""Of about 290: while pretraining, between two checkpoints."""
IMPOSSIBLE = {"max_kinetic_temperature": 1e-3}
LEVEL = 0.9

# Up to three commands of several processes, on a machine that may be busy.
pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one run lives."""

    config: Path
    store: Path
    folder: Path

    def command(self, *options: str) -> list[str]:
        paths = ["--store", str(self.store), "--run-dir", str(self.folder)]
        return [str(POSTERION), "train", str(self.config), *paths, *options]


def finish(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)


def configuration(data: Path) -> dict[str, object]:
    config = training_config(
        files=(data,),
        data={"files": [data], "n_train": 40, "n_calibration": 60, "n_report": 40},
        network=SMALL_NETWORK | {"n_features": 8, "radial_hidden": 16, "readout_hidden": 8},
        pretraining={"steps": 150, "learning_rate": 0.02, "average_decay": 0.95},
        method=sampler(ramp_steps=20, burn_in_steps=40, thinning_steps=12, n_samples=4),
        flags={"force_error": 0.4, "energy_error": 0.05},
        execution={
            "device": "cpu",
            "compile": "never",
            "checkpoint_every": 16,
            "log_every": 5,
        },
        gates=IMPOSSIBLE,
    )
    return dict(config.model_dump(mode="json"))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    write_extxyz(folder / "water.extxyz", morse_frames(N_FRAMES, seed=21))
    path = folder / "water.yaml"
    path.write_text(yaml.safe_dump(configuration(folder / "water.extxyz")))
    return path


def place(config: Path, root: Path) -> Place:
    return Place(config=config, store=root / "store", folder=root / "run")


def manifest(where: Place) -> Manifest:
    store = Store.open(where.store, read_only=True)
    return store.manifest(store.resolve("water"))


@pytest.fixture(scope="module")
def published(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run that nothing disturbed; no gate would let it pass, so it is accepted as it is."""
    where = place(config, tmp_path_factory.mktemp("undisturbed"))
    result = finish(where.command("--accept-diagnostics"))
    assert result.returncode == 0, result.stderr
    return where


def run_here(
    command: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    """The same command in this process, which spares an import: exit code and stderr."""
    monkeypatch.setattr("sys.argv", list(command))
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code, capsys.readouterr().err


def test_chains_that_fail_a_gate_are_not_published(
    published: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    again = replace(published, store=tmp_path / "store")
    code, message = run_here(again.command(), monkeypatch, capsys)
    assert code == 1
    assert message.startswith("posterion: diagnostics-refused: ")
    for chain in (0, 1):
        assert f"chain {chain}: kinetic temperature while sampling is" in message
    assert "--accept-diagnostics" in message
    assert list(Store.open(again.store).names()) == []
    assert (again.folder / "history.png").stat().st_size > 0


def test_accepted_diagnostics_are_published_and_told(published: Place) -> None:
    found = manifest(published)
    assert str(found.diagnostics["failed_gates"]).count("kinetic temperature") == 2
    card = Store.open(published.store, read_only=True).read_blob(found.files["README.md"]).decode()
    assert "kinetic temperature while sampling is" in card
    assert "the latent density widens the spread" in card


def test_manifest_says_what_was_done(published: Place) -> None:
    found = manifest(published)
    assert [(entry.chain, entry.draw) for entry in found.samples] == [
        (chain, draw) for draw in range(4) for chain in range(2)
    ]
    assert len({entry.sha256 for entry in found.samples}) == 8
    assert found.elements == (1, 8)
    assert not found.periodic
    roles = {entry.role: entry.n_frames for entry in found.datasets}
    assert roles == {"train": 40, "calibration": 60, "report": 40}
    assert len({entry.digest for entry in found.datasets}) == 3
    pictures = {"parity.png", "reliability.png", "error_against_uncertainty.png", "history.png"}
    assert found.files.keys() == {"README.md", FRAMES_FILE, DENSITY_FILE} | pictures


def test_evaluation_recognises_the_frames_of_training(config: Path, published: Place) -> None:
    store = Store.open(published.store, read_only=True)
    file = read_frame_file(config.parent / "water.extxyz")
    known = familiarity(store, manifest(published), file)
    assert known.seen == {"train": 40, "calibration": 60, "report": 40}
    assert known.suspicious


def test_flags_stand_for_the_errors_that_the_configuration_states(published: Place) -> None:
    bank = load_bank(Store.open(published.store, read_only=True), "water")
    assert bank.calibration.target == ErrorTarget(force_error=0.4, energy_error=0.05)
    thresholds = bank.calibration.entries[-1].thresholds
    assert set(thresholds) == {"force_epistemic_max", "energy_epistemic", "latent_score_max"}
    for metric, threshold in thresholds.items():
        wanted = 0.05 if metric == "energy_epistemic" else 0.4
        assert threshold.error_per_unit is not None
        assert threshold.candidate * threshold.error_per_unit == pytest.approx(wanted)


def test_the_same_samples_are_published_with_another_calibration(
    published: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = manifest(published)
    store = shutil.copytree(published.store, tmp_path / "store")
    document = yaml.safe_load(published.config.read_text())
    document["flags"]["force_error"] = 0.8
    changed = published.config.with_name("changed.yaml")
    changed.write_text(yaml.safe_dump(document))
    run_recalibration(changed, store=str(store), run_dir=tmp_path / "run", alias="stable")
    assert "published water@stable" in capsys.readouterr().out
    bank = load_bank(Store.open(store, read_only=True), "water")
    now = bank.manifest
    assert (now.samples, now.diagnostics) == (before.samples, before.diagnostics)
    old = Calibration.model_validate(before.calibration).entries[-1]
    new = bank.calibration.entries[-1]
    assert new.forces == old.forces
    assert new.force_epistemic_max is not None
    assert old.force_epistemic_max is not None
    assert new.force_epistemic_max.candidate >= 1.999 * old.force_epistemic_max.candidate


def test_samples_of_another_configuration_are_refused(published: Place, tmp_path: Path) -> None:
    document = yaml.safe_load(published.config.read_text())
    for section, key, value in (("data", "n_train", 30), ("method", "friction", 0.2)):
        document[section][key] = value
    other = published.config.with_name("other.yaml")
    other.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigurationError, match=r"method .*friction=0\.2.* training frames"):
        run_recalibration(other, store=str(published.store), run_dir=tmp_path, alias="stable")


def test_published_bank_covers_frames_it_has_never_seen(published: Place) -> None:
    """Frames from another seed; the interval is the one the calibration is made for."""
    bank = load_bank(Store.open(published.store, read_only=True), "water")
    frames = morse_frames(N_FRESH, seed=77)
    results = Predictor(bank).predict([frame.structure for frame in frames], EvaluationOptions())
    inside, errors, spread = [], [], []
    for result, frame in zip(results, frames, strict=True):
        assert isinstance(result, Prediction)
        assert result.uncertainty is not None
        assert result.uncertainty.calibrated
        error = np.abs(result.forces - frame.forces)
        bound = NormalDist().inv_cdf((1.0 + LEVEL) / 2.0) * result.uncertainty.forces_total
        inside.append(error <= bound)
        errors.append(error)
        spread.append(np.abs(frame.forces))
    # 540 calibration components, correlated within a frame: about 0.02 either way.
    assert np.mean(inside) == pytest.approx(LEVEL, abs=0.06)
    assert np.mean(errors) < 0.5 * np.mean(spread)


def steps_done(where: Place, chain: int) -> int:
    path = where.folder / f"chain-{chain}" / "log.csv"
    if not path.exists():
        return 0
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return int(rows[-1][0]) if len(rows) > 1 else 0


def kill_halfway(where: Place) -> None:
    """SIGKILL to the parent alone, as the kernel would: its workers are left behind."""
    deadline = time.monotonic() + DEADLINE_S
    with subprocess.Popen(
        where.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while min(steps_done(where, chain) for chain in (0, 1)) < KILL_AT_STEP:
            try:
                process.wait(timeout=POLL_S)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline, "the chains make no progress"
            else:
                pytest.fail("the run ended before it could be killed")
        process.kill()


def test_killed_run_started_again_gives_the_same_samples_bitwise(
    published: Place, config: Path, tmp_path: Path
) -> None:
    where = place(config, tmp_path)
    kill_halfway(where)
    assert not (where.folder / "published.json").exists()
    result = finish(where.command("--accept-diagnostics"))
    assert result.returncode == 0, result.stderr
    resumed, straight = manifest(where), manifest(published)
    assert resumed.samples == straight.samples
    assert resumed.datasets == straight.datasets
    assert resumed.metrics == straight.metrics


def test_wrong_configuration_is_named_before_anything_starts(config: Path, tmp_path: Path) -> None:
    wrong = yaml.safe_load(config.read_text())
    wrong["method"]["friction"] = 1.5
    wrong["pretraining"]["stepz"] = 10
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    where = place(tmp_path / "wrong.yaml", tmp_path)
    result = finish(where.command())
    assert result.returncode == 2
    assert "posterion: invalid-configuration: " in result.stderr
    assert "method.sghmc.friction" in result.stderr
    assert "pretraining.stepz" in result.stderr
    assert "Traceback" not in result.stderr
    assert not where.folder.exists()
    assert not where.store.exists()


def test_missing_data_are_named(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    moved = yaml.safe_load(config.read_text())
    moved["data"]["files"] = ["absent.extxyz"]
    (tmp_path / "moved.yaml").write_text(yaml.safe_dump(moved))
    command = place(tmp_path / "moved.yaml", tmp_path).command()
    code, message = run_here(command, monkeypatch, capsys)
    assert code == 3
    assert message.startswith("posterion: invalid-dataset: ")
    assert "absent.extxyz: expected a data file, found none" in message
    assert "checkpoints in" not in message
