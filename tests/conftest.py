"""What every test may rely on: one thread, no telemetry, no display, repeatable examples."""

import os

import pytest
from hypothesis import settings

# Set before the first import of torch, matplotlib or ray, and inherited by child processes: here,
# since the conftest files of several paths are all imported before pytest is configured.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)


def pytest_configure() -> None:
    """Fix the way hypothesis looks for examples."""
    # A developer's own service must not answer a test's request.
    os.environ.pop("POSTERION_URL", None)
    # Examples derive from the test itself: a run can be repeated, and a slow machine is no bug.
    settings.register_profile("posterion", deadline=None, derandomize=True)
    settings.load_profile("posterion")


@pytest.fixture
def anyio_backend() -> str:
    """Run ``@pytest.mark.anyio`` tests on asyncio, the loop the service uses."""
    return "asyncio"
