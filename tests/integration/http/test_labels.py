"""Labels of a real bank, sent with the client: the service keeps nothing of them."""

import re
from pathlib import Path

import numpy as np
import pytest

from posterion_client import Client, CompositionMismatch, Judgement, Structure
from tests.support.banks import NUMBERS, POSITIONS
from tests.support.services import Service

SHIFT_EV = -50.0
"""The reference counts energies from another zero."""


def test_a_trajectory_with_labels_becomes_trusted(client: Client) -> None:
    rng = np.random.default_rng(0)
    frames = [
        Structure(
            numbers=NUMBERS,
            positions=POSITIONS + rng.normal(scale=0.02, size=POSITIONS.shape),
        )
        for _ in range(6)
    ]
    predicted = client.predict_many(frames)
    threshold = 3.0 * max(each.uncertainty.energy.total for each in predicted if each.uncertainty)
    energies = [each.energy + SHIFT_EV for each in predicted]
    lesson = client.learn(frames, energies, threshold=threshold)
    first, *_, last = lesson.results
    assert isinstance(first, Judgement)
    assert isinstance(last, Judgement)
    assert last.residual == pytest.approx(0.0, abs=1e-3)
    assert last.confidence > first.confidence
    assert (lesson.state.n, lesson.state.composition) == (5, "C2H6O")
    assert lesson.state.offset == pytest.approx(SHIFT_EV, abs=1e-3)
    water = Structure(symbols=["O", "H"], positions=[[0.0, 0.0, 0.0], [0.97, 0.0, 0.0]])
    refused = client.learn([water], [1.0], threshold=threshold, state=lesson.state)
    assert isinstance(refused.results[0], CompositionMismatch)
    assert refused.state == lesson.state


def test_labels_of_the_clients_readme_are_learnt_from(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(__file__).parents[3] / "clients/python/README.md").read_text("utf-8")
    (block,) = [
        text
        for text in re.findall(r"^```python\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
        if ".learn(" in text
    ]
    monkeypatch.setenv("POSTERION_URL", service.url)
    frame = Structure(numbers=NUMBERS, positions=POSITIONS)
    exec(block, {"trajectory": [frame] * 3, "energies": [1.0, None, 1.1]})  # noqa: S102 - our own
    confidences = [float(line) for line in capsys.readouterr().out.splitlines()]
    assert len(confidences) == 3
    assert confidences[0] == confidences[1]
