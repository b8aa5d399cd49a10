"""How the state of a run survives a kill: tensors in safetensors files, replaced atomically."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from posterion.errors import CheckpointMismatch


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    Args:
        path: The file; its folder exists.
        data: New content, on the disk when this returns.
    """
    staging = path.with_name(path.name + ".partial")
    with staging.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)


def save_checkpoint(path: Path, state: Mapping[str, Tensor], *, fingerprint: str) -> None:
    """Store tensors with the fingerprint of the run they belong to.

    Args:
        path: The file.
        state: Named tensors; copied to the CPU.
        fingerprint: Identifies configuration and data.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_atomically(path, save(tensors, metadata={"fingerprint": fingerprint}))


def load_checkpoint(path: Path, *, fingerprint: str) -> dict[str, Tensor]:
    """Read tensors back, on the CPU.

    Args:
        path: The file.
        fingerprint: What it must have been stored with.

    Returns:
        The named tensors.

    Raises:
        CheckpointMismatch: If the file is damaged or belongs to another run.
    """
    data = path.read_bytes()
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError) as error:
        raise CheckpointMismatch(
            f"{path}: expected a checkpoint, but it is damaged ({error}); delete it to start "
            "this chain again"
        ) from error
    stored = header.get("__metadata__", {}).get("fingerprint")
    if stored != fingerprint:
        raise CheckpointMismatch(
            f"{path}: belongs to another configuration or data set (fingerprint {stored}, "
            f"this run has {fingerprint}); use another --run-dir or delete this one"
        )
    return tensors


def fingerprint_of(document: Mapping[str, object]) -> str:
    """Digest of a JSON document, the identity of a run."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
