"""i-PI itself on Posterion: certified, batched, committees, and every end it may come to."""

import json
import math
import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest

from posterion.errors import UnknownModel
from posterion_client import Client, PredictOptions, Structure
from posterion_client.ipi import pes_path
from posterion_client.ipi._units import HARTREE_PER_EV
from tests.support.fake_backend import OLDER, STABLE, SpringBackend
from tests.support.ipi_runs import (
    ADDRESS,
    blocks,
    direct,
    driver,
    ipi,
    over_socket,
    table,
    until,
    write_input,
)
from tests.support.md_codes import run_in_environment
from tests.support.services import Service
from tests.support.spring_service import SpringService, spring_service

pytestmark = pytest.mark.clients

N_BEADS = 8
NOWHERE = "http://127.0.0.1:9"
AT_ONCE = "retry_s: 0"


def n_batches(service: Service) -> tuple[float, float]:
    """How many batches were evaluated so far, and how many structures."""
    text = httpx.get(f"{service.url}/metrics", trust_env=False).text
    count, structures = (
        float(re.findall(rf"^posterion_batch_structures_{what} (\S+)$", text, re.MULTILINE)[0])
        for what in ("count", "sum")
    )
    return count, structures


@pytest.fixture
def socket_name() -> str:
    return f"posterion-{os.getpid()}"


@pytest.mark.timeout(600)
def test_selftest_certifies_i_pi(bundled_service: Service) -> None:
    command = ["-m", "posterion_client", "selftest", "--client", "ipi"]
    done = run_in_environment("ipi", [*command, "--url", bundled_service.url], timeout_s=570)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)  # noqa: T201 - the figures, for whoever runs with -s
    assert "FAILED" not in done.stdout


class TestGuide:
    def test_path_integrals_ask_once_per_step(
        self, bundled_service: Service, tmp_path: Path
    ) -> None:
        text = blocks("xml")[0].replace("PES_PATH", str(pes_path()))
        (tmp_path / "input.xml").write_text(text.replace(ADDRESS, bundled_service.url))
        (tmp_path / "start.xyz").write_text(blocks("xyz")[0])
        before = n_batches(bundled_service)
        with ipi(tmp_path) as ended:
            end = ended()
        assert end.status == 0, end.errors
        batches, structures = np.subtract(n_batches(bundled_service), before)
        assert (batches, structures) == (21, 21 * N_BEADS)
        for bead in range(N_BEADS):
            assert table(tmp_path / f"pimd.requests_{bead}").ravel().tolist() == [*range(1, 22)]
            assert (table(tmp_path / f"pimd.spread_{bead}") > 0).all()
        assert len(table(tmp_path / "pimd.out")) == 21

    def test_committee_reports_the_spread_of_the_service(
        self, bundled_service: Service, tmp_path: Path, socket_name: str
    ) -> None:
        text = blocks("xml")[1].replace("<address>posterion<", f"<address>{socket_name}<")
        text = text.replace("<simulation ", "<simulation floatformat='%25.17e' ")
        (tmp_path / "input.xml").write_text(text.replace("0.001<", "0.00001<"))
        (tmp_path / "start.xyz").write_text(blocks("xyz")[0])
        options = ("--committee", "--url", bundled_service.url)
        with ipi(tmp_path) as ended, driver(tmp_path, socket_name, *options) as driver_ended:
            end, told = ended(), driver_ended()
        assert (end.status, told.status) == (0, 0), end.errors + told.errors
        samples, calibrated = service_spread(bundled_service, blocks("xyz")[0])
        spread = table(tmp_path / "committee.std_0").ravel() / HARTREE_PER_EV
        assert spread[0] == pytest.approx(samples, rel=1e-6)
        (alpha,) = re.findall(r"<alpha> (\S+) </alpha>", told.log)
        assert spread[0] * float(alpha) == pytest.approx(calibrated, rel=1e-6)
        # At every step it is the service's own number.
        own = table(tmp_path / "committee.calibrated_0").ravel() / HARTREE_PER_EV
        np.testing.assert_allclose(spread * float(alpha), own, rtol=1e-6)
        assert len(own) == 11
        active = json_objects((tmp_path / "committee.active").read_text())
        assert len(active) == 11
        np.testing.assert_allclose([a["uncertainty"] for a in active], spread * HARTREE_PER_EV)
        assert "<ffsocket" in (tmp_path / "RESTART").read_text()


