"""Synthetic videos: the same face throughout, smooth, exact, and the same for the same seed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kdn.data import SyntheticFaces
from kdn.data.synthetic.shape import draw_shape
from synthetic_video import SyntheticVideo, draw_moves, expressed

SMALL = (60, 84)


def test_a_frame_depends_on_seed_and_index_alone() -> None:
    video = SyntheticVideo(9, seed=1, size=SMALL)
    longer = SyntheticVideo(130, seed=1, size=SMALL)
    for index in (7, 0, 3):
        np.testing.assert_array_equal(video[index].read(), longer[index].read())
        np.testing.assert_array_equal(video[index].landmarks, longer[index].landmarks)
    np.testing.assert_array_equal(video[5].read(), video[5].read())
    other = SyntheticVideo(9, seed=2, size=SMALL)
    assert (video[0].read() != other[0].read()).mean() > 0.5
    assert len({sample.id for sample in [*video, *other]}) == 18
    assert (video[0].landmarks != SyntheticFaces(1, seed=1, size=SMALL)[0].landmarks).all()


def test_it_is_a_sequence_of_whole_samples() -> None:
    video = SyntheticVideo(6, seed=3, size=SMALL, fps=10)
    np.testing.assert_allclose(video.times, [0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert video[-1].id == video[5].id == video[4:][1].id
    with pytest.raises(IndexError, match="index 6"):
        video[6]
    for index, sample in enumerate(video):
        assert sample.read().shape == (*SMALL, 3)
        assert sample.valid.all()
        low, high = sample.landmarks.min(axis=0), sample.landmarks.max(axis=0)
        assert sample.bbox == (*low.tolist(), *high.tolist())
        np.testing.assert_array_equal(sample.landmarks, video.landmarks(video.times[index].item()))


@pytest.mark.parametrize("seed", range(4))
def test_landmarks_move_smoothly_and_stay_in_the_picture(seed: int) -> None:
    video = SyntheticVideo(600, seed=seed, size=SMALL, fps=150)
    path = np.array([video.landmarks(time) for time in video.times.tolist()])
    assert path.min() > -0.5
    assert (path.max(axis=(0, 1)) < [SMALL[1] - 0.5, SMALL[0] - 0.5]).all()
    size = np.sqrt(np.ptp(path, axis=1).prod(axis=1)).mean()
    speed = np.linalg.norm(np.diff(path, axis=0), axis=-1) * 150 / size
    assert 0.5 < speed.max() < 10  # sizes per second
    assert (speed.mean(axis=1) < 0.02).any()  # it rests
    # Of a path without jumps the second differences go with the square of the step.
    second = np.abs(np.diff(path, 2, axis=0)).max()
    coarse = np.abs(np.diff(path[::4], 2, axis=0)).max()
    assert second < coarse / 8


def test_everything_moves_and_nothing_is_another_face() -> None:
    rng = np.random.default_rng(4)
    moves = draw_moves(rng, seconds=20.0)
    poses = [moves.at(time) for time in np.arange(0, 20, 0.05).tolist()]
    for name, reach in (("size", 0.02), ("mouth", 0.1), ("brows", 0.05), ("smile", 0.03)):
        assert np.ptp([getattr(pose, name) for pose in poses]) > reach, name
    assert max(pose.lids for pose in poses) > 0.9
    assert min(pose.lids for pose in poses) == pytest.approx(0)
    assert np.median([pose.lids for pose in poses]) == pytest.approx(0)
    turns = np.array([pose.rotation for pose in poses])
    np.testing.assert_allclose(
        turns @ turns.swapaxes(1, 2), np.broadcast_to(np.eye(3), turns.shape), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    angles = np.degrees(np.arccos((np.trace(turns, axis1=1, axis2=2) - 1) / 2))
    assert 15 < angles.max() < 50


def test_expressions_by_hand() -> None:
    rest = draw_shape(np.random.default_rng(5), ambiguous=0.0).landmarks
    pose = draw_moves(np.random.default_rng(6), seconds=1.0).at(0.0)
    still = {"mouth": 0.0, "brows": 0.0, "smile": 0.0, "lids": 0.0}

    def change(**values: Any) -> np.ndarray:
        return expressed(rest, replace(pose, **(still | values))) - rest

    assert (change() == 0).all()
    raised = change(brows=0.1)
    np.testing.assert_allclose(raised[17:27], np.tile([0, -0.1, 0], (10, 1)), atol=1e-12)
    assert np.count_nonzero(np.delete(raised, np.s_[17:27], axis=0)) == 0
    opened = change(mouth=0.2)
    assert opened[8, 1] == pytest.approx(0.12)
    assert opened[57, 1] == pytest.approx(0.2, rel=0.05)
    assert opened[66, 1] == pytest.approx(0.2, rel=0.05)
    assert (opened[[48, 54, 51, 62, 30]] == 0).all()
    smiling = change(smile=0.05)
    np.testing.assert_allclose(smiling[[48, 54]], [[-0.05, -0.05, 0], [0.05, -0.05, 0]], atol=1e-12)
    shut = rest + change(lids=1.0)
    np.testing.assert_allclose(shut[37] - rest[41], 0.1 * (rest[37] - rest[41]), atol=1e-12)
    np.testing.assert_allclose(shut[44] - rest[46], 0.1 * (rest[44] - rest[46]), atol=1e-12)


def test_grain_is_fresh_and_everything_else_stays() -> None:
    options: dict[str, Any] = {"seed": 7, "size": SMALL, "occluder": False}
    clean, noisy = (SyntheticVideo(80, noise=noise, **options) for noise in (0.0, 6.0))
    grains = [noisy[i].read().astype(float) - clean[i].read() for i in (0, 1)]
    for grain in grains:
        assert 4 < grain.std() < 6.2  # what is cut off at black and white is missing
    assert abs(np.corrcoef(grains[0].ravel(), grains[1].ravel())[0, 1]) < 0.05
    # The upper corners show background alone, which stands still.
    np.testing.assert_array_equal(clean[0].read()[:6, :12], clean[70].read()[:6, :12])


def test_the_occluder_passes() -> None:
    hidden = []
    for seed in range(4):
        covered, plain = (
            np.array(
                [s.visible for s in SyntheticVideo(75, seed=seed, size=SMALL, occluder=there)[::5]]
            )
            for there in (True, False)
        )
        taken = plain & ~covered
        assert not (covered & ~plain).any()
        hidden.append(taken.mean(axis=1))
    hidden = np.array(hidden)
    assert (hidden.max(axis=1) > 0.03).all()
    assert (hidden.min(axis=1) == 0).all()


def test_landmarks_lie_on_what_is_drawn() -> None:
    steep = {"there": [], "beside": []}
    rng = np.random.default_rng(9)
    for seed in range(5):
        video = SyntheticVideo(100, seed=seed, occluder=False, noise=0.0)
        for sample in video[10::45]:
            grey = sample.read().mean(axis=2)
            slope = np.hypot(*np.gradient(grey)) / grey.mean()
            seen = sample.landmarks[sample.visible]
            beside = seen + 7 * rng.choice([-1, 1], seen.shape)
            for name, points in (("there", seen), ("beside", beside)):
                x, y = np.rint(points).astype(int).T
                near = [slope[y + j, x + i] for i in (-1, 0, 1) for j in (-1, 0, 1)]
                steep[name].append(np.max(near, axis=0).mean())
    assert np.mean(steep["there"]) > 1.4 * np.mean(steep["beside"])


_LEAST: dict[str, Any] = {"frames": 3, "seed": 0}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"frames": 0}, "frames must be at least 1, got 0"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"size": (8, 99)}, "size must be at least 16"),
        ({"fps": 0.0}, "fps must be finite and at least"),
        ({"noise": -1.0}, "noise must be finite and at least 0"),
        ({"noise": float("nan")}, "noise must be finite"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SyntheticVideo(**(_LEAST | options))
