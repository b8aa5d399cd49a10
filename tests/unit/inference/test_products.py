"""Generated kernels that numpy and torch can check: products of any shape, and sigmoids."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posterion.inference.fused.gates import write_sigmoid
from posterion.inference.fused.kernel import Kernel, Source, compiled
from posterion.inference.fused.products import write_product

N_COLUMNS = 5


def product(*, add: bool) -> Kernel:
    source = Source()
    write_product(source, "multiply", add=add)
    return compiled(source.text)


MULTIPLY, ADD = product(add=False), product(add=True)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(0, 40),
    n_channels=st.integers(1, 40),
    n_columns=st.integers(1, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_products_of_every_shape_are_numpys(
    n: int, n_channels: int, n_columns: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    x, w, before = (
        draw.standard_normal(shape, dtype=np.float32)
        for shape in ((n, n_channels), (n_channels, n_columns), (n, n_columns))
    )
    expected, o = x.astype(float) @ w.astype(float), before.copy()
    MULTIPLY(x, w, o)
    np.testing.assert_allclose(o, expected, atol=3e-6 * n_channels)
    ADD(x, w, o)
    np.testing.assert_allclose(o, 2.0 * expected, atol=6e-6 * n_channels)


def test_sigmoids_are_those_of_double_precision() -> None:
    source = Source()
    write_sigmoid(source, "sigmoid", N_COLUMNS)
    ordinary = np.linspace(-30.0, 30.0, 20_000)
    extreme = [-1e30, -200.0, -88.0, -1e-20, 0.0, 1e-20, 88.0, 200.0, 1e30, 1.0]
    x = np.array([*ordinary, *extreme], dtype=np.float32).reshape(-1, N_COLUMNS)
    found = np.empty_like(x)
    compiled(source.text)(x, found)
    expected = torch.from_numpy(x.astype(float)).sigmoid().numpy()
    np.testing.assert_allclose(found, expected, atol=1.2e-7)
    some = np.abs(x) < 20.0
    np.testing.assert_allclose(found[some], expected[some], rtol=3e-6)


def test_what_is_not_a_number_stays_none() -> None:
    """The gate multiplies the sigmoid by what it was taken of."""
    x = np.full((2, 3), np.nan, dtype=np.float32)
    o = np.zeros((2, 4), dtype=np.float32)
    MULTIPLY(x, np.ones((3, 4), dtype=np.float32), o)
    assert np.isnan(o).all()


@pytest.mark.parametrize("add", [False, True])
def test_a_product_may_have_no_rows(add: bool) -> None:
    kernel = ADD if add else MULTIPLY
    kernel(*(np.empty(shape, dtype=np.float32) for shape in ((0, 16), (16, 16), (0, 16))))
