"""Synthetic faces: drawn on demand, with landmarks, visibility and ambiguity known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from kdn.data.sample import Sample, tight_box
from kdn.data.synthetic import scene
from kdn.data.synthetic.drawing import draw_face, draw_head, head_outline, visible_jaw
from kdn.data.synthetic.shape import AMBIGUITIES, FaceShape, draw_rotation, draw_shape, project

__all__ = ["SyntheticFaces"]


class SyntheticFaces(Sequence[Sample]):
    """Cartoon-like faces with the 68 landmarks of the iBUG mark-up, each drawn when asked for.

    A shape in space is varied, turned (roll ±30°, yaw ±40°, pitch ±20°), projected, and drawn with
    its features through its landmarks, among clutter, under varied light, with hair, beards,
    glasses and things in front. Face `index` depends on `seed` and `index` alone.

    * `visible` is False under anything in front, and on the jaw where the head hides its far side.
    * In a share `ambiguous` of the faces one feature is drawn twice, both times alike. Then a coin
      decides which one is labelled, and `alternatives` holds the other position. Neither the
      picture nor the box depends on the coin, so that given those each position has probability ½.
      Landmarks of one feature (all five of a brow, say) share the coin.

    The box is the tight box of the landmarks in both positions.

    Args:
        count: Number of faces.
        seed: Seed of everything.
        size: Height and width of the pictures.
        ambiguous: Share of faces with a feature that is drawn twice.
        occluded: Share of faces with something in front.
        degrade: Blur some pictures and add noise to most.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> face = SyntheticFaces(10, seed=0)[3]
        >>> face.read().shape, face.landmarks.shape
        ((192, 192, 3), (68, 2))
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int,
        size: tuple[int, int] = (192, 192),
        ambiguous: float = 0.3,
        occluded: float = 0.35,
        degrade: bool = True,
    ) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        if min(size) < 16:
            raise ValueError(f"size must be at least 16 on both axes, got {size}")
        for name, share in (("ambiguous", ambiguous), ("occluded", occluded)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {share}")
        self._count = count
        self._seed = seed
        self._size = size
        self._ambiguous = ambiguous
        self._occluded = occluded
        self._degrade = degrade

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names of the pictures; each holds one face."""
        return tuple(self._name(index) for index in range(self._count))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"index {index} is out of range for {self._count} faces")
        return self._sample(int(index) % self._count)

    def _sample(self, index: int) -> Sample:
        drawn = self._draw(np.random.default_rng((self._seed, index)))
        # The coin has a generator of its own: nothing that is drawn can depend on it.
        heads = bool(np.random.default_rng((self._seed, index, 1)).random() < 0.5)
        return _labelled(drawn, self._name(index), heads=heads)

    def _name(self, index: int) -> str:
        return f"synthetic/{self._seed}/{index:06d}"

    def _draw(self, rng: np.random.Generator) -> _Drawn:
        shape = draw_shape(rng, ambiguous=self._ambiguous)
        return self._drawn(rng, shape, rest=shape)

    def _drawn(self, rng: np.random.Generator, shape: FaceShape, *, rest: FaceShape) -> _Drawn:
        """Return a picture of a face, placed where its shape at rest would stand."""
        height, width = self._size
        first, second, cranium, unit = _place(rng, shape, rest=rest, height=height, width=width)
        palette = scene.draw_palette(rng)
        variants = [first] if shape.ambiguity is None else [first, second]
        outline = head_outline(variants, cranium)
        jaw_seen = visible_jaw(variants, outline, unit)
        canvas = scene.draw_background(rng, height=height, width=width)
        scene.draw_hair(canvas, rng, first, outline, palette)
        scene.draw_body(canvas, rng, first, palette)
        draw_head(canvas, outline, unit, first[[0, 16]][jaw_seen[[0, 16]]], palette)
        gaze = rng.uniform(-1, 1, 2)
        draw_face(
            canvas, variants, unit, palette, closed=shape.closed, gaze=gaze, jaw_seen=jaw_seen
        )
        scene.draw_fringe(canvas, rng, first, cranium, palette)
        scene.draw_glasses(canvas, rng, first, unit)
        if rng.random() < self._occluded:
            scene.draw_occluder(canvas, rng, first, unit, palette)
        seen = [~canvas.hides(points) for points in (first, second)]
        for visible in seen:
            visible[:17] &= jaw_seen
        picture = scene.finish(canvas, rng, degrade=self._degrade)
        return _Drawn(picture, first, second, seen[0], seen[1], shape.ambiguity)


@dataclass(frozen=True)
class _Drawn:
    """A picture with both positions of its landmarks, image pixels, and whether each is seen."""

    picture: UInt8[np.ndarray, "height width 3"]
    first: Float64[np.ndarray, "68 2"]
    second: Float64[np.ndarray, "68 2"]
    first_seen: Bool[np.ndarray, " 68"]
    second_seen: Bool[np.ndarray, " 68"]
    ambiguity: str | None


def _labelled(drawn: _Drawn, name: str, *, heads: bool) -> Sample:
    """Return the sample whose label is the first position on heads and the second on tails."""
    chosen, other = (drawn.first, drawn.second) if heads else (drawn.second, drawn.first)
    alternatives = np.full((68, 2), np.nan)
    if drawn.ambiguity is not None:
        moved = list(AMBIGUITIES[drawn.ambiguity])
        alternatives[moved] = other[moved]
    both = np.concatenate([drawn.first, drawn.second])
    return Sample(
        id=name,
        image=drawn.picture,
        landmarks=chosen,
        bbox=tight_box(both, np.ones(len(both), dtype=bool)),
        valid=np.ones(68, dtype=bool),
        visible=drawn.first_seen if heads else drawn.second_seen,
        alternatives=alternatives,
        picture=name,
    )


def _place(
    rng: np.random.Generator, shape: FaceShape, *, rest: FaceShape, height: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return both positions of the landmarks and the skull in image pixels, and the head's unit."""
    short = min(height, width)
    unit = short * float(rng.uniform(0.19, 0.25))
    middle = np.array([(width - 1) / 2, (height - 1) / 2]) + short * rng.uniform(-0.06, 0.06, 2)
    view = {"rotation": draw_rotation(rng), "unit": unit, "centre": np.zeros(2)}
    first, second, cranium = (
        project(points, **view) for points in (shape.landmarks, shape.second, shape.cranium)
    )
    points = np.concatenate([project(points, **view) for points in (rest.landmarks, rest.second)])
    move = middle - 0.5 * (points.min(axis=0) + points.max(axis=0))
    return first + move, second + move, cranium + move, unit
