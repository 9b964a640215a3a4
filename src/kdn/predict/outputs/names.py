"""Names of files that are made one for each picture or face, which must hit no other file."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kdn.data.images import PICTURE_SUFFIXES

__all__ = ["OutputNames", "refuse_inputs"]


class OutputNames:
    """Gives each picture, frame or face a file of its own below a folder.

    `photo.jpg` becomes `photo.png`, its face 0 `photo_0.pts`, face 1 of frame 12 of `clip.mp4`
    `clip_000012_1.pts`. Inputs from several folders keep their folders, below the last one that
    all of them share. Where two names of one folder differ in their endings alone, or in capital
    letters, the ending stays in (`photo.jpg_0.pts`); where that does not help, `-2` is added.

    Args:
        folder: Where the files will lie.
        inputs: Everything that a name will be asked for, as it was named.
        suffix: Ending of the files, with its point.
        overwrite: Whether files of an earlier run may be replaced. Inputs never are, nor is a
            `.pts` file beside a picture of the same name, which is that picture's label.

    Raises:
        ValueError: If a file that might be made is there already and must not be replaced, or if
            the folder is a file.
    """

    def __init__(
        self, folder: str | Path, inputs: Sequence[str], *, suffix: str, overwrite: bool = False
    ) -> None:
        self.folder, self.suffix = Path(folder), suffix
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"{self.folder}: is a file, not a folder to write to")
        self._bases = _bases(inputs)
        self._taken: set[str] = set()
        read = _identities(inputs)
        for path in self._there_already():
            _refuse(path, read)
            if suffix == ".pts" and any(path.with_suffix(s).exists() for s in PICTURE_SUFFIXES):
                raise ValueError(f"{path}: is the label of the picture beside it, not overwritten")
            if not overwrite:
                raise ValueError(f"{path}: is there already; name another folder, or --overwrite")

    def path(self, file: str, *, frame: int | None = None, face: int | None = None) -> Path:
        """Return a path that was not given before.

        Args:
            file: One of the inputs.
            frame: Number of the frame in a video.
            face: Number of the face in the picture.

        Raises:
            ValueError: If the file is none of the inputs.
        """
        if file not in self._bases:
            raise ValueError(f"file must be one of the inputs, got {file!r}")
        name = self._bases[file]
        name += "" if frame is None else f"_{frame:06d}"
        name += "" if face is None else f"_{face}"
        name = _free(name, self._taken)
        return self.folder / f"{name}{self.suffix}"

    def _there_already(self) -> Iterator[Path]:
        """Yield the files in the folder that have a name that might be given."""
        bases = {base.casefold() for base in self._bases.values()}
        for folder in sorted({(self.folder / base).parent for base in self._bases.values()}):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.suffix.casefold() != self.suffix:
                    continue
                stem = path.relative_to(self.folder).with_suffix("").as_posix().casefold()
                ends = [match.start() for match in re.finditer(r"(?=(?:[_-]\d+)*$)", stem)]
                if any(stem[:end] in bases for end in ends):
                    yield path


def refuse_inputs(path: Path, inputs: Iterable[str]) -> None:
    """Raise if writing a file would overwrite one of the inputs, by whatever name.

    Raises:
        ValueError: If it would; the message names the file.
    """
    if path.exists():
        _refuse(path, _identities(inputs))


def _refuse(path: Path, read: set[tuple[int, int]]) -> None:
    """Raise if a file is one of those that are read."""
    if _identities([str(path)]) & read:
        raise ValueError(f"{path}: is one of the inputs, which are not overwritten")


def _identities(files: Iterable[str]) -> set[tuple[int, int]]:
    """Return device and number of those files that there are: links share them."""
    stats = [os.stat(file) for file in files if os.path.exists(file)]
    return {(stat.st_dev, stat.st_ino) for stat in stats}


def _bases(inputs: Sequence[str]) -> dict[str, str]:
    """Return what the names of each input's files begin with, relative to the folder."""
    paths = {file: _below(file, _shared(inputs)) for file in inputs}
    stems = Counter(path.with_suffix("").as_posix().casefold() for path in paths.values())
    taken: set[str] = set()
    bases = {}
    for file, path in paths.items():
        stem = path.with_suffix("").as_posix()
        bases[file] = _free(stem if stems[stem.casefold()] == 1 else path.as_posix(), taken)
    return bases


def _shared(inputs: Sequence[str]) -> str:
    """Return the last folder that all inputs share, or "" where there is none."""
    try:
        return os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in inputs])
    except ValueError:  # no inputs, or on two drives
        return ""


def _below(file: str, shared: str) -> Path:
    """Return an input's path below the shared folder, without what paths may not have."""
    absolute = Path(os.path.abspath(file))
    parts = absolute.relative_to(shared).parts if shared else absolute.parts[1:]
    return Path(*(re.sub(r'[<>:"|?*\\\x00-\x1f]', "_", part) for part in parts))


def _free(name: str, taken: set[str]) -> str:
    """Return the name, with the first of `-2`, `-3`, … that makes it new; note it down."""
    tries = (name if n == 1 else f"{name}-{n}" for n in range(1, len(taken) + 2))
    free = next(new for new in tries if new.casefold() not in taken)
    taken.add(free.casefold())
    return free
