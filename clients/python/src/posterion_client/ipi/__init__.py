"""How i-PI runs on Posterion: one PES file for ``ffdirect`` and for the socket driver.

i-PI loads the file that `pes_path` names, in its input as ``<pes>custom</pes>`` and
``<pes_path>``, or by ``posterion-client ipi-driver``. Its parameters are the fields of
`posterion_client.ipi._settings.DriverSettings`. All beads that i-PI hands over together are
one request; with ``committee`` the samples of the bank are the members of an ``ffcommittee``.

>>> from posterion_client.ipi import pes_path
>>> pes_path().name
'posterion_pes.py'
"""

from pathlib import Path

__all__ = ["pes_path"]


def pes_path() -> Path:
    """The PES file, as i-PI wants it in ``<pes_path>``.

    i-PI registers a PES file under its bare name, so that name must not be one of a package.
    """
    return Path(__file__).with_name("posterion_pes.py")
