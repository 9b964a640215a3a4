"""Synthetic faces that do something, and how strongly they do it.

They carry the numbers of the action units of the Facial Action Coding System (P. Ekman and
W. V. Friesen, 1978) that they look like, and are cartoons of them: actions of brows, eyes and
mouth, each at an intensity from 0 to 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from kdn.data.sample import Sample
from kdn.data.synthetic.faces import SyntheticFaces, _labelled
from kdn.data.synthetic.shape import draw_shape

__all__ = ["ACTION_LANDMARKS", "SyntheticExpressions", "acted", "draw_intensities"]

Head = Float64[np.ndarray, "68 3"]

_BROWS, _UPPER_LIDS, _CORNERS = tuple(range(17, 27)), (37, 38, 43, 44), (48, 54, 60, 64)
_BESIDE_CORNERS = (49, 50, 52, 53, 55, 56, 58, 59, 61, 63, 65, 67)

ACTION_LANDMARKS: Mapping[str, tuple[int, ...]] = {
    "AU1": tuple(i for i in _BROWS if i not in (17, 26)),
    "AU2": tuple(i for i in _BROWS if i not in (21, 22)),
    "AU4": _BROWS,
    "AU5": _UPPER_LIDS,
    "AU12": tuple(sorted(_CORNERS + _BESIDE_CORNERS)),
    "AU15": tuple(sorted(_CORNERS + _BESIDE_CORNERS)),
    "AU26": (*range(1, 16), *range(55, 60), *range(65, 68)),
    "AU43": _UPPER_LIDS,
}
"""The actions, and the landmarks that each moves: inner brows raised (1), outer brows raised (2),
brows lowered (4), eyes wide (5), corners of the mouth up (12) and down (15), jaw dropped (26), eyes
closed (43)."""

# What a feature may do: one of these at a time, or nothing.
_FEATURES = (
    (("AU1", "AU2"), ("AU1",), ("AU2",), ("AU4",)),
    (("AU5",), ("AU43",)),
    (("AU12",), ("AU15",)),
    (("AU26",),),
)
_EXCLUDED = (("AU1", "AU4"), ("AU2", "AU4"), ("AU5", "AU43"), ("AU12", "AU15"))

_LOWER_LID = {37: 41, 38: 40, 43: 47, 44: 46}
_ACTIVE = 0.5  # how often a feature does anything
_SHARES = (0.3, 0.25, 0.2, 0.15, 0.1)  # of the intensities from 1 to 5, where it does


class SyntheticExpressions(SyntheticFaces):
    """Cartoon-like faces with expressions, whose intensities are known, each drawn when asked for.

    They are those of `SyntheticFaces`, without features that are drawn twice: faces at rest (eyes
    open, mouth shut, little variation of brows, lids and corners of the mouth), to which
    `acted` gives actions, each at an intensity from 0 to 5, 0 most often. The
    attributes `AU1`, `AU2`, `AU4`, `AU5`, `AU12`, `AU15`, `AU26` and `AU43` hold the intensities,
    and the 68 landmarks are where the features are drawn, which the box follows. Face `index`
    depends on `seed` and `index` alone.

    Args:
        count: Number of faces.
        seed: Seed of everything.
        size: Height and width of the pictures.
        occluded: Share of faces with something in front.
        degrade: Blur some pictures and add noise to most.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> face = SyntheticExpressions(10, seed=0)[3]
        >>> face.landmarks.shape, list(face.attributes)
        ((68, 2), ['AU1', 'AU2', 'AU4', 'AU5', 'AU12', 'AU15', 'AU26', 'AU43'])
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int,
        size: tuple[int, int] = (192, 192),
        occluded: float = 0.35,
        degrade: bool = True,
    ) -> None:
        super().__init__(
            count, seed=seed, size=size, ambiguous=0.0, occluded=occluded, degrade=degrade
        )

    def acting(self, index: int, intensities: Mapping[str, float]) -> Sample:
        """Return face `index` with other intensities, all else (head, light, …) as it is.

        Args:
            index: Of the face, from 0.
            intensities: From 0 to 5; actions that are not named are 0.

        Raises:
            IndexError: If there is no such face.
            ValueError: If there is no such action, if an intensity is not from 0 to 5, or if two
                actions exclude each other.

        Example:
            >>> faces = SyntheticExpressions(2, seed=0)
            >>> smile, rest = faces.acting(1, {"AU12": 5}), faces.acting(1, {})
            >>> bool(smile.landmarks[48, 1] < rest.landmarks[48, 1])  # the corner is higher
            True
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} faces")
        rng = self._rng(index, 0)
        rest = draw_shape(rng, ambiguous=0.0, rest=True)
        landmarks = acted(rest.landmarks, intensities)
        shut = intensities.get("AU43", 0.0) == 5  # drawn without an iris
        shape = replace(rest, landmarks=landmarks, second=landmarks, closed=(shut, shut))
        attributes = {name: float(intensities.get(name, 0.0)) for name in ACTION_LANDMARKS}
        sample = _labelled(self._drawn(rng, shape, rest=rest), self._name(index), heads=True)
        return replace(sample, attributes=attributes)

    def _sample(self, index: int) -> Sample:
        return self.acting(index, draw_intensities(self._rng(index, 1)))

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, 3, index, stream))

    def _name(self, index: int) -> str:
        return f"expressions/{self._seed}/{index:06d}"


def draw_intensities(rng: np.random.Generator) -> dict[str, float]:
    """Return a random intensity of every action, a whole number from 0 to 5.

    Brows, eyes, corners of the mouth and jaw act independently of each other, each in half of the
    faces, so that 0 is the most frequent intensity of every action. Of AU1 and AU4, AU2 and AU4,
    AU5 and AU43, AU12 and AU15 one is always 0.
    """
    intensities = dict.fromkeys(ACTION_LANDMARKS, 0.0)
    for choices in _FEATURES:
        active, which = rng.random() < _ACTIVE, rng.integers(len(choices))
        drawn = rng.choice(np.arange(1.0, 6.0), size=2, p=_SHARES)
        if active:
            intensities.update(zip(choices[which], drawn.tolist(), strict=False))
    return intensities


def acted(landmarks: Head, intensities: Mapping[str, float]) -> Head:
    """Return a face at rest with actions put on.

    Every landmark moves in proportion to the intensity. At 5, in head units (half its width, x to
    the right and y down): inner and outer brows rise by 0.2 where they do most; brows sink by up to
    0.14 and inwards by 0.06; upper lids rise by 0.1, or close nine tenths of the eye; corners of
    the mouth go 0.2 up and 0.1 outwards, or 0.18 down; the lower lip sinks by 0.25 and the chin by
    0.15.

    Args:
        landmarks: Of a face with open eyes and a shut mouth, in the head's frame.
        intensities: From 0 to 5, of any of `ACTION_LANDMARKS`.

    Raises:
        ValueError: If there is no such action, if an intensity is not from 0 to 5, or if two
            actions exclude each other.
    """
    _check(intensities)
    share = {name: intensities.get(name, 0.0) / 5 for name in ACTION_LANDMARKS}
    moved = landmarks.copy()
    _move_brows(moved, share["AU1"], share["AU2"], share["AU4"])
    for upper, lower in _LOWER_LID.items():
        moved[upper, 1] -= 0.1 * share["AU5"]
        moved[upper] += 0.9 * share["AU43"] * (landmarks[lower] - landmarks[upper])
    mouth = np.arange(48, 68)
    # From −1 at the right corner to 1 at the left one; the middle of the lips is not moved at all.
    along = landmarks[mouth, 0] - landmarks[[48, 54], 0].mean()
    along = along / (0.5 * np.ptp(landmarks[[48, 54], 0]))
    along[np.isin(mouth, (51, 57, 62, 66))] = 0.0
    moved[mouth, 0] += 0.1 * share["AU12"] * along
    moved[mouth, 1] += (0.18 * share["AU15"] - 0.2 * share["AU12"]) * along**2
    for lip in (np.arange(55, 60), np.arange(65, 68)):
        moved[lip, 1] += 0.25 * share["AU26"] * np.sqrt((1 - along[lip - 48] ** 2).clip(0))
    chin = np.cos(np.linspace(-1, 1, 17) * np.radians(96)).clip(0) ** 2
    moved[:17, 1] += 0.15 * share["AU26"] * chin
    return moved


def _move_brows(moved: Head, inner: float, outer: float, lowered: float) -> None:
    """Move the brows of a face, by shares of the most that they can."""
    towards = np.linspace(0, 1, 5)  # from the temple to the nose
    for points, side in ((moved[17:22], -1.0), (moved[22:27][::-1], 1.0)):
        points[:, 1] -= 0.2 * (inner * towards**1.5 + outer * (1 - towards) ** 1.5)
        points[:, 1] += lowered * (0.08 + 0.06 * towards)
        points[:, 0] -= side * 0.06 * lowered * towards


def _check(intensities: Mapping[str, float]) -> None:
    """Raise unless a face can do all this at once."""
    for name, value in intensities.items():
        if name not in ACTION_LANDMARKS:
            raise ValueError(
                f"intensities must be of {', '.join(ACTION_LANDMARKS)}, got one of {name!r}"
            )
        if not 0 <= value <= 5:
            raise ValueError(f"{name} must be from 0 to 5, got {value}")
    for one, other in _EXCLUDED:
        if intensities.get(one, 0) and intensities.get(other, 0):
            raise ValueError(f"{one} and {other} exclude each other, got both")
