"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write, which takes the place of `path` only if all went well.

    What was written is on the disk before it takes the place, so that a loss of power leaves the
    old file or the new one. The folder is made if there is none. The file gets the permissions
    that the process gives to new files, whatever its writer gave it.

    Args:
        path: File to write or replace.

    Raises:
        IsADirectoryError: If there is a folder of that name.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not a file to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
