"""The parameters of an i-PI input, as settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Final, cast, get_args

import numpy as np
from numpy.typing import NDArray

from posterion_client._address import resolve_url
from posterion_client._errors import InvalidArgument
from posterion_client._halting import HALTS, Halt
from posterion_client._retry import RetryPolicy
from posterion_client.md import MD_RETRY, Precision, Transport
from posterion_client.md._session import atomic_numbers

_OF_IPI: Final = frozenset({"verbosity", "verbose"})
"""Parameters that i-PI adds of its own accord."""

_PREFIX: Final = "parameter "


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DriverSettings:
    """What the parameters of the PES file say.

    Attributes:
        numbers: Atomic numbers in the order of i-PI's atoms, shape ``(n_atoms,)``; given as
            ``symbols``, separated by spaces, or as ``template``, a file that ASE reads.
        url: Address of the service.
        model: Model to ask; None = the service's default.
        version: Version, digest or alias of the model.
        digest: Sample set that must answer.
        pbc: Periodic directions; i-PI always has a cell, so the default is all.
        charge: Total charge, elementary charges.
        spin_multiplicity: 2S + 1.
        precision: ``float64`` evaluates with the slower reference engine.
        n_samples: Evaluate only the first n samples; None = all.
        committee: Whether to answer what each posterior sample says, for ``ffcommittee``.
        halt: End the run at flags of this severity or a worse one.
        transport: How steps reach the service; committees always use requests.
        retry: How long a step is sent again; from ``retry_s``, seconds.
        timeout_s: Longest silence while an answer is awaited, seconds.
    """

    numbers: NDArray[np.int64]
    url: str
    model: str | None = None
    version: str | None = None
    digest: str | None = None
    pbc: tuple[bool, bool, bool] = (True, True, True)
    charge: int = 0
    spin_multiplicity: int = 1
    precision: Precision = "float32"
    n_samples: int | None = None
    committee: bool = False
    halt: Halt = "never"
    transport: Transport = "auto"
    retry: RetryPolicy = MD_RETRY
    timeout_s: float = 60.0

    @property
    def fully_periodic(self) -> bool:
        """Whether there is a stress."""
        return all(self.pbc)


def read_settings(parameters: Mapping[str, object]) -> DriverSettings:
    """Read what i-PI made of ``<parameters>`` or ``-o``.

    Args:
        parameters: Numbers, true or false, and strings by name.

    Raises:
        InvalidArgument: If a parameter is unknown, missing or wrong.
    """
    given = {name: value for name, value in parameters.items() if name not in _OF_IPI}
    numbers = _numbers(given.pop("symbols", None), given.pop("template", None))
    url = resolve_url(_text("url", given.pop("url", "")))
    unknown = sorted(given.keys() - _READERS.keys())
    if unknown:
        known = ", ".join(["symbols", "template", "url", *_READERS])
        raise InvalidArgument(f"{_PREFIX}{unknown[0]} is unknown; there are: {known}")
    read = {name: _READERS[name](name, value) for name, value in given.items()}
    if "retry_s" in read:
        read["retry"] = RetryPolicy(budget_s=cast("float", read.pop("retry_s")))
    return DriverSettings(numbers=numbers, url=url, **read)  # type: ignore[arg-type] # by _READERS


def _numbers(symbols: object, template: object) -> NDArray[np.int64]:
    if (symbols is None) == (template is None):
        raise InvalidArgument(
            "i-PI does not tell its drivers the elements: give either the parameter template, a "
            "file with the same atoms in the same order, or symbols, such as C C O H H H H H H"
        )
    if symbols is not None:
        return atomic_numbers(_text("symbols", symbols).split())
    return _numbers_of_file(_text("template", template))


def _numbers_of_file(path: str) -> NDArray[np.int64]:
    try:
        from ase.io import iread  # noqa: PLC0415 - only a template needs it
    except ImportError as error:
        raise InvalidArgument(
            "a template is read by ASE, which is not installed: install it, or give symbols"
        ) from error
    try:
        *_, atoms = iread(path)
    except Exception as error:  # ASE's readers raise anything
        raise InvalidArgument(f"{_PREFIX}template: cannot read {path}: {error}") from error
    return atomic_numbers(atoms.numbers)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(
            f"{_PREFIX}{name} was read by i-PI as the number {value!r}: "
            "name a version by its whole digest, sha256:..."
        )
    return value


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(f"{_PREFIX}{name} must be True or False, got {value!r}")
    return value


def _directions(name: str, value: object) -> tuple[bool, bool, bool]:
    if isinstance(value, bool):
        return value, value, value
    words = str(value).lower().split()
    if len(words) != 3 or not {*words} <= {"true", "false"}:
        raise InvalidArgument(
            f"{_PREFIX}{name} must be one or three of True and False, got {value!r}"
        )
    first, second, third = (word == "true" for word in words)
    return first, second, third


def _integer(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgument(f"{_PREFIX}{name} must be a whole number, got {value!r}")
    return value


def _seconds(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise InvalidArgument(f"{_PREFIX}{name} must be a number of seconds, got {value!r}")
    return float(value)


def _one_of(*choices: str) -> Callable[[str, object], str]:
    def read(name: str, value: object) -> str:
        if value not in choices:
            raise InvalidArgument(f"{_PREFIX}{name} must be one of {choices}, got {value!r}")
        return str(value)

    return read


_READERS: Final[Mapping[str, Callable[[str, object], object]]] = {
    "model": _text,
    "version": _text,
    "digest": _text,
    "pbc": _directions,
    "charge": _integer,
    "spin_multiplicity": _integer,
    "precision": _one_of(*get_args(Precision)),
    "n_samples": _integer,
    "committee": _boolean,
    "halt": _one_of(*HALTS),
    "transport": _one_of(*get_args(Transport)),
    "retry_s": _seconds,
    "timeout_s": _seconds,
}
"""How each parameter is read, beside symbols, template and url."""

assert {*_READERS} - {"retry_s"} == {f.name for f in fields(DriverSettings)} - {
    "numbers",
    "url",
    "retry",
}
