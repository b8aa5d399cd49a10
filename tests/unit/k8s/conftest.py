"""The rendered overlays and the checker of `.ci`, loaded once for the tests of the manifests."""

import importlib.util
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
OVERLAYS = ("cpu", "gpu")

Manifests = list[dict[str, Any]]


@pytest.fixture(scope="session")
def checker() -> ModuleType:
    """The module `.ci/manifests.py`, which no import path reaches."""
    spec = importlib.util.spec_from_file_location("manifests", ROOT / ".ci" / "manifests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def rendered(checker: ModuleType) -> dict[str, Manifests]:
    """Objects of every overlay, by the overlay's name."""
    if shutil.which("kubectl") is None:
        # `.ci/check` fails without kubectl; a user who only tests the service need not have it.
        pytest.skip("kubectl is not installed")
    return {name: checker.render(ROOT / "k8s" / "overlays" / name) for name in OVERLAYS}


@pytest.fixture(params=OVERLAYS)
def manifests(rendered: dict[str, Manifests], request: pytest.FixtureRequest) -> Manifests:
    """A private copy of one overlay's objects, which a test may damage."""
    return deepcopy(rendered[request.param])


@pytest.fixture
def find(manifests: Manifests) -> Callable[[str, str], dict[str, Any]]:
    """Look one object up by kind and name."""

    def _find(kind: str, name: str) -> dict[str, Any]:
        matches = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
        assert len(matches) == 1
        return matches[0]

    return _find
