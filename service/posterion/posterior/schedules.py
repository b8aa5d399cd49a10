"""How learning rate and temperature change with the step: pure functions of the step."""

import math


def cosine_learning_rate(step: int, *, n_steps: int, peak: float, floor: float = 0.0) -> float:
    """Learning rate that falls from its peak to its floor along half a cosine.

    Args:
        step: Step to come, from 0; beyond ``n_steps`` the floor holds.
        n_steps: Steps until the floor is reached.
        peak: Learning rate at step 0.
        floor: Learning rate at the end.

    Returns:
        The learning rate of that step.
    """
    progress = min(step / n_steps, 1.0) if n_steps > 0 else 1.0
    return floor + 0.5 * (peak - floor) * (1.0 + math.cos(math.pi * progress))


def linear_temperature(step: int, *, n_steps: int, target: float = 1.0) -> float:
    """Temperature that rises linearly to its target and stays there.

    Args:
        step: Step to come, from 0; the first one already has target / n_steps.
        n_steps: Steps until the target is reached; 0 starts at the target.
        target: Temperature of the posterior to sample.

    Returns:
        The temperature of that step.
    """
    return target * min((step + 1) / n_steps, 1.0) if n_steps > 0 else target