def service_spread(service: Service, xyz: str) -> tuple[float, float]:
    """Of the samples' energies, and calibrated, eV."""
    lines = [line.split() for line in xyz.splitlines()[2:]]
    structure = Structure(
        symbols=[line[0] for line in lines], positions=[[*map(float, line[1:])] for line in lines]
    )
    with Client(service.url) as client:
        found = client.predict(structure, options=PredictOptions(samples="full")).uncertainty
    assert found is not None
    assert found.samples is not None
    return float(found.samples.energies.std(ddof=1)), found.energy.epistemic


def json_objects(text: str) -> list[dict[str, float]]:
    """JSON objects one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


class TestSockets:
    @pytest.mark.parametrize("beads", [1, N_BEADS])
    def test_driver_and_ffdirect_agree(self, tmp_path: Path, socket_name: str, beads: int) -> None:
        potentials = []
        with spring_service() as service:
            for kind in ("direct", "socket"):
                folder = tmp_path / kind
                folder.mkdir()
                before = len(service.backend.calls)
                if kind == "direct":
                    parameters = f"template: start.xyz, pbc: False, url: {service.url}"
                    write_input(folder, direct(parameters, batch_size=beads), beads=beads)
                    with ipi(folder) as ended:
                        assert ended().status == 0
                else:
                    write_input(folder, over_socket(socket_name, batch_size=beads), beads=beads)
                    with (
                        ipi(folder) as ended,
                        driver(folder, socket_name, "--url", service.url) as driver_ended,
                    ):
                        assert (ended().status, driver_ended().status) == (0, 0)
                asked = [len(structures) for structures, *_ in service.backend.calls[before:]]
                assert asked == [beads] * 4
                potentials.append(table(folder / "run.out")[:, 1])
        np.testing.assert_array_equal(potentials[0], potentials[1])

    @pytest.mark.parametrize("beads", [1, N_BEADS])
    def test_failure_ends_both(self, tmp_path: Path, socket_name: str, beads: int) -> None:
        write_input(tmp_path, over_socket(socket_name, batch_size=beads), beads=beads)
        gone = ("--url", NOWHERE, "-o", "retry_s=0")
        with ipi(tmp_path) as ended, driver(tmp_path, socket_name, *gone) as driver_ended:
            told = driver_ended()
            ended()
        assert told.status == 1
        assert f"no connection to {NOWHERE}" in told.line()

    def test_committee_over_ffdirect_runs_too(self, tmp_path: Path) -> None:
        with spring_service() as service:
            parameters = (
                f"template: start.xyz, pbc: False, url: {service.url}, committee: True, "
                "halt: candidate"
            )
            committee = f"<ffcommittee name='posterion'>{direct(parameters)}</ffcommittee>"
            committee = committee.replace("<ffdirect name='posterion'", "<ffdirect name='bank'")
            committee = committee.replace("</ffc", "<parse_json>True</parse_json></ffc")
            write_input(tmp_path, committee)
            text = (tmp_path / "input.xml").read_text()
            names = text.replace("'flag_level, n_requests'", "'committee_n_requests'")
            (tmp_path / "input.xml").write_text(names)
            with ipi(tmp_path) as ended:
                end = ended()
            assert table(tmp_path / "run.flags_0").ravel().tolist() == [1, 2, 3, 4]
            # A defect of i-PI 3.3.1, for which the guide recommends the socket.
            assert "TypeError: cannot unpack non-iterable int object" in end.errors


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
            begin(tmp_path, service, more="halt: candidate", temperature=1e6)
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
) -> None:
    """A run long enough for something to happen in it."""
    parameters = f"template: start.xyz, pbc: False, url: {service.url}, {more}"
    forcefield = direct(parameters, threaded=threaded)
    write_input(folder, forcefield, steps=steps, temperature=temperature)


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
        assert status == 0
        assert "follows in" in said
        whole, cut = (table(tmp_path / name / "run.out") for name in ("whole", "cut"))
        np.testing.assert_array_equal(whole, cut)

    def test_with_another_sample_set_ends_the_run(self, tmp_path: Path) -> None:
        status, said = self.run(tmp_path / "renewed", _Renewed, steps=3000)
        assert status == 1
        assert "cannot go on with another potential" in said
