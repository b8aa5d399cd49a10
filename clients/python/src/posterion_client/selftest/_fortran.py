"""A program in Fortran, through the module ``posterion``."""

from posterion_client.selftest._code import Job, Trace
from posterion_client.selftest._driver import run_driver
from posterion_client.selftest._native import Build, run


class FortranCode:
    """Velocity Verlet in Fortran 2003, compiled here."""

    name = "fortran"
    energy_tolerance = 1e-10
    energy_reason = "rounding: another order of the same operations, with the constants of ASE"

    def __init__(self) -> None:
        """Find the compiler and the sources."""
        self._build = Build("c")
        self.version = f"with {run(['curl-config', '--version']).strip()}"

    def run(self, job: Job) -> Trace:
        """Run a job; see `MDCode`."""
        return run_driver(self._build.made("selftest_fortran"), job)
