"""Files that are either the old ones or the new ones, never half of each."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

TEMPORARY_SUFFIX = ".tmp"


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one move, so that a crash or a full disk leaves the old one whole.

    The content goes to a temporary name beside the file, is forced onto the disk, and only then
    takes the name; without the force, a power cut could keep the new name and lose the content.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder onto the disk, where the system has a way to."""
    if os.name == "nt":  # Windows cannot open a folder, and journals its names by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_json(body: Any) -> bytes:
    """Return JSON for a person to read. NaN is refused: no other reader would take it."""
    return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
