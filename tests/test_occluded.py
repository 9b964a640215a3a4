"""Occluders: what is covered is hidden, what is not is as it was."""

from dataclasses import replace

import numpy as np
import pytest

from kdn.data import Sample, SyntheticFaces
from occluders import Occluded


@pytest.fixture(scope="module")
def faces() -> list[Sample]:
    """Faces in pictures that are not square, one with labels missing and one outside."""
    faces = list(SyntheticFaces(12, seed=3, size=(150, 190), ambiguous=0, occluded=0))
    valid = faces[1].valid.copy()
    valid[[3, 40]] = False
    faces[1] = replace(
        faces[1], valid=valid, landmarks=np.where(valid[:, None], faces[1].landmarks, np.nan)
    )
    faces[2] = replace(faces[2], landmarks=faces[2].landmarks - [70.0, 0.0])
    return faces


def changed(before: Sample, after: Sample) -> np.ndarray:
    return (before.read() != after.read()).any(axis=-1)


@pytest.mark.parametrize("seed", range(4))
def test_hidden_landmarks_lie_where_the_picture_changed(faces: list[Sample], seed: int) -> None:
    for before, after in zip(faces, Occluded(faces, seed=seed), strict=True):
        new = changed(before, after)
        height, width = new.shape
        hidden = before.visible & ~after.visible
        points = np.where(before.valid[:, None], before.landmarks, -1e4)
        x, y = np.rint(points).astype(int).T
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        here = new[y.clip(0, height - 1), x.clip(0, width - 1)] & inside
        assert (hidden | ~here | ~before.visible).all()  # what changed is hidden
        seen = inside & after.visible & before.visible
        assert not here[seen].any()
        # A pixel may be painted in the colour it had; nearly all are not.
        assert here[hidden & inside].sum() >= 0.9 * (hidden & inside).sum() - 1


def test_labels_and_boxes_stay(faces: list[Sample]) -> None:
    for before, after in zip(faces, Occluded(faces, seed=1), strict=True):
        np.testing.assert_array_equal(after.landmarks, before.landmarks)
        np.testing.assert_array_equal(after.valid, before.valid)
        assert (after.bbox, after.id, after.picture) == (before.bbox, before.id, before.picture)
        assert not (after.visible & ~before.visible).any()
        assert before.read() is before.image  # the face itself was not painted over


def test_what_is_drawn_depends_on_seed_and_index_alone(faces: list[Sample]) -> None:
    covered = Occluded(faces, seed=5)
    np.testing.assert_array_equal(covered[4].read(), Occluded(faces, seed=5)[4].read())
    np.testing.assert_array_equal(covered[-8].read(), covered[4].read())
    np.testing.assert_array_equal(covered[2:6][2].read(), covered[4].read())
    assert (covered[4].read() != Occluded(faces, seed=6)[4].read()).any()
    same = Occluded([faces[0]] * 2, seed=5)
    assert (same[0].read() != same[1].read()).any()
    assert covered.pictures == tuple(face.picture for face in faces)
    assert len(covered) == 12


def test_sizes_are_shares_of_the_box() -> None:
    faces = SyntheticFaces(60, seed=8, size=(150, 190), ambiguous=0, occluded=0)
    shares = {}
    for size in ((0.2, 0.2), (0.4, 0.4)):
        areas = []
        for before, after in zip(faces, Occluded(faces, seed=0, size=size), strict=True):
            x0, y0, x1, y1 = before.bbox
            areas.append(changed(before, after).sum() / (0.5 * (x1 - x0 + y1 - y0)) ** 2)
        shares[size[0]] = np.median(areas)
    # Half are rectangles of area s², half ellipses of π/4 s², and their edges are drawn too.
    for side, share in shares.items():
        assert 0.75 * side**2 < share < 1.25 * side**2


def test_all_kinds_of_filling_occur() -> None:
    faces = SyntheticFaces(40, seed=8, size=(150, 190), ambiguous=0, occluded=0)
    colours = []
    for before, after in zip(faces, Occluded(faces, seed=0), strict=True):
        painted = after.read()[changed(before, after)]
        colours.append(len(np.unique(painted, axis=0)) / len(painted))
    flat = np.array(colours) < 0.01
    assert 5 < flat.sum() < 25


def test_wrong_arguments(faces: list[Sample]) -> None:
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        Occluded(faces, seed=-1)
    with pytest.raises(ValueError, match=r"size must be 0 < least ≤ largest, got \(0\.5, 0\.3\)"):
        Occluded(faces, seed=0, size=(0.5, 0.3))
