"""What the tests of runs through the service have in common."""

import numpy as np
import pytest

from posterion_client import RetryPolicy

NUMBERS = np.array([8, 1, 1])
POSITIONS = np.array([[0.0, 0.1, 0.2], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
CELL = np.array([[9.0, 0.0, 0.0], [1.0, 8.0, 0.0], [0.5, -1.0, 7.0]])
NEVER = RetryPolicy(budget_s=0.0)
SOON = RetryPolicy(budget_s=20.0, first_delay_s=0.05, max_delay_s=0.2)

every_transport = pytest.mark.parametrize("transport", ["websocket", "http", "auto"])
