"""A step that a later window finds too small stays small: a larger one made chains diverge."""

import torch

from posterion.training.sampler_config import SGHMCConfig
from posterion.training.step_size_control import StepSizeControl

N_DATA = 50


def settled(control: StepSizeControl, spread: float, *, freezes: bool = False) -> torch.Tensor:
    """Step sizes after a window of gradients of that standard deviation."""
    generator = torch.Generator().manual_seed(3)
    for step in range(40):
        noise = torch.randn((1, 4), generator=generator, dtype=torch.float64)
        control.look(spread * noise, first=step == 0)
    control.settle(halvings=1, freezes=freezes)
    return control.current


def test_a_window_may_shrink_a_step_but_not_let_it_grow() -> None:
    position = torch.zeros((1, 4), dtype=torch.float64)
    control = StepSizeControl(SGHMCConfig(), position, n_data=N_DATA, prior_precision=1e-6)
    first = settled(control, 1.0).clone()
    assert bool((first > 0).all())
    assert torch.equal(settled(control, 0.1), first)
    smaller = settled(control, 10.0, freezes=True)
    torch.testing.assert_close(smaller, first / 100.0)
