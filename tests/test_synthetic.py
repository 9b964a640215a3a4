"""Synthetic faces: deterministic, varied, and truthful about position, visibility and ambiguity."""

from collections import Counter

import numpy as np
import pytest

from kdn.data import SyntheticFaces
from kdn.data.markup import FACE68
from kdn.data.synthetic.drawing import Canvas, curve
from kdn.data.synthetic.faces import _labelled
from kdn.data.synthetic.shape import AMBIGUITIES, draw_shape, project

SMALL = (72, 96)


def test_a_face_depends_on_seed_and_index_alone():
    faces, again = SyntheticFaces(9, seed=1, size=SMALL), SyntheticFaces(40, seed=1, size=SMALL)
    for index in (5, 0, 8):
        np.testing.assert_array_equal(faces[index].read(), again[index].read())
        np.testing.assert_array_equal(faces[index].landmarks, again[index].landmarks)
        assert faces[index].id == again[index].id == again[index].picture
    other = SyntheticFaces(9, seed=2, size=SMALL)
    assert (faces[0].read() != other[0].read()).any()
    assert (faces[0].read() != faces[1].read()).any()
    assert len({*faces.pictures, *other.pictures}) == 18


def test_it_is_a_sequence():
    faces = SyntheticFaces(3, seed=1, size=SMALL)
    assert len(list(faces)) == 3
    assert faces[-1].id == faces[2].id == faces[1:][1].id
    with pytest.raises(IndexError, match="index 3"):
        faces[3]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"size": (8, 99)}, "size must be at least 16"),
        ({"ambiguous": 1.1}, r"ambiguous must be in \[0, 1\], got 1.1"),
        ({"occluded": -0.1}, r"occluded must be in \[0, 1\], got -0.1"),
    ],
)
def test_arguments_out_of_range(options, reason):
    with pytest.raises(ValueError, match=reason):
        SyntheticFaces(**({"count": 3, "seed": 0} | options))


def test_samples_are_whole():
    for sample in SyntheticFaces(20, seed=3, size=SMALL):
        assert sample.read().shape == (*SMALL, 3)
        assert sample.landmarks.shape == (FACE68.landmarks, 2)
        assert np.isfinite(sample.landmarks).all()
        assert (sample.landmarks >= -0.5).all(), sample.id
        assert (sample.landmarks <= [SMALL[1] - 0.5, SMALL[0] - 0.5]).all(), sample.id
        assert sample.valid.all()


def test_one_shape_does_not_fit_all():
    boxed, sizes = [], []
    for sample in SyntheticFaces(30, seed=4, size=(24, 32)):
        low, high = np.array(sample.bbox[:2]), np.array(sample.bbox[2:])
        boxed.append((sample.landmarks - low) / (high - low))
        sizes.append(high - low)
    boxed, sizes = np.array(boxed), np.array(sizes)
    error = np.linalg.norm((boxed - boxed.mean(axis=0)) * sizes[:, None], axis=2)
    percent = 100 * (error.mean(axis=1) / np.sqrt(sizes.prod(axis=1))).mean()
    # Box NME of the mean shape in the true box; a trained network is several times better.
    assert 8 < percent < 20


def test_landmarks_lie_on_what_is_drawn():
    steep = {"landmark": [], "beside": []}
    rng = np.random.default_rng(0)
    faces = SyntheticFaces(12, seed=6, occluded=0.0, ambiguous=0.0, degrade=False)
    for sample in faces:
        grey = sample.read().mean(axis=2)
        slope = np.hypot(*np.gradient(grey)) / grey.mean()
        seen = sample.landmarks[sample.visible]
        moved = seen + 7 * rng.choice([-1, 1], seen.shape)
        for name, points in (("landmark", seen), ("beside", moved)):
            x, y = np.rint(points).astype(int).T
            near = [
                slope[(y + j).clip(0, 191), (x + i).clip(0, 191)]
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
            ]
            steep[name].append(np.max(near, axis=0).mean())
    assert np.mean(steep["landmark"]) > 1.4 * np.mean(steep["beside"])


def centroid(canvas: Canvas) -> np.ndarray:
    weights = canvas.finished()[..., 0].astype(float)
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


def test_shapes_are_drawn_where_they_are_said_to_be():
    where = np.array([21.3, 14.8])
    square = np.array([[-6.0, -4.0], [6.0, -4.0], [6.0, 4.0], [-6.0, 4.0]])
    for draw in (
        lambda canvas: canvas.disc(where, 5.2, (255, 0, 0)),
        lambda canvas: canvas.polygon(where + square, (255, 0, 0)),
        lambda canvas: canvas.line(where + square[:, ::-1], (255, 0, 0), 2.0, closed=True),
    ):
        canvas = Canvas(np.zeros((2 * 30, 2 * 44, 3), dtype=np.uint8))
        draw(canvas)
        np.testing.assert_allclose(centroid(canvas), where, atol=0.1)


