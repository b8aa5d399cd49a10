"""Which storage a store URL means.

    /path, ./path, file:///path    a directory
    s3://bucket/prefix             S3, or anything that speaks its protocol
    memory://                      this process, until the store is dropped

S3 is configured by the usual variables: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID ...
Plain HTTP is used only if AWS_ENDPOINT_URL itself says ``http://``.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import MemoryStore, S3Store

from posterion_store.errors import StoreNotFound, StoreReadOnly, StoreUnreachable, UnsupportedUrl
from posterion_store.local_storage import LocalStorage, make_directory
from posterion_store.object_storage import ObjectStorage, ObstoreStorage, first_line

_CONNECT_TIMEOUT = timedelta(seconds=2)
_REQUEST_TIMEOUT = timedelta(seconds=20)
_RETRY_TIMEOUT = timedelta(seconds=30)
_MAX_RETRIES = 2


def open_storage(
    url: str | Path, *, read_only: bool, environment: Mapping[str, str] = os.environ
) -> ObjectStorage:
    """Open the storage a URL names.

    Args:
        url: See the module.
        read_only: Refuse every write; a missing directory is then not made.
        environment: Where the S3 endpoint is looked up.

    Raises:
        UnsupportedUrl: If the URL has another form.
        StoreNotFound: If a directory to read from does not exist.
        StoreReadOnly: If a directory to write to cannot be made.
        StoreUnreachable: If S3 is not configured.
    """
    if isinstance(url, Path) or "://" not in url:
        return _open_directory(Path(url).expanduser(), read_only=read_only)
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UnsupportedUrl(
            f"a store URL of scheme {parts.scheme}:// takes no credentials, query or fragment; "
            "credentials come from the environment"
        )
    match parts.scheme:
        case "file" if parts.netloc in ("", "localhost"):
            return _open_directory(Path(unquote(parts.path)), read_only=read_only)
        case "s3" if parts.netloc:
            return _open_s3(url, read_only=read_only, environment=environment)
        case "memory":
            return ObstoreStorage(MemoryStore(), url="memory://", read_only=read_only)
    raise UnsupportedUrl(
        f"a store URL is a path, file:///path, s3://bucket/prefix or memory://; got {url!r}"
    )


def _open_directory(path: Path, *, read_only: bool) -> ObjectStorage:
    if not str(path).strip() or path.is_file():
        raise UnsupportedUrl(f"a store is a directory, not a file; got {str(path)!r}")
    if read_only and not path.is_dir():
        raise StoreNotFound(f"{path}: expected a store, found no such directory")
    try:
        make_directory(path.absolute())
    except OSError as error:
        raise StoreReadOnly(f"{path}: cannot be made: {first_line(error)}") from error
    return LocalStorage(path, read_only=read_only)


def _open_s3(url: str, *, read_only: bool, environment: Mapping[str, str]) -> ObjectStorage:
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL", "")
    try:
        backend = S3Store.from_url(
            url,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": _CONNECT_TIMEOUT,
                "timeout": _REQUEST_TIMEOUT,
            },
            retry_config={"max_retries": _MAX_RETRIES, "retry_timeout": _RETRY_TIMEOUT},
        )
    except BaseError as error:
        raise StoreUnreachable(f"{url}: S3 is not configured: {first_line(error)}") from error
    return ObstoreStorage(backend, url=url, read_only=read_only)
