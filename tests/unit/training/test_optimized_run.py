"""An optimised network stopped anywhere goes on as if it had not been; masks drop what they say."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from posterion.errors import ChainDiverged
from posterion.training.divergence import MAX_RETRIES
from posterion.training.methods.dropout import UnitDropout
from posterion.training.objective import Potential, PotentialFunction
from posterion.training.optimized_run import KeepAll, Masks, OptimizedRun
from posterion.training.run_parts import RunParts
from tests.support.training_runs import (
    initial_parameters,
    regression,
    regression_run,
    training_config,
)

UNITS = torch.tensor([0, 1, 1, 2, 3])
RATE = 0.25
MASKS: dict[str, Callable[[], Masks]] = {
    "all": KeepAll,
    "dropout": lambda: UnitDropout(UNITS, RATE),
}


def run_of(
    masks: Masks,
    potential: PotentialFunction | None = None,
    *,
    chains: tuple[int, ...] = (0, 1),
) -> OptimizedRun:
    """Networks on the regression of `training_runs`."""
    parts = RunParts(
        potential=regression() if potential is None else potential,
        probe=lambda parameters: parameters,
        initial=initial_parameters,
        input_units=lambda kind: UNITS,
        dtype=torch.float64,
        device=torch.device("cpu"),
    )
    return OptimizedRun(training_config(), chains, parts, masks=masks)


def finish(run: OptimizedRun) -> dict[str, Tensor]:
    while not run.finished:
        run.advance()
    return run.state_dict()


@pytest.mark.parametrize("masks", MASKS)
def test_run_stopped_at_any_step_continues_bitwise(masks: str) -> None:
    straight, stopped = run_of(MASKS[masks]()), []
    while not straight.finished:
        copy = run_of(MASKS[masks]())
        copy.load_state_dict(straight.state_dict())
        stopped.append(copy)
        straight.advance()
    expected = straight.state_dict()
    for copy in stopped:
        for name, value in finish(copy).items():
            assert torch.equal(value, expected[name]), name


def test_optimisation_is_the_pretraining_of_a_chain() -> None:
    """So an ensemble and a chain of one seed start alike, and can be compared."""
    average = finish(run_of(KeepAll()))["average"]
    chain = regression_run(training_config())
    for _ in range(chain.config.pretraining.steps):
        chain.advance()
    assert torch.equal(chain.state_dict()["position"], average)


def test_members_differ_by_their_number_alone() -> None:
    together = finish(run_of(KeepAll()))["average"]
    for member in (0, 1):
        alone = finish(run_of(KeepAll(), chains=(member,)))["average"]
        torch.testing.assert_close(alone[0], together[member])
    assert not torch.equal(together[0], together[1])


def test_masks_drop_whole_units_at_their_rate() -> None:
    n_masks = 40_000
    masks = UnitDropout(UNITS, RATE).draw(n_masks, torch.Generator().manual_seed(1))
    assert torch.equal(masks[:, 0], torch.ones(n_masks, dtype=torch.float64))
    assert torch.equal(masks[:, 1], masks[:, 2])
    assert set(masks[:, 1:].flatten().tolist()) == {0.0, 1.0 / (1.0 - RATE)}
    # Five standard errors of a mean whose variance is p / (1 - p).
    error = 5.0 * (RATE / (1.0 - RATE) / n_masks) ** 0.5
    torch.testing.assert_close(masks.mean(dim=0), torch.ones_like(masks[0]), rtol=0.0, atol=error)
    covariance = masks[:, [1, 3, 4]].T.cov()
    off_diagonal = covariance - covariance.diag().diag()
    assert float(off_diagonal.abs().max()) < error


def test_potential_sees_masked_weights_and_masks_its_gradient() -> None:
    seen: list[Tensor] = []
    honest = regression()

    def watching(parameters: Tensor, indices: Tensor, energy_weight: Tensor) -> Potential:
        seen.append(parameters)
        result = honest(parameters, indices, energy_weight)
        return result._replace(gradient=torch.ones_like(result.gradient))

    run = run_of(UnitDropout(UNITS, RATE), watching, chains=(0,))
    start = run.state_dict()["position"]
    run.advance()
    ratio = (seen[0] / start)[0]
    moved = (run.state_dict()["position"] != start)[0]
    assert set(ratio.round(decimals=9).tolist()) <= {0.0, 1.0, round(1.0 / (1.0 - RATE), 9)}
    # Adam moves a weight as soon as its gradient is not zero.
    assert torch.equal(moved, ratio != 0.0)


def test_divergence_halves_the_learning_rate_until_it_is_given_up() -> None:
    run = run_of(KeepAll())
    usual = run_of(KeepAll()).advance().learning_rate
    start = run.state_dict()
    run.retreat(start)
    assert run.advance().learning_rate == 0.5 * usual
    for _ in range(MAX_RETRIES - 1):
        run.retreat(start)
    with pytest.raises(ChainDiverged, match="the learning rate was halved each time"):
        run.retreat(start)
