"""What the demo writes says what was seen."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from posterion.demo.answers import Answers
from posterion.demo.checks import check
from posterion.demo.dynamics import Trajectory
from posterion.demo.figure import draw
from posterion.demo.molecules import STRETCHED_ANGSTROM, subjects
from posterion.demo.record import write_record
from posterion.demo.table import results_table

LARGEST_PICTURE = 300_000


def test_table_shows_every_number_in_eighty_columns(
    answers: Answers, trajectory: Trajectory
) -> None:
    text = io.StringIO()
    Console(file=text, width=80).print(results_table(answers, trajectory))
    lines = text.getvalue().splitlines()
    rows = {line[:12].strip(): line.split() for line in lines if line}
    assert rows["at rest"][2:] == ["-4210.000", "3.0", "0.866", "0.020", "none", "12.5", "–"]
    assert rows["C–H at 1.6 Å"][-3:] == ["force-epistemic-high", "12.5", "–"]
    assert rows["S for O"][-3:] == ["unsupported-element", "12.5", "–"]
    assert rows["NVE, 1 fs"][-3:] == ["none", "21.0", "0.100"]
    assert "…" not in text.getvalue(), "nothing is cut off"


def test_record_holds_the_verdict_and_its_evidence(
    answers: Answers, trajectory: Trajectory, tmp_path: Path
) -> None:
    path = tmp_path / "demo.json"
    checks = check(answers, trajectory)
    write_record(path, answers=answers, trajectory=trajectory, checks=checks, mode="Ray Serve")
    document = json.loads(path.read_text())
    assert document["passed"] is True
    assert [each["passed"] for each in document["checks"]] == [True] * 5
    statuses = {key: each["status"] for key, each in document["structures"].items()}
    assert statuses == {
        "rest": "ok",
        "thermal": "ok",
        "stretched": "flagged",
        "unknown_element": "error",
    }
    assert document["structures"]["stretched"]["flags"][0]["value"] == 0.9
    assert document["structures"]["unknown_element"]["error"]["code"] == "unsupported-element"
    assert document["dynamics"]["drift_mev_per_atom"] == pytest.approx(0.1)
    assert len(document["dynamics"]["moments"]) == 3


def test_picture_is_a_small_png_that_shows_something(
    answers: Answers, trajectory: Trajectory
) -> None:
    data = draw(answers, trajectory)
    assert len(data) < LARGEST_PICTURE
    pixels = imread(io.BytesIO(data))
    height, width = pixels.shape[:2]
    assert (width, height) == (1512, 691)
    # Every panel holds ink: left and right, upper and lower.
    for part in (pixels[:, : width // 2], pixels[: height // 2], pixels[height // 2 :]):
        assert np.ptp(part) > 0.5


def test_stretched_bond_has_the_stated_length_and_only_one_atom_moved() -> None:
    rest, _, stretched, thiol = subjects()
    moved = np.linalg.norm(stretched.atoms.positions - rest.atoms.positions, axis=1)
    assert np.count_nonzero(moved) == 1
    carbon, hydrogen = stretched.atoms.positions[[0, int(moved.argmax())]]
    assert np.linalg.norm(hydrogen - carbon) == pytest.approx(STRETCHED_ANGSTROM)
    assert "".join(thiol.atoms.symbols) == "CCSHHHHHH"
