"""The PES file of i-PI means what its parameters say, in the units of i-PI."""

import ast
import json
import socket
import threading
from importlib.util import find_spec

import numpy as np
import pytest

from posterion_client import InvalidArgument, RetryPolicy, SampleOutputs, UncertaintyExceeded
from posterion_client._cli.main import main
from posterion_client._halting import halting_flags
from posterion_client.ipi import pes_path
from posterion_client.ipi._beads import BeadAnswer
from posterion_client.ipi._evaluator import (
    BeadEvaluator,
    FloatArray,
    Result,
    calibration_notice,
    result_of,
)
from posterion_client.ipi._settings import read_settings
from posterion_client.ipi._socket_driver import SocketDriver
from posterion_client.ipi._units import BOHR_PER_ANGSTROM, FORCE, HARTREE_PER_EV
from tests.support.spring_service import spring_service

ANSWER = BeadAnswer(
    energy=-2.0,
    forces=np.array([[1.0, 2.0, 3.0]]),
    stress=np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]]),
    energy_epistemic=0.5,
    force_epistemic=np.array([0.25]),
    force_max=0.25,
    candidate_flags=("a",),
    failed_flags=("b",),
    samples=SampleOutputs(
        energies=np.array([-3.0, -1.0]),
        forces=np.array([[[0.0, 1.0, 2.0]], [[2.0, 3.0, 4.0]]]),
        stress=np.stack([np.zeros((3, 3)), 2 * np.eye(3)]),
    ),
)


class TestFile:
    def test_i_pi_finds_the_class_without_importing_it(self) -> None:
        named = {
            target.id: ast.literal_eval(node.value)
            for node in ast.parse(pes_path().read_text("utf-8")).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id.startswith("__DRIVER")
        }
        assert named == {"__DRIVER_NAME__": "posterion", "__DRIVER_CLASS__": "PosterionDriver"}

    def test_its_bare_name_hides_no_package(self) -> None:
        # i-PI puts the module into sys.modules under the name of the file.
        assert pes_path().stem not in ("ipi", "posterion", "posterion_client")
        assert find_spec(pes_path().stem) is None

    def test_command_line_prints_where_it_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["ipi-driver", "--pes-path"]) == 0
        assert capsys.readouterr().out.strip() == str(pes_path())


class TestParameters:
    def test_all_of_them_are_read(self) -> None:
        found = read_settings(
            {
                "symbols": "O H H",
                "url": "http://host:1/",
                "model": "water",
                "version": "stable",
                "digest": "sha256:1",
                "pbc": "True False True",
                "charge": 1,
                "spin_multiplicity": 2,
                "precision": "float64",
                "n_samples": 3,
                "committee": True,
                "halt": "failed",
                "transport": "http",
                "retry_s": 5,
                "timeout_s": 7.5,
                "verbosity": True,  # of i-PI
            }
        )
        assert found.numbers.tolist() == [8, 1, 1]
        assert (found.url, found.pbc, found.halt) == (
            "http://host:1",
            (True, False, True),
            "failed",
        )
        assert found.retry == RetryPolicy(budget_s=5)
        assert (found.committee, found.n_samples, found.timeout_s) == (True, 3, 7.5)
        assert not found.fully_periodic

    def test_template_is_read_by_ase(self, tmp_path: pytest.TempPathFactory) -> None:
        path = f"{tmp_path}/start.xyz"
        with open(path, "w") as file:  # noqa: PTH123 - a path with a comma would be two parameters
            file.write("2\n# CELL(abcABC): 9 9 9 90 90 90\nO 0 0 0\nH 0 0 1\n")
        assert read_settings({"template": path}).numbers.tolist() == [8, 1]

    @pytest.mark.parametrize(
        ("parameters", "said"),
        [
            ({}, "give either the parameter template"),
            ({"symbols": "O", "template": "x"}, "give either the parameter template"),
            ({"symbols": "Qq"}, "'Qq' is no element"),
            ({"template": "/missing.xyz"}, "cannot read /missing.xyz"),
            ({"symbols": "O", "pcb": False}, "pcb is unknown"),
            ({"symbols": "O", "pbc": "T F T"}, "pbc must be"),
            ({"symbols": "O", "committee": 1}, "committee must be True or False"),
            ({"symbols": "O", "version": 1234}, "version was read by i-PI as the number 1234"),
            ({"symbols": "O", "n_samples": 1.5}, "n_samples must be a whole number"),
            ({"symbols": "O", "precision": "double"}, "precision must be one of"),
            ({"symbols": "O", "retry_s": "long"}, "retry_s must be a number of seconds"),
            ({"symbols": "O", "url": "host"}, "url must look like"),
        ],
    )
    def test_wrong_ones_are_named(self, parameters: dict[str, object], said: str) -> None:
        with pytest.raises(InvalidArgument, match=said):
            read_settings(parameters)


