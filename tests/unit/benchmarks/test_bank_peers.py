"""What the benchmark hands to other packages is the batch it evaluates itself."""

import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from benchmarks.bank_peers import Peer, write_arrays
from benchmarks.engine_cases import FILES, Case, prepare

SIZE = {"n_features": 4, "l_max": 1}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with two frames of a small skewed cell in place of water."""
    cell = np.array([[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.0, 0.5, 6.0]])
    frames = [
        Atoms("OH2", positions=[[0, 0, 0], [0.9, 0.1, shift], [-0.2, 0.9, 0]], cell=cell, pbc=True)
        for shift in (0.0, 0.1)
    ]
    ase.io.write(tmp_path / FILES["water"], frames)
    return tmp_path


def test_arrays_describe_the_same_edges(data: Path, tmp_path: Path) -> None:
    case = Case(name="tiny", molecule="water", n_structures=2, n_samples=1, size=SIZE)
    write_arrays(case, data, tmp_path / "batch.npz")
    arrays = np.load(tmp_path / "batch.npz")
    centre, neighbor = arrays["edge_index"]
    cells = arrays["cell"][arrays["structure_index"][centre]]
    shifts = np.einsum("ei,eij->ej", arrays["unit_shifts"], cells)
    np.testing.assert_allclose(shifts, arrays["shifts"], atol=1e-5)
    vectors = arrays["positions"][neighbor] + shifts - arrays["positions"][centre]
    np.testing.assert_allclose(vectors, prepare(case, data).batch.vectors.numpy(), atol=1e-5)
    assert np.any(arrays["unit_shifts"])


def test_an_environment_without_the_peer_ends_the_run(tmp_path: Path) -> None:
    case = Case(name="tiny", molecule="ethanol", n_structures=1, n_samples=1, size=SIZE)
    write_arrays(case, None, tmp_path / "batch.npz")
    with pytest.raises(SystemExit, match=r"peer_worker.*ended"):
        Peer(Path(sys.executable), "no-such-peer", "eager", tmp_path / "batch.npz")
