"""Synthetic faces that do something, and how strongly they do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from kdn.data.sample import Sample
from kdn.data.synthetic.actions import ACTION_LANDMARKS, acted, draw_intensities
from kdn.data.synthetic.faces import SyntheticFaces, _labelled
from kdn.data.synthetic.shape import draw_shape

__all__ = ["SyntheticExpressions"]


class SyntheticExpressions(SyntheticFaces):
    """Cartoon-like faces with expressions, whose intensities are known, each drawn when asked for.

    They are those of `SyntheticFaces`, without features that are drawn twice: faces at rest (eyes
    open, mouth shut, little variation of brows, lids and corners of the mouth), to which
    `kdn.data.synthetic.actions` gives actions, each at an intensity from 0 to 5, 0 most often. The
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
        said = {name: float(intensities.get(name, 0.0)) for name in ACTION_LANDMARKS}
        sample = _labelled(self._drawn(rng, shape, rest=rest), self._name(index), heads=True)
        return replace(sample, attributes=said)

    def _sample(self, index: int) -> Sample:
        return self.acting(index, draw_intensities(self._rng(index, 1)))

    def _rng(self, index: int, stream: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, 3, index, stream))

    def _name(self, index: int) -> str:
        return f"expressions/{self._seed}/{index:06d}"
