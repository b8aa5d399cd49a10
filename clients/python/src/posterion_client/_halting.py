"""The end of a run that was told to stop where its forces cannot be trusted."""

from collections.abc import Sequence
from typing import Final, Literal, get_args

from posterion_client._errors import InvalidArgument, PosterionError

Halt = Literal["never", "candidate", "failed"]
HALTS: Final[tuple[Halt, ...]] = get_args(Halt)
"""From which severity on flags end a run."""


class UncertaintyExceeded(PosterionError):
    """Flags ended a run that was told to heed them.

    Attributes:
        flags: Their codes.
    """

    code = "uncertainty-exceeded"

    def __init__(self, detail: str, *, flags: Sequence[str]) -> None:
        """Keep the codes."""
        super().__init__(detail)
        self.flags = tuple(flags)

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild with the codes when the error crosses a process."""
        return (_rebuilt, (self.detail, self.flags))


def check_halt(halt: str) -> None:
    """Refuse what is no severity.

    Raises:
        InvalidArgument: If it is none of `HALTS`.
    """
    if halt not in HALTS:
        raise InvalidArgument(f"halt must be one of {', '.join(HALTS)}, got {halt!r}")


def halting_flags(
    halt: Halt, *, candidate: Sequence[str], failed: Sequence[str]
) -> tuple[str, ...]:
    """Codes of the flags that end a run.

    Args:
        halt: From which severity on.
        candidate: Codes of flags that say: worth a reference calculation.
        failed: Codes of flags that say: do not use.
    """
    if halt == "never":
        return ()
    return (*failed, *(candidate if halt == "candidate" else ()))


def _rebuilt(detail: str, flags: tuple[str, ...]) -> UncertaintyExceeded:
    return UncertaintyExceeded(detail, flags=flags)
