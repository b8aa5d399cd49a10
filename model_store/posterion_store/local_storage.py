"""How a directory serves as storage that survives a power failure.

obstore writes files without fsync, so after a power failure a published name may hold
nothing. Here the bytes are on the disk before the name exists, and the name is on the disk
before ``create`` returns: write and fsync a staging file, hard-link it to its name (which
fails if the name is taken, also between processes and over NFS), fsync the folder.
"""

import os
import re
import secrets
import time
from pathlib import Path

from obstore.store import LocalStore

from posterion_store.object_storage import ObstoreStorage, StagingFile

# The suffix obstore itself gives to unfinished files and hides in listings.
_STAGING = re.compile(r".+#\d+")


class LocalStorage(ObstoreStorage):
    """A directory; reads and listings through obstore, writes durable."""

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        """Open a directory, which must exist.

        Args:
            root: The directory.
            read_only: Refuse every write.
        """
        self._root = root.resolve()
        super().__init__(LocalStore(self._root), url=str(self._root), read_only=read_only)

    def create(self, key: str, data: bytes) -> bool:
        """Write a file if its name is free, durably; False if it is taken."""
        self.require_writable(key)
        with self.failures_named(key):
            return self._write(key, data, replace=False)

    def overwrite(self, key: str, data: bytes) -> None:
        """Replace a file durably, or write it if absent; for repairs alone."""
        self.require_writable(key)
        with self.failures_named(key):
            self._write(key, data, replace=True)

    def staging_files(self) -> list[StagingFile]:
        """List the files that writers have not yet given their names."""
        now = time.time()
        found = []
        for folder, _, names in os.walk(self._root):
            for name in filter(_STAGING.fullmatch, names):
                path = Path(folder, name)
                try:
                    written = path.stat().st_mtime
                except FileNotFoundError:
                    continue  # its writer has just finished
                key = path.relative_to(self._root).as_posix()
                found.append(StagingFile(key=key, age_s=now - written))
        return sorted(found, key=lambda file: file.key)

    def _write(self, key: str, data: bytes, *, replace: bool) -> bool:
        target = self._root / key
        make_directory(target.parent)
        staging = target.with_name(f"{target.name}#{secrets.randbits(62)}")
        created = True
        try:
            if replace or not target.exists():
                write_durably(staging, data)
            if replace:
                staging.replace(target)
            else:
                created = link_if_free(staging, target)
        finally:
            staging.unlink(missing_ok=True)
        # Also after a lost race: whoever refers to the object next relies on its name.
        sync_directory(target.parent)
        return created


def link_if_free(staging: Path, target: Path) -> bool:
    """Give a staging file its final name; False, and no change, if the name is taken."""
    if target.exists():
        return False
    try:
        os.link(staging, target)
    except FileExistsError:
        return False
    return True


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and wait until the disk has it."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def make_directory(path: Path) -> None:
    """Make a folder and its parents, each on the disk before anything lies in it."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Wait until the disk has the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
