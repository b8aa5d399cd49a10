"""Which codes can be certified; each one is imported when it is asked for."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from posterion_client._errors import InvalidArgument
from posterion_client.selftest._code import MDCode

CODES: Final[Mapping[str, tuple[str, str]]] = {
    "ase": ("_ase", "AseCode"),
    "lammps": ("_lammps", "LammpsCode"),
    "lammps-plugin": ("_lammps_plugin", "LammpsPluginCode"),
    "ipi": ("_ipi", "IpiCode"),
    "openmm": ("_openmm", "OpenmmCode"),
    "torchsim": ("_torchsim", "TorchsimCode"),
    "mdi": ("_mdi", "MdiCode"),
    "c": ("_c", "CCode"),
    "fortran": ("_fortran", "FortranCode"),
}
"""Module below this package and class, by the name on the command line."""


def code_named(name: str) -> MDCode:
    """The code to be tested, as it is installed here.

    Raises:
        InvalidArgument: If the name is unknown, or the code is not installed.
    """
    if name not in CODES:
        raise InvalidArgument(f"expected one of {', '.join(CODES)}, got {name!r}")
    module, kind = CODES[name]
    try:
        found: MDCode = getattr(import_module(f"posterion_client.selftest.{module}"), kind)()
    except ImportError as error:
        raise InvalidArgument(
            f"{name} cannot be tested in this environment ({error}); see docs/clients/{name}.md"
        ) from error
    return found
