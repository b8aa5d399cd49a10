"""What a self-test found, and how it is shown."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final, Literal

Verdict = Literal["passed", "FAILED", "skipped"]

_HEADS: Final = ("check", "subject", "deviation", "allowed", "unit", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One comparison.

    Attributes:
        name: What is compared.
        subject: Of which structure.
        deviation: Largest difference found; None where nothing could be compared.
        allowed: Largest difference that passes.
        unit: Of both.
        note: What a reader should know, e.g. why it was skipped.
    """

    name: str
    subject: str
    deviation: float | None
    allowed: float
    unit: str
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether it passed; a NaN does not."""
        if self.deviation is None:
            return "skipped"
        return "passed" if self.deviation <= self.allowed else "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Every check of one code against one service.

    Attributes:
        code: Name and version of the code.
        client: Version of the client.
        url: Address of the service.
        model: Name of the model.
        digest: Its sample set.
        date: ISO 8601, UTC.
        checks: In the order they were made.
    """

    code: str
    client: str
    url: str
    model: str
    digest: str
    date: str
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether no check failed, and at least one was made."""
        verdicts = [check.verdict for check in self.checks]
        return "FAILED" not in verdicts and "passed" in verdicts

    def document(self) -> dict[str, object]:
        """The certificate as plain data."""
        checks = [{**asdict(check), "verdict": check.verdict} for check in self.checks]
        return {**asdict(self), "checks": checks, "holds": self.holds}

    def table(self) -> str:
        """The certificate as text."""
        rows = [_cells(check) for check in self.checks]
        widths = [max(len(row[place]) for row in [_HEADS, *rows]) for place in range(len(_HEADS))]
        noted = [f"  {check.name}: {check.note}" for check in self.checks if check.note]
        notes = list(dict.fromkeys(noted))
        return "\n".join(
            [
                f"{self.code} through posterion-client {self.client}, {self.date}",
                f"{self.model} {self.digest} at {self.url}",
                "",
                _line(_HEADS, widths),
                _line(["-" * width for width in widths], widths),
                *(_line(row, widths) for row in rows),
                *(["", *notes] if notes else []),
                "",
                "certified" if self.holds else "NOT certified",
            ]
        )


def _cells(check: Check) -> tuple[str, ...]:
    found = "" if check.deviation is None else f"{check.deviation:.1e}"
    return (check.name, check.subject, found, f"{check.allowed:.0e}", check.unit, check.verdict)


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
