"""What the processes that serve need of a backend, besides what the API asks of it."""

from typing import Protocol

from posterion.api.stepper import SessionBackend


class ServedBackend(SessionBackend, Protocol):
    """A backend that says what it serves and ends in order."""

    def describe(self) -> tuple[str, ...]:
        """Say in a line each what is served."""
        ...

    def refuse_new(self) -> None:
        """Turn readiness off and refuse new requests; those admitted go on."""
        ...

    async def drain(self) -> None:
        """Refuse new requests and return when the admitted ones are answered."""
        ...
