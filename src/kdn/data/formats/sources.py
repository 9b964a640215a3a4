"""Sources of samples as a recipe or a command line names them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdn.data.formats.coco import read_coco
from kdn.data.formats.cofw import read_cofw, read_cofw68
from kdn.data.formats.disfa import read_disfa
from kdn.data.formats.dlib import read_dlib
from kdn.data.formats.entries import settle
from kdn.data.formats.fgnet import read_fgnet
from kdn.data.formats.fitted import read_300wlp, read_aflw2000
from kdn.data.formats.ibug import read_ibug
from kdn.data.formats.merl_rav import read_merl_rav
from kdn.data.formats.table import read_table
from kdn.data.formats.utkface import read_utkface
from kdn.data.formats.wflw import read_wflw
from kdn.data.markup import FACE29, FACE68, FACE98, MARKUPS, XM2VTS68, Markup, markup_of_count
from kdn.data.sample import Sample
from kdn.data.synthetic.expressions import SyntheticExpressions
from kdn.data.synthetic.faces import SyntheticFaces

__all__ = ["SOURCES", "load_samples", "source_markup", "source_place"]

_DRAWN = {"synthetic": SyntheticFaces, "expressions": SyntheticExpressions}
_COUNT_AND_SEED = re.compile(r"(\d+):(\d+)")


@dataclass(frozen=True)
class _Kind:
    """A kind of source: what reads it, whether it takes `@PICTURES`, and its own mark-up.

    One without landmarks has no mark-up, and its reader takes none.
    """

    read: Callable[..., Sequence[Sample]]
    pictures: bool = False
    markup: Markup | None = None
    landmarks: bool = True


def _300wlp_3d(folder: Path, markup: Markup | None, *, problems: list[str] | None) -> list[Sample]:
    return read_300wlp(folder, markup, points="3d", problems=problems)


_KINDS: Mapping[str, _Kind] = {
    "merl_rav": _Kind(read_merl_rav, markup=FACE68),
    "300wlp": _Kind(read_300wlp, markup=FACE68),
    "300wlp-3d": _Kind(_300wlp_3d, markup=FACE68),
    "aflw2000": _Kind(read_aflw2000, markup=FACE68),
    "wflw": _Kind(read_wflw, pictures=True, markup=FACE98),
    "cofw": _Kind(read_cofw, markup=FACE29),
    "cofw68": _Kind(read_cofw68, pictures=True, markup=FACE68),
    "fgnet": _Kind(read_fgnet, markup=XM2VTS68),
    "dlib": _Kind(read_dlib, pictures=True),
    "coco": _Kind(read_coco, pictures=True),
    "table": _Kind(read_table, pictures=True),
    "utkface": _Kind(read_utkface, landmarks=False),
    "disfa": _Kind(read_disfa, landmarks=False),
}

SOURCES = (
    *("FOLDER", "merl_rav:FOLDER", "300wlp:FOLDER", "300wlp-3d:FOLDER", "aflw2000:FOLDER"),
    *("wflw:LIST", "cofw:FILE.mat", "cofw68:FOLDER@FILE.mat", "fgnet:FOLDER"),
    *("dlib:FILE.xml", "coco:FILE.json", "table:FILE.csv", "table:FILE.parquet"),
    *("utkface:FOLDER", "disfa:FOLDER", "synthetic:COUNT:SEED", "expressions:COUNT:SEED"),
)
"""What a source may be; `@FOLDER` behind a list, XML, JSON or table says where its pictures lie."""


def load_samples(
    source: str,
    markup: Markup | None = FACE68,
    *,
    problems: list[str] | None = None,
    pictures: bool = True,
) -> Sequence[Sample]:
    """Return the samples of one source.

    Args:
        source: One of `SOURCES`. A folder without a word before it has pictures with `.pts` files
            and is not searched below its own level.
        markup: What the landmarks are; None for any number that is the same in the whole source,
            which may be 0.
        problems: Where to put one line about each file, line or entry that is left out because it
            cannot be used; None to let it raise.
        pictures: Whether a face whose picture is not there cannot be used.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the source has none of these forms, or does not have this mark-up.
    """
    kind, _, place = source.partition(":")
    if kind in _DRAWN:
        return _synthetic(source, markup)
    if kind not in _KINDS or not place:
        if re.fullmatch(r"[a-z0-9_-]{2,}:.*", source) and not Path(source).expanduser().exists():
            raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
        return read_ibug(Path(source).expanduser(), markup, problems=problems)
    known = _KINDS[kind]
    _check_markup(source, known.markup, markup)
    if not known.landmarks:
        if markup is not None and markup.landmarks:
            raise ValueError(
                f"{source}: has no landmarks, but the mark-up {markup.name} has {markup.landmarks}"
            )
        samples = known.read(Path(place).expanduser(), problems=problems)
    elif not known.pictures:
        samples = known.read(Path(place).expanduser(), markup, problems=problems)
    else:
        file, apart = _with_pictures(place)
        samples = known.read(file, markup, pictures=apart, problems=problems)
    return _with_their_pictures(samples, problems) if pictures else samples


def _check_markup(source: str, own: Markup | None, markup: Markup | None) -> None:
    """Raise if a data set is to be read as another mark-up that has as many landmarks."""
    if own is None or markup is None or markup.landmarks != own.landmarks:
        return
    if markup.name in MARKUPS and markup.name != own.name:
        raise ValueError(f"{source}: has the mark-up {own.name}, not {markup.name}")


def source_markup(source: str, samples: Sequence[Sample]) -> Markup:
    """Return what the landmarks of a source are, where nobody said.

    That is the mark-up of the data set, or the usual one with so many landmarks.

    Args:
        source: As `load_samples` takes it.
        samples: What it gave with no mark-up, at least one.

    Example:
        >>> source_markup("synthetic:2:0", load_samples("synthetic:2:0")).name
        'face68'
    """
    count = len(samples[0].landmarks)
    kind = _KINDS.get(source.partition(":")[0])
    own = kind.markup if kind is not None else None
    return own if own is not None and own.landmarks == count else markup_of_count(count)


def _synthetic(source: str, markup: Markup | None) -> SyntheticFaces:
    kind, _, place = source.partition(":")
    match = _COUNT_AND_SEED.fullmatch(place)
    if match is None:
        raise ValueError(f"source must be {kind}:COUNT:SEED, got {source!r}")
    if markup is not None and markup.name != FACE68.name:
        raise ValueError(f"synthetic faces have the mark-up {FACE68.name}, not {markup.name}")
    return _DRAWN[kind](int(match[1]), seed=int(match[2]))


def _with_pictures(place: str) -> tuple[Path, Path | None]:
    """Return a file and the place of its pictures behind the last `@`, if one was named."""
    file, _, pictures = place.rpartition("@")
    if not file or Path(place).expanduser().exists():
        return Path(place).expanduser(), None
    return Path(file).expanduser(), Path(pictures).expanduser()


def _with_their_pictures(samples: Sequence[Sample], problems: list[str] | None) -> Sequence[Sample]:
    """Return the samples whose picture is in memory, or a file that is there."""
    if not isinstance(samples, list):
        return samples
    there: dict[Path, bool] = {}
    for sample in samples:
        if isinstance(sample.image, Path) and sample.image not in there:
            there[sample.image] = sample.image.is_file()
    kept, found = [], []
    for sample in samples:
        if isinstance(sample.image, Path) and not there[sample.image]:
            found.append(f"{sample.id}: no picture {sample.image}")
        else:
            kept.append(sample)
    settle(found, problems)
    return kept


def source_place(source: str) -> Path:
    """Return the file or folder that a source is read from, as it was named.

    Example:
        >>> source_place("coco:people.json@pictures").name
        'people.json'
    """
    kind, _, place = source.partition(":")
    if kind not in _KINDS:
        return Path(source).expanduser()
    return _with_pictures(place)[0] if _KINDS[kind].pictures else Path(place).expanduser()
