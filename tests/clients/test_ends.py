"""However an MD code's run ends, its own output says why in a line, and its status is not 0.

What only one code can do wrong is tested beside that code.
"""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from posterion_client.selftest._codes import CODES
from tests.support.code_runs import CodeRun, pinned
from tests.support.fake_backend import SpringBackend
from tests.support.spring_service import spring_service

pytestmark = pytest.mark.clients

URANIUM = [(4, 92)]
UNKNOWN = f"sha256:{'0' * 64}"
ASK_BY_ROUTE = {"ase", "lammps-plugin", "ipi"}
"""Their self-tests name the version in the route; the others say which one must answer."""


def last_words(run: CodeRun) -> str:
    """What a run says that must not end well."""
    done = run.end()
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


@pytest.mark.parametrize("code", CODES)
class TestEnds:
    def test_an_element_that_the_model_has_not_seen(self, code: str, tmp_path: Path) -> None:
        with spring_service() as service:
            asked = pinned(service.url)
            said = last_words(CodeRun(code, asked, tmp_path, n_steps=1, changes=URANIUM))
        assert "unsupported-element" in said

    def test_a_number_that_is_not_finite(self, code: str, tmp_path: Path) -> None:
        with spring_service(SpringBackend(poison=math.nan)) as service:
            said = last_words(CodeRun(code, pinned(service.url), tmp_path, n_steps=1))
        assert "non-finite-result" in said

    def test_a_version_that_is_not_there(self, code: str, tmp_path: Path) -> None:
        with spring_service() as service:
            asked = replace(pinned(service.url), digest=UNKNOWN)
            said = last_words(CodeRun(code, asked, tmp_path, n_steps=1))
        assert ("unknown-model" if code in ASK_BY_ROUTE else "version-moved") in said
