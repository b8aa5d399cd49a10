"""ASE as the self-test runs it: velocity Verlet through a calculator of its own client.

The reference trajectory is ASE's as well, so this certifies the SDK, its units and its pin, not
the numbers: `tests/clients/test_ase.py` compares those with the predictor in process.
"""

import ase

from posterion_client._client import Client
from posterion_client.md import MD_RETRY
from posterion_client.selftest._code import Job, Trace
from posterion_client.selftest._reference import reference_trace


class AseCode:
    """ASE in this interpreter."""

    name = "ase"
    version = ase.__version__
    energy_tolerance = 1e-9
    energy_reason = "none: the same arithmetic twice"

    def run(self, job: Job) -> Trace:
        """Run a job; see `MDCode`."""
        with Client(job.service.url, retry=MD_RETRY) as client:
            return reference_trace(client, job)
