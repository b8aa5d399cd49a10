"""Engines against the float64 network: random samples, and how closely outputs must agree."""

from typing import Final

import torch
from torch import Tensor

from posterion.network.config import NetworkConfig
from posterion.network.functional import NetworkFunction, NetworkOutputs
from tests.support.banks import REFERENCE

OF_FORCE_RMS: Final = 2e-5
"""What issue and documentation promise of the forces of every sample; measured 3e-6."""
OF_OTHERS: Final = 1e-5
"""Of the other outputs, of their root mean square."""


def noisy_samples(config: NetworkConfig, *, n_samples: int) -> Tensor:
    """Random networks whose noise readout is not the constant that training starts from."""
    function = NetworkFunction(config, REFERENCE, dtype=torch.float64, device="cpu")
    generator = torch.Generator().manual_seed(5)
    rows = torch.stack([function.initial_parameters(generator) for _ in range(n_samples)])
    return rows + 0.05 * torch.randn(rows.shape, generator=generator, dtype=torch.float64)


def assert_outputs_agree(found: NetworkOutputs, expected: NetworkOutputs) -> None:
    """Every output of every sample is the reference's, as far as single precision goes."""
    assert_close(found.forces, expected.forces, relative=OF_FORCE_RMS)
    assert_close(found.stress, expected.stress, relative=OF_FORCE_RMS)
    shift = expected.energy.mean(dim=0)
    assert_close(found.energy - shift, expected.energy - shift, relative=OF_OTHERS)
    assert_close(found.force_std, expected.force_std, relative=OF_OTHERS)
    assert_close(found.latent, expected.latent, relative=OF_OTHERS)
    torch.testing.assert_close(found.energy_std, expected.energy_std)
    assert (found.force_epistemic_std is None) is (expected.force_epistemic_std is None)
    if expected.force_epistemic_std is not None:
        assert_close(found.force_epistemic_std, expected.force_epistemic_std, relative=OF_OTHERS)


def assert_close(found: Tensor | None, expected: Tensor | None, *, relative: float) -> None:
    """Within a fraction of the root mean square, NaN where NaN is expected."""
    assert found is not None
    assert expected is not None
    known = ~expected.isnan()
    assert bool((found.isnan() == ~known).all())
    scale = float(expected[known].square().mean().sqrt())
    torch.testing.assert_close(
        found[known].double(), expected[known], atol=relative * scale, rtol=0.0
    )