class TestUnits:
    def test_energy_forces_and_virial(self) -> None:
        energy, forces, virial, _ = result_of(ANSWER, volume=10.0, n_requests=1)
        assert energy == -2.0 * HARTREE_PER_EV
        np.testing.assert_allclose(forces, ANSWER.forces * HARTREE_PER_EV / BOHR_PER_ANGSTROM)
        assert ANSWER.stress is not None
        np.testing.assert_allclose(virial, -10.0 * HARTREE_PER_EV * ANSWER.stress)

    def test_extras(self) -> None:
        extras = json.loads(result_of(ANSWER, volume=10.0, n_requests=7)[3])
        assert extras["energy_epistemic"] == 0.5 * HARTREE_PER_EV
        assert extras["force_epistemic"] == [extras["force_epistemic_max"]] == [0.25 * FORCE]
        assert (extras["flags"], extras["flag_level"], extras["n_requests"]) == ("b a", 2, 7)

    def test_committee_has_the_mean_of_the_answer(self) -> None:
        energy, forces, _, text = result_of(ANSWER, volume=10.0, n_requests=1)
        extras = json.loads(text)
        assert np.mean(extras["committee_pot"]) == pytest.approx(energy, rel=1e-15)
        np.testing.assert_allclose(np.mean(extras["committee_force"], axis=0), forces.ravel())
        np.testing.assert_allclose(
            extras["committee_virial"][1], -20.0 * HARTREE_PER_EV * np.eye(3), atol=0
        )

    def test_calibration_is_the_quotient_of_the_spreads(self) -> None:
        assert f"<alpha> {0.5 / 2**0.5:.8g} </alpha>" in calibration_notice(ANSWER)

    @pytest.mark.parametrize(
        ("halt", "codes"), [("never", ()), ("failed", ("b",)), ("candidate", ("b", "a"))]
    )
    def test_halting_flags(self, halt: str, codes: tuple[str, ...]) -> None:
        found = halting_flags(
            halt,  # type: ignore[arg-type] # one of three
            candidate=ANSWER.candidate_flags,
            failed=ANSWER.failed_flags,
        )
        assert found == codes


class TestEvaluator:
    @pytest.mark.parametrize("committee", [False, True])
    def test_beads_are_one_request_and_wrong_numbers_of_atoms_none(
        self, *, committee: bool
    ) -> None:
        generator = np.random.default_rng(0)
        apart = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])  # bohr
        beads = list(apart + 0.1 * generator.normal(size=(8, 2, 3)))
        with spring_service() as service:
            parameters = {"symbols": "O H", "url": service.url, "committee": committee}
            evaluate = BeadEvaluator(read_settings(parameters), lambda _: None)
            found = evaluate([20 * np.eye(3)] * 8, beads)
            assert [len(structures) for structures, *_ in service.backend.calls] == [8]
            (first,) = evaluate([20 * np.eye(3)], beads[:1])
            assert first[0] == found[0][0]
            np.testing.assert_array_equal(first[2], found[0][2])
            with pytest.raises(InvalidArgument, match="i-PI has 3 atoms"):
                evaluate([20 * np.eye(3)], [np.zeros((3, 3))])
            assert len(service.backend.calls) == 2
            evaluate.close()

    def test_flags_halt(self) -> None:
        with spring_service() as service:
            parameters = {"symbols": "O H", "url": service.url, "halt": "candidate"}
            evaluate = BeadEvaluator(read_settings(parameters), lambda _: None)
            with pytest.raises(UncertaintyExceeded, match="halted by force-epistemic-high"):
                evaluate([50 * np.eye(3)], [np.diag([20.0, 10.0, 0.0])[:2]])
            evaluate.close()


class TestSocketDriver:
    def test_answers_in_the_order_of_the_protocol(self) -> None:
        ours, theirs = socket.socketpair()
        asked: list[tuple[FloatArray, FloatArray]] = []

        def evaluate(cells: list[FloatArray], positions: list[FloatArray]) -> list[Result]:
            asked.extend(zip(cells, positions, strict=True))
            return [(float(p.sum()), -p, np.eye(3), "{}") for p in positions]

        driver = SocketDriver(ours, evaluate)  # type: ignore[arg-type] # lists are sequences
        thread = threading.Thread(target=driver.serve)
        thread.start()
        theirs.settimeout(10)

        def said(n_bytes: int) -> bytes:
            return theirs.recv(n_bytes, socket.MSG_WAITALL)

        box, positions = np.arange(9.0).reshape(3, 3), np.arange(12.0).reshape(2, 2, 3)
        theirs.sendall(b"STATUS      ")
        assert said(12) == b"NEEDINIT    "
        setting = b"a : 1, batch_size : 2"
        theirs.sendall(b"INIT        " + np.array([0, len(setting)], np.int32).tobytes() + setting)
        theirs.sendall(b"STATUS      ")
        assert said(12) == b"READY       "
        boxes = np.stack([[box, np.linalg.pinv(box)]] * 2)
        theirs.sendall(b"POSDATA     " + np.int32(2).tobytes() + boxes.tobytes())
        theirs.sendall(positions.tobytes() + b"STATUS      GETFORCE    ")
        assert said(24) == b"HAVEDATA    FORCEREADY  "
        assert np.frombuffer(said(16)).tolist() == positions.sum(axis=(1, 2)).tolist()
        assert np.frombuffer(said(4), np.int32) == 2
        np.testing.assert_array_equal(np.frombuffer(said(96)).reshape(2, 2, 3), -positions)
        np.testing.assert_array_equal(np.frombuffer(said(144)).reshape(2, 3, 3), [np.eye(3)] * 2)
        assert said(12) == (np.int32(2).tobytes() + b"{}") * 2
        theirs.sendall(b"EXIT        ")
        assert theirs.recv(1) == b""
        theirs.close()
        thread.join(10)
        np.testing.assert_array_equal([cell for cell, _ in asked], [box, box])

    def test_hangs_up_in_order_when_it_fails(self) -> None:
        ours, theirs = socket.socketpair()

        def fail(*_: object) -> list[Result]:
            raise InvalidArgument("no")

        theirs.sendall(b"POSDATA     " + bytes(18 * 8) + np.int32(1).tobytes() + bytes(24))
        theirs.sendall(b"GETFORCE    ")  # i-PI does not wait; unread, it would reset the connection
        with pytest.raises(InvalidArgument):
            SocketDriver(ours, fail).serve()
        assert theirs.recv(1) == b""
        theirs.close()
