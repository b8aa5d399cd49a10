"""However a run of i-PI ends, it says so in one line, or goes on with the same numbers."""

import math
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from posterion.errors import UnknownModel
from tests.support.fake_backend import OLDER, STABLE, SpringBackend
from tests.support.ipi_runs import direct, ipi, table, until, write_input
from tests.support.spring_service import SpringService, spring_service

pytestmark = pytest.mark.clients

NOWHERE = "http://127.0.0.1:9"
AT_ONCE = "retry_s: 0"


def _wrong_digest() -> str:
    return f"digest: sha256:{'0' * 64}"


class TestEnds:
    @pytest.mark.parametrize(
        ("parameters", "said"),
        [
            ("template: start.xyz, URL", "no connection to"),
            ("symbols: U H H", "unsupported-element"),
            ("symbols: O H", "i-PI has 3 atoms, template or symbols name 2"),
            ("template: start.xyz, DIGEST", "version-moved"),
            ("template: start.xyz, model: no", "unknown-model"),
            ("template: start.xyz, colour: red", "parameter colour is unknown"),
            ("template: gone.xyz", "cannot read gone.xyz"),
        ],
    )
    @pytest.mark.parametrize("threaded", [False, True])
    def test_wrong_settings_say_one_line(
        self, tmp_path: Path, parameters: str, said: str, threaded: bool
    ) -> None:
        with spring_service() as service:
            url = f"url: {NOWHERE if 'URL' in parameters else service.url}"
            filled = parameters.replace("URL", "pbc: False").replace("DIGEST", _wrong_digest())
            write_input(tmp_path, direct(f"{filled}, {url}, {AT_ONCE}", threaded=threaded))
            with ipi(tmp_path) as ended:
                end = ended()
        assert end.status == 1
        assert said in end.line()

    @pytest.mark.parametrize("threaded", [False, True])
    def test_number_that_is_not_finite_ends_a_run(self, tmp_path: Path, threaded: bool) -> None:
        with spring_service() as service:
            begin(tmp_path, service, threaded=threaded)
            with ipi(tmp_path) as ended:
                until(lambda: len(service.backend.calls) > 20)
                service.backend.poison = math.nan
                end = ended()
        assert end.status == 1
        assert "non-finite-result" in end.line()
        assert end.line() in end.log
        steps = table(tmp_path / "run.out")[:, 0]
        assert f"<step>{int(steps[-1])}</step>" in re.sub(
            r"\s", "", (tmp_path / "RESTART").read_text()
        )

    def test_flag_ends_a_run_where_it_is_told_to(self, tmp_path: Path) -> None:
        with spring_service() as service:
            begin(tmp_path, service, more="halt: candidate", temperature=1e6, timestep=0.1)
            with ipi(tmp_path) as ended:
                end = ended()
        assert end.status == 1
        assert "uncertainty-exceeded: halted by force-epistemic-high" in end.line()
        levels = table(tmp_path / "run.flags_0")[:, 0]
        assert not levels.any()  # the flagged step is not in the outputs any more
        assert len(levels) == len(service.backend.calls) - 1


def begin(
    folder: Path,
    service: SpringService,
    *,
    more: str = "retry_s: 30",
    threaded: bool = False,
    steps: int = 3000,
    temperature: float = 30.0,
    timestep: float = 0.002,
) -> None:
    """A run of many steps and little motion: springs pull all atoms to one place."""
    parameters = f"template: start.xyz, pbc: False, url: {service.url}, {more}"
    forcefield = direct(parameters, threaded=threaded)
    write_input(folder, forcefield, steps=steps, temperature=temperature, timestep=timestep)


class _Renewed(SpringBackend):
    """The same name with another sample set only."""

    def _digest(self, name: str, version: str | None) -> str:
        if version == STABLE:
            raise UnknownModel(f"no version {version}")
        return OLDER


class TestRestart:
    def run(
        self, folder: Path, second: Callable[[], SpringBackend] | None, *, steps: int
    ) -> tuple[int, str]:
        """A run whose service is replaced in the middle."""
        folder.mkdir()
        with ExitStack() as first:
            service = first.enter_context(spring_service())
            begin(folder, service, steps=steps)
            with ipi(folder) as ended:
                if second is None:
                    return ended().status, ""
                until(lambda: len(service.backend.calls) > 20)
                first.close()
                with spring_service(second(), port=service.port):
                    end = ended()
        return end.status, end.errors

    def test_is_waited_for_and_changes_nothing(self, tmp_path: Path) -> None:
        steps = 400
        assert self.run(tmp_path / "whole", None, steps=steps)[0] == 0
        status, said = self.run(tmp_path / "cut", SpringBackend, steps=steps)
        assert status == 0, said
        assert "follows in" in said
        whole, cut = (table(tmp_path / name / "run.out") for name in ("whole", "cut"))
        np.testing.assert_array_equal(whole, cut)

    def test_with_another_sample_set_ends_the_run(self, tmp_path: Path) -> None:
        status, said = self.run(tmp_path / "renewed", _Renewed, steps=3000)
        assert status == 1
        assert "cannot go on with another potential" in said
