"""Sources of samples as a recipe or a command line names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kdn.data.ibug import read_ibug
from kdn.data.merl_rav import read_merl_rav
from kdn.data.sample import Sample
from kdn.data.synthetic import SyntheticFaces
from kdn.markup import FACE68, Markup

__all__ = ["load_samples"]

_MERL_RAV = "merl_rav:"
_SYNTHETIC = re.compile(r"synthetic:(\d+):(\d+)")


def load_samples(
    source: str, markup: Markup = FACE68, *, problems: list[str] | None = None
) -> Sequence[Sample]:
    """Return the samples of one source.

    Args:
        source: A folder of pictures with `.pts` files, not searched below its own level, or
            `merl_rav:FOLDER` for one whose files say what is hidden, or `synthetic:COUNT:SEED` for
            drawn faces.
        markup: What the landmarks are.
        problems: Where to put one line about each file that is left out because it cannot be
            used; None to let such files raise.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the source has none of these forms, or does not have this mark-up.
    """
    if source.startswith(_MERL_RAV):
        folder = Path(source.removeprefix(_MERL_RAV)).expanduser()
        return read_merl_rav(folder, markup, problems=problems)
    if not source.startswith("synthetic:"):
        return read_ibug(Path(source).expanduser(), markup, problems=problems)
    match = _SYNTHETIC.fullmatch(source)
    if match is None:
        raise ValueError(
            f"source must be a folder, merl_rav:FOLDER or synthetic:COUNT:SEED, got {source!r}"
        )
    if markup.name != FACE68.name:
        raise ValueError(f"synthetic faces have the mark-up {FACE68.name}, not {markup.name}")
    return SyntheticFaces(int(match[1]), seed=int(match[2]))
