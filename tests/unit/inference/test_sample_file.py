"""A posterior sample survives its file bit for bit, and nothing else is taken for one."""

import numpy as np
import pytest
from safetensors.numpy import save

from posterion.inference.sample_file import SAMPLE_FORMAT, decode_sample, encode_sample

N = 17
METADATA = {"format": SAMPLE_FORMAT}


@pytest.fixture
def parameters() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=N).astype(np.float32)


def test_a_sample_survives_bit_for_bit(
    parameters: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> None:
    again = decode_sample(encode_sample(parameters), n_parameters=N)
    assert again.tobytes() == parameters.tobytes()


def test_equal_samples_have_equal_files(
    parameters: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> None:
    assert encode_sample(parameters) == encode_sample(parameters.copy())


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not a safetensors file"),
        (b"\x80\x04\x95 a pickle", "not a safetensors file"),
        (
            save({"parameters": np.zeros(N, np.float32)}),
            "expected format 'posterion-sample/1', got None",
        ),
        (
            save({"parameters": np.zeros(N, np.float32)}, {"format": "posterion-sample/2"}),
            "got 'posterion-sample/2'",
        ),
        (
            save({"weights": np.zeros(N, np.float32)}, METADATA),
            r"one tensor 'parameters', got \['weights'\]",
        ),
        (
            save({"parameters": np.zeros(N, np.float32), "more": np.zeros(1)}, METADATA),
            r"got \['more', 'parameters'\]",
        ),
        (save({"parameters": np.zeros(N)}, METADATA), "got float64"),
        (
            save({"parameters": np.zeros(N + 1, np.float32)}, METADATA),
            r"shape \(17,\), got float32 of shape \(18,\)",
        ),
        (save({"parameters": np.zeros((N, 1), np.float32)}, METADATA), r"of shape \(17, 1\)"),
        (save({"parameters": np.full(N, np.nan, np.float32)}, METADATA), "17 of 17 are not"),
    ],
)
def test_anything_else_is_refused_with_the_reason(data: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode_sample(data, n_parameters=N)


def test_every_truncation_is_refused(
    parameters: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> None:
    whole = encode_sample(parameters)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="not a safetensors file"):
            decode_sample(whole[:length], n_parameters=N)