def test_only_what_hides_hides():
    canvas = Canvas(np.zeros((2 * 30, 2 * 44, 3), dtype=np.uint8))
    canvas.polygon(np.array([[2.0, 3.0], [12.0, 3.0], [12.0, 9.0], [2.0, 9.0]]), (9, 9, 9))
    canvas.polygon(
        np.array([[20.0, 3.0], [31.0, 3.0], [31.0, 9.0], [20.0, 9.0]]), (9, 9, 9), hides=True
    )
    points = np.array(
        [[7.0, 6.0], [25.0, 6.0], [25.0, 11.0], [33.0, 6.0], [-25.0, 6.0], [60.0, 6.0]]
    )
    assert canvas.hides(points).tolist() == [False, True, False, False, False, False]


def test_things_in_front_take_visibility():
    plain, covered = (
        np.mean([s.visible for s in SyntheticFaces(20, seed=8, size=(24, 32), occluded=share)])
        for share in (0.0, 1.0)
    )
    assert 0.9 < plain < 1.0
    assert 0.4 < covered < plain - 0.1


def test_curves_go_through_their_points():
    points = np.random.default_rng(0).normal(size=(5, 2))
    samples = curve(points)
    np.testing.assert_allclose(samples[::6], points, atol=1e-12)
    line = np.linspace([0.0, 1.0], [4.0, 9.0], 5)
    np.testing.assert_allclose(curve(line), np.linspace([0.0, 1.0], [4.0, 9.0], 25), atol=1e-12)


def test_projection_by_hand():
    # Two units towards the viewer, an eighth of the way: nearness 8/(8 − 2) = 4/3.
    points = np.array([[0.5, -1.0, 2.0], [0.0, 3.0, 0.0]])
    seen = project(points, rotation=np.eye(3), unit=30.0, centre=np.array([50.0, 70.0]))
    np.testing.assert_allclose(seen, [[50 + 20, 70 - 40], [50, 160]], atol=1e-12)


def test_the_coin_decides_the_label_and_nothing_else():
    faces = SyntheticFaces(8, seed=9, size=(24, 32), ambiguous=1.0)
    for index in range(8):
        drawn = faces._draw(np.random.default_rng((9, index)))
        heads, tails = (_labelled(drawn, "face", heads=side) for side in (True, False))
        np.testing.assert_array_equal(heads.read(), tails.read())
        assert heads.bbox == tails.bbox
        assert drawn.ambiguity is not None
        moved = list(AMBIGUITIES[drawn.ambiguity])
        assert heads.alternatives is not None
        assert tails.alternatives is not None
        np.testing.assert_array_equal(heads.landmarks[moved], tails.alternatives[moved])
        np.testing.assert_array_equal(tails.landmarks[moved], heads.alternatives[moved])
        rest = np.setdiff1d(np.arange(68), moved)
        np.testing.assert_array_equal(heads.landmarks[rest], tails.landmarks[rest])
        assert np.isnan(heads.alternatives[rest]).all()
        sample = faces[index]
        np.testing.assert_array_equal(sample.read(), heads.read())
        label = sample.landmarks
        assert (label == heads.landmarks).all() != (label == tails.landmarks).all()


def test_each_position_is_labelled_half_the_time():
    kinds: Counter[tuple[int, ...]] = Counter()
    second = 0
    faces = SyntheticFaces(48, seed=10, size=(24, 32), ambiguous=1.0)
    for sample in faces:
        assert sample.alternatives is not None
        moved = np.flatnonzero(np.isfinite(sample.alternatives[:, 0]))
        kinds[tuple(moved.tolist())] += 1
        first = moved[0]
        axis = 0 if first == 30 else 1  # the tips lie side by side, all else one above the other
        second += sample.landmarks[first, axis] > sample.alternatives[first, axis]
    assert set(kinds) == set(AMBIGUITIES.values())
    assert abs(second - 24) < 4 * 0.5 * np.sqrt(48)


def test_ambiguity_is_as_common_as_asked():
    rng = np.random.default_rng(11)
    shapes = [draw_shape(rng, ambiguous=0.3) for _ in range(300)]
    assert np.mean([s.ambiguity is not None for s in shapes]) == pytest.approx(0.3, abs=0.1)
    for shape in shapes:
        moved = np.flatnonzero((shape.landmarks != shape.second).any(axis=1)).tolist()
        assert moved == list(AMBIGUITIES.get(shape.ambiguity or "", ()))
    for sample in SyntheticFaces(5, seed=11, size=(24, 32), ambiguous=0.0):
        assert sample.alternatives is not None
        assert np.isnan(sample.alternatives).all()
