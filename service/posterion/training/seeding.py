"""Where the randomness of a run comes from: one stream per member, one for what they share."""

from collections.abc import Sequence
from typing import Final

import torch

_BETWEEN_SEEDS: Final = 1_000_003
_NOISE: Final = 500_009
"""Members are numbered far below it."""


def member_generators(seed: int, members: Sequence[int]) -> list[torch.Generator]:
    """The generator of each member's initial weights and minibatch order, on the CPU.

    Args:
        seed: Of the run.
        members: Their numbers.
    """
    return [torch.Generator().manual_seed(seed * _BETWEEN_SEEDS + member) for member in members]


def noise_generator(
    seed: int, members: Sequence[int], *, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The generator of the noise of members that are computed together.

    Args:
        seed: Of the run.
        members: Their numbers.
        device: Where the noise is drawn.
    """
    generator = torch.Generator(device=device)
    return generator.manual_seed(seed * _BETWEEN_SEEDS + _NOISE + members[0])
