"""How the service logs: one JSON object per line, each with the id of its request."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, TextIO

import orjson

_request_id: ContextVar[str | None] = ContextVar("posterion_request_id", default=None)

LOGGER_NAME: Final = "posterion"


@contextmanager
def bind_request_id(request_id: str) -> Iterator[None]:
    """Add a request id to every line logged inside the ``with`` block.

    Args:
        request_id: The id; also seen by tasks and threads started inside.
    """
    token = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(token)


def current_request_id() -> str | None:
    """Id of the request being answered, if any."""
    return _request_id.get()


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object.

    Fields come from ``extra={"facts": {...}}``. Loggers of the service state sizes, names
    and durations there, never coordinates: what a caller computes is the caller's.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format one record.

        Args:
            record: The record.

        Returns:
            One line without its end.
        """
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request_id = _request_id.get()
        if request_id is not None:
            line["request_id"] = request_id
        facts = getattr(record, "facts", None)
        if isinstance(facts, dict):
            line.update({str(key): value for key, value in facts.items() if value is not None})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure_logging(*, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send the service's log lines to a stream as JSON; calling it again replaces that.

    Args:
        level: Lowest level to log.
        stream: Where to; standard error by default.
    """
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger(LOGGER_NAME)
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
