"""The end of a run that was told to stop where its forces cannot be trusted."""

from collections.abc import Sequence

from posterion_client._errors import PosterionError


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


def _rebuilt(detail: str, flags: tuple[str, ...]) -> UncertaintyExceeded:
    return UncertaintyExceeded(detail, flags=flags)
