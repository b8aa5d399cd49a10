"""What the run of any method is built from: potential, probe forces, first parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from posterion.network.config import UnitKind
from posterion.network.functional import NetworkFunction
from posterion.posterior.prior import GaussianPrior
from posterion.structures.ase_io import LabelledFrame
from posterion.training.chain_setup import Probe
from posterion.training.config import TrainingConfig
from posterion.training.likelihood import ForceLikelihood
from posterion.training.objective import (
    PaddedFrames,
    PotentialFunction,
    compile_potential,
    make_potential,
    pad_frames,
    predict_padded,
)

N_PROBE: Final = 8
"""Training structures whose forces are compared between and within chains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParts:
    """What a run is built from: the same for every method.

    Attributes:
        potential: U/N of a minibatch and its gradient.
        probe: Forces on probe structures.
        initial: Draws the initial parameters of one member from a generator, shape
            ``(n_parameters,)``.
        input_units: Tells which unit each parameter reads, ``(n_parameters,)``; 0 for none.
        dtype: Floating type of the members.
        device: Where they run.
    """

    potential: PotentialFunction
    probe: Probe
    initial: Callable[[torch.Generator], Tensor]
    input_units: Callable[[UnitKind], Tensor]
    dtype: torch.dtype
    device: torch.device


def build_parts(
    config: TrainingConfig,
    frames: Sequence[LabelledFrame],
    function: NetworkFunction,
    *,
    likelihood: ForceLikelihood,
    centre: Tensor | None,
    n_chains: int,
    compiled: bool,
) -> RunParts:
    """Build potential and probe for members that advance together.

    Args:
        config: The run.
        frames: Training frames.
        function: The network.
        likelihood: Of the force of an atom.
        centre: Centre of the prior, where members start, shape ``(n_parameters,)``; None = a
            prior around zero and random weights.
        n_chains: Members of the group.
        compiled: Whether the training step is compiled for that many.

    Returns:
        The parts.
    """
    padded = pad_frames(frames, function)
    potential = make_potential(
        function,
        padded,
        likelihood=likelihood,
        prior=GaussianPrior(
            mean=0.0 if centre is None else centre.to(function.device, function.dtype),
            std=config.prior.std,
        ),
        n_data=len(frames),
    )
    if compiled:
        generator = torch.Generator().manual_seed(0)
        row = function.initial_parameters(generator).to(function.device, function.dtype)
        indices = torch.arange(config.batch_size, device=function.device)
        potential = compile_potential(
            potential, row.expand(n_chains, -1).clone(), indices.expand(n_chains, -1).clone()
        )
    return RunParts(
        potential=potential,
        probe=_probe(padded, function),
        initial=function.initial_parameters if centre is None else _starting_at(centre),
        input_units=function.input_units,
        dtype=function.dtype,
        device=function.device,
    )


def _starting_at(centre: Tensor) -> Callable[[torch.Generator], Tensor]:
    def initial(generator: torch.Generator) -> Tensor:
        del generator
        return centre.double()

    return initial


def _probe(frames: PaddedFrames, function: NetworkFunction) -> Probe:
    n_probe = min(N_PROBE, frames.n_frames)
    probed = PaddedFrames(*(field[:n_probe] for field in frames))

    def probe(parameters: Tensor) -> Tensor:
        batch = PaddedFrames(*(field.expand(len(parameters), *field.shape) for field in probed))
        _, forces, _ = predict_padded(function, parameters, batch, create_graph=False)
        kept: Tensor = forces.detach()[:, probed.atom_mask > 0].flatten(1)
        return kept

    return probe
