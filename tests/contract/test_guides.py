"""What the README and the guide to the API print can be pasted, and their links lead somewhere."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.services import Service, running_service

ROOT = Path(__file__).parents[2]
README, GUIDE = ROOT / "README.md", ROOT / "docs" / "api.md"
ADDRESS = "http://127.0.0.1:8000"
INSTALL = (
    "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' -e clients/python && .venv/bin/"
)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The service as the documents start it, on another port."""
    with running_service("--in-process", "--device", "cpu") as service:
        yield service


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    fence = rf"^```{language}\n(.*?)^```$"
    return re.findall(fence, document.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def replies(document: Path, service: Service) -> list[dict[str, Any]]:
    """What the service answers to every curl command of a document."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    found = []
    for block in blocks(document, "bash"):
        done = subprocess.run(
            ["bash", "-euc", block.replace(ADDRESS, service.url)],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        found.append(json.loads(done.stdout))
    return found


def run_python(document: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every Python block of a document, each for itself."""
    monkeypatch.setenv("POSTERION_URL", service.url)
    for block in blocks(document, "python"):
        text = block.replace(ADDRESS, service.url)
        exec(compile(text, str(document), "exec"), {})  # noqa: S102 - our own text


def test_the_two_commands_are_those_that_are_promised() -> None:
    assert blocks(README, "")[0].splitlines() == [f"{INSTALL}posterion demo", f"{INSTALL}pytest"]


def test_curl_of_the_readme_answers_ethanol(service: Service) -> None:
    (reply,) = replies(README, service)
    (result,) = reply["results"]
    assert result["status"] == "ok"
    assert len(result["forces"]) == 9
    assert result["uncertainty"]["calibrated"] is True


def test_python_of_the_readme_runs(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(blocks(README, "python")) == 2
    run_python(README, service, monkeypatch)
    said = capsys.readouterr().out
    assert len(re.findall(r"^-\d+\.\d{3} eV, (?:ok|flagged)$", said, re.MULTILINE)) == 2
    assert len(re.findall(r"forces to within \d+\.\d{3} eV/Angstrom", said)) == 2
    assert "stopped" not in said


def test_curl_of_the_guide_is_answered_as_the_guide_says(service: Service) -> None:
    mixed, gradient, taught, pinned, misspelt, strict = replies(GUIDE, service)
    assert mixed["units"]["forces"] == "kcal/mol/angstrom"
    water, sulphide = mixed["results"]
    assert water["id"] == "water"
    assert "composition-unseen" in {flag["code"] for flag in water["flags"]}
    assert sulphide["error"]["code"] == "unsupported-element"
    (pushed,) = gradient["results"]
    assert pushed["uncertainty_gradient"]["unit"] == "eV"
    assert len(pushed["uncertainty_gradient"]["positions"]) == 2
    assert taught["state"]["n"] == 1
    assert [result["residual"] is None for result in taught["results"]] == [False, False, True]
    assert all(0.0 < result["confidence"] < 1.0 for result in taught["results"])
    assert pinned["model"]["name"] == "ethanol"
    assert (misspelt["code"], misspelt["status"]) == ("invalid-request", 422)
    assert "precission" in misspelt["errors"][0]["pointer"]
    assert (strict["code"], strict["status"]) == ("unsupported-element", 422)


def test_msgpack_and_session_of_the_guide_run(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_python(GUIDE, service, monkeypatch)
    energy, rest = capsys.readouterr().out.split(maxsplit=1)
    assert float(energy) < 0
    assert rest.count("[") == 4
    energies = [float(line.split()[-1]) for line in rest.splitlines()[-3:]]
    assert energies[0] == pytest.approx(float(energy), abs=1e-3)
    assert energies == sorted(energies, reverse=True)


def test_the_guide_names_every_flag_and_every_error() -> None:
    import posterion.api.session_errors  # noqa: F401 - adds to the tree
    from posterion.errors import EvaluationError, RequestError, ServiceError, StructureError

    text = GUIDE.read_text("utf-8")
    families = [EvaluationError, RequestError, ServiceError, StructureError]
    codes = {kind.code for family in families for kind in family.__subclasses__()}
    assert len(codes) > 20
    assert {code for code in codes if f"`{code}`" not in text} == set()


@pytest.mark.parametrize("document", [README, GUIDE], ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text("utf-8"))
    local = [link for link in links if "://" not in link]
    assert local
    assert [link for link in local if not (document.parent / link).exists()] == []
