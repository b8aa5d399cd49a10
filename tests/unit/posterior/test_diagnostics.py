"""Thermometers, on numbers whose answer is known."""

import pytest
import torch

from posterion.posterior import diagnostics


def test_kinetic_temperature_of_a_known_momentum() -> None:
    momentum, unit = torch.tensor([[2.0, 1.0], [0.0, 4.0]]), torch.tensor([[0.5, 0.25]])
    # The means of (8, 4) and (0, 64).
    torch.testing.assert_close(
        diagnostics.kinetic_temperature(momentum, unit), torch.tensor([6.0, 32.0])
    )


def test_configurational_temperature_of_a_known_position() -> None:
    position, gradient = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.3, -0.1]])
    reading = diagnostics.configurational_temperature(position, gradient, 10)
    torch.testing.assert_close(reading, torch.tensor([0.5]))


def test_excess_heat_of_a_known_step() -> None:
    heat = diagnostics.excess_heat(
        torch.tensor([[1e-4]]), torch.tensor([[0.5]]), n_data=20, friction=0.1
    )
    torch.testing.assert_close(heat, torch.tensor([[0.1]]))


def test_relaxation_takes_five_epochs_at_a_tenth() -> None:
    steps = diagnostics.relaxation_steps(epsilon=0.1, n_data=950, batch_size=5)
    assert steps == pytest.approx(5 * 190)
