"""Landmarks fused over time, beside pykalman, a dense least-squares twin and closed forms."""

import time
import warnings

import numpy as np
import pytest
from scipy.linalg import sqrtm

from kdn.predict.track.kalman import LandmarkFilter, smooth
from kdn.predict.track.motion import Motion, noise_root, process_noise, transition

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports are not ours to mend
    from pykalman import KalmanFilter

MOTION = Motion(acceleration=0.7, speed=0.9, systematic=0.4, memory=0.3)
FRESH = Motion(acceleration=0.7, speed=0.9, systematic=0.0)
TIMES = np.array([0.0, 0.04, 0.1, 0.13, 0.3, 0.31, 0.4])  # steps differ
MISSING = (2, 5)


def covariances_of(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return random covariances, long and tilted ones among them."""
    factor = rng.normal(size=(*shape, 2, 2)) * np.array([[3.0], [0.8]])
    return factor @ factor.swapaxes(-1, -2) + 0.1 * np.eye(2)


def sequence(seed: int = 0, landmarks: int = 3) -> tuple[list, list, list]:
    """Return points, covariances and sizes of frames of which two are missing."""
    rng = np.random.default_rng(seed)
    points: list = list(rng.normal([90.0, 40.0], 5, (len(TIMES), landmarks, 2)))
    spread: list = list(covariances_of(rng, len(TIMES), landmarks))
    sizes = rng.uniform(50, 70, len(TIMES)).tolist()
    for frame in MISSING:
        points[frame] = spread[frame] = None
    return points, spread, sizes


def model_of(motion: Motion, sizes: list) -> tuple[list, list]:
    """Return the transitions and their noise between the frames, with sizes as last measured."""
    matrices, noises, size = [], [], sizes[0]
    for frame, step in enumerate(np.diff(TIMES).tolist()):
        size = size if frame in MISSING else sizes[frame]
        matrices.append(transition(motion, step))
        noises.append(process_noise(motion, step, size))
    return matrices, noises


def least_squares(
    motion: Motion, points: list, spread: list, sizes: list, landmark: int, upto: int
):
    """Return means and covariances of the states of all frames by one dense normal equation.

    The states of the frames up to one are unknowns, and every term of the log-density is a row:
    nothing here is recursive, and the position has no prior.
    """
    matrices, noises = model_of(motion, sizes)
    information = np.zeros((6 * upto, 6 * upto))
    right = np.zeros(6 * upto)

    def add(rows: np.ndarray, value: np.ndarray, covariance: np.ndarray) -> None:
        weight = np.linalg.inv(covariance)
        information[:] += rows.T @ weight @ rows
        right[:] += rows.T @ weight @ value

    def select(frame: int) -> np.ndarray:
        return np.eye(6 * upto)[6 * frame : 6 * frame + 6]

    add(select(0)[2:4], np.zeros(2), (motion.speed * sizes[0]) ** 2 * np.eye(2))
    add(select(0)[4:], np.zeros(2), np.eye(2))
    for frame in range(upto - 1):
        moved = select(frame + 1) - matrices[frame] @ select(frame)
        add(moved, np.zeros(6), noises[frame])
    for frame in range(upto):
        if points[frame] is not None:
            covariance = spread[frame][landmark]
            root = np.real(sqrtm(covariance))
            seen = select(frame)[:2] + np.sqrt(motion.systematic) * root @ select(frame)[4:]
            add(seen, points[frame][landmark], (1 - motion.systematic) * covariance)
    covariance = np.linalg.inv(information)
    return covariance @ right, covariance


@pytest.mark.parametrize("motion", [MOTION, FRESH], ids=["lasting", "fresh"])
def test_filter_and_smoother_are_least_squares(motion: Motion) -> None:
    points, spread, sizes = sequence()
    online = LandmarkFilter(motion)
    whole = smooth(TIMES, points, spread, motion=motion, sizes=sizes)
    for frame, when in enumerate(TIMES.tolist()):
        latest = online.filter(when, points[frame], spread[frame], size=sizes[frame])
        for landmark in range(3):
            args = (motion, points, spread, sizes, landmark)
            mean, covariance = least_squares(*args, frame + 1)
            last = slice(6 * frame, 6 * frame + 2)
            fast = slice(6 * frame + 2, 6 * frame + 4)
            np.testing.assert_allclose(latest.landmarks[landmark], mean[last], rtol=1e-6)
            np.testing.assert_allclose(
                latest.velocities[landmark], mean[fast], rtol=1e-5, atol=1e-5
            )
            np.testing.assert_allclose(
                latest.covariances[landmark], covariance[last, last], rtol=1e-5, atol=1e-6
            )
            mean, covariance = least_squares(*args, len(TIMES))
            np.testing.assert_allclose(whole.landmarks[frame, landmark], mean[last], rtol=1e-6)
            np.testing.assert_allclose(
                whole.covariances[frame, landmark], covariance[last, last], rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("motion", [MOTION, FRESH], ids=["lasting", "fresh"])
def test_filter_and_smoother_are_pykalman(motion: Motion) -> None:
    points, spread, sizes = sequence(1)
    matrices, noises = model_of(motion, sizes)
    online = LandmarkFilter(motion)
    live = [
        online.filter(TIMES[i].item(), points[i], spread[i], size=sizes[i])
        for i in range(len(TIMES))
    ]
    whole = smooth(TIMES, points, spread, motion=motion, sizes=sizes)
    for landmark in range(3):
        root = [None if s is None else noise_root(s)[landmark] for s in spread]
        cross = -np.sqrt(motion.systematic) * np.real(sqrtm(spread[0][landmark]))
        prior = np.zeros((6, 6))
        prior[:2, :2], prior[4:, 4:] = spread[0][landmark], np.eye(2)
        prior[2:4, 2:4] = (motion.speed * sizes[0]) ** 2 * np.eye(2)
        prior[:2, 4:] = prior[4:, :2] = cross
        seen = np.zeros((len(TIMES), 2, 6))
        seen[:, :, :2] = np.eye(2)
        fresh = np.tile(np.eye(2), (len(TIMES), 1, 1))
        observed = np.ma.masked_all((len(TIMES), 2))
        for i in range(1, len(TIMES)):  # the first frame is in the prior
            if points[i] is not None:
                observed[i] = points[i][landmark]
                seen[i, :, 4:] = np.sqrt(motion.systematic) * root[i]
                fresh[i] = (1 - motion.systematic) * spread[i][landmark]
        oracle = KalmanFilter(
            transition_matrices=np.array(matrices),
            transition_covariance=np.array(noises),
            observation_matrices=seen,
            observation_covariance=fresh,
            initial_state_mean=np.concatenate([points[0][landmark], np.zeros(4)]),
            initial_state_covariance=prior,
        )
        mean, covariance = oracle.filter(observed)
        np.testing.assert_allclose([f.landmarks[landmark] for f in live], mean[:, :2], rtol=1e-8)
        np.testing.assert_allclose(
            [f.covariances[landmark] for f in live], covariance[:, :2, :2], rtol=1e-7, atol=1e-8
        )
        mean, covariance = oracle.smooth(observed)
        np.testing.assert_allclose(whole.landmarks[:, landmark], mean[:, :2], rtol=1e-8)
        np.testing.assert_allclose(
            whole.velocities[:, landmark], mean[:, 2:4], rtol=1e-6, atol=1e-6
        )
        np.testing.assert_allclose(
            whole.covariances[:, landmark], covariance[:, :2, :2], rtol=1e-7, atol=1e-8
        )


def still(frames: int, motion: Motion, seed: int = 2):
    """Return points around two still ones, and their fusion, with equal noise in every frame."""
    rng = np.random.default_rng(seed)
    points = rng.normal([[30.0, 70.0], [80.0, 20.0]], 1.5, (frames, 2, 2))
    spread = np.tile(covariances_of(rng, 2), (frames, 1, 1, 1))
    fused = smooth(
        0.04 * np.arange(frames), list(points), list(spread), motion=motion, sizes=[60.0] * frames
    )
    return points, spread, fused


def test_still_points_are_their_mean() -> None:
    motion = Motion(acceleration=1e-12, speed=1e-6, systematic=0.0)
    points, spread, fused = still(9, motion)
    expected = np.broadcast_to(points.mean(axis=0), points.shape)
    np.testing.assert_allclose(fused.landmarks, expected, rtol=1e-6)
    np.testing.assert_allclose(fused.covariances, spread / 9, rtol=1e-6)


def test_points_on_a_line_are_fitted_by_it() -> None:
    motion = Motion(acceleration=1e-13, speed=1e4, systematic=0.0)
    rng = np.random.default_rng(3)
    times = np.array([0.0, 0.1, 0.15, 0.4, 0.6])
    points = rng.normal(size=(5, 2, 2)) + times[:, None, None] * [[40.0, -9.0], [3.0, 5.0]]
    spread = np.tile(2.0 * np.eye(2), (5, 2, 1, 1))
    fused = smooth(times, list(points), list(spread), motion=motion, sizes=[60.0] * 5)
    slope, level = np.polyfit(times, points.reshape(5, 4), 1)
    np.testing.assert_allclose(
        fused.landmarks.reshape(5, 4), level + times[:, None] * slope, atol=1e-4
    )
    np.testing.assert_allclose(fused.velocities.reshape(5, 4), np.tile(slope, (5, 1)), atol=1e-3)


def test_the_lasting_share_of_the_noise_stays() -> None:
    # With z constant, 400 still frames leave its variance, the fresh share shrinks to nothing.
    still_life = {"acceleration": 1e-14, "speed": 1e-8}
    lasting = Motion(**still_life, systematic=0.6, memory=np.inf)
    points, spread, fused = still(400, lasting)
    np.testing.assert_allclose(fused.covariances, (0.6 + 0.4 / 400) * spread, rtol=1e-5)
    expected = np.broadcast_to(points.mean(axis=0), points.shape)
    np.testing.assert_allclose(fused.landmarks, expected, rtol=1e-6)
    _, _, collapsed = still(400, Motion(**still_life, systematic=0.0))
    # 16 s of the least process noise still show in the fifth digit.
    np.testing.assert_allclose(collapsed.covariances, spread / 400, rtol=1e-4)


@pytest.mark.parametrize("memory", [0.1, 0.5, np.inf])
def test_fused_errors_are_as_large_as_their_covariance_says(memory: float) -> None:
    # Faces, motions and errors drawn from the model: the squared distance has mean 2.
    motion = Motion(acceleration=0.5, speed=0.5, systematic=0.5, memory=memory)
    rng = np.random.default_rng(4)
    count, frames, step, size = 400, 12, 0.04, 60.0
    spread = covariances_of(rng, frames, count)
    matrix = transition(motion, step)
    noise = np.linalg.cholesky(process_noise(motion, step, size) + 1e-18 * np.eye(6))
    state = np.zeros((count, 6))
    state[:, 2:4] = motion.speed * size * rng.normal(size=(count, 2))
    state[:, 4:] = rng.normal(size=(count, 2))
    online = LandmarkFilter(motion)
    truth, points, live = [], [], []
    for frame in range(frames):
        if frame:
            state = state @ matrix.T + rng.normal(size=(count, 6)) @ noise.T
        root = noise_root(spread[frame])
        noises = np.sqrt(0.5) * state[:, 4:] + np.sqrt(0.5) * rng.normal(size=(count, 2))
        truth.append(state[:, :2])
        points.append(state[:, :2] + (root @ noises[..., None])[..., 0])
        live.append(online.filter(step * frame, points[-1], spread[frame], size=size))
    whole = smooth(
        step * np.arange(frames), points, list(spread), motion=motion, sizes=[size] * frames
    )
    said = [
        (np.array([f.landmarks for f in live]), np.array([f.covariances for f in live])),
        (whole.landmarks, whole.covariances),
    ]
    for landmarks, covariances in said:
        error = landmarks - np.array(truth)
        squares = np.einsum("fli,flij,flj->fl", error, np.linalg.inv(covariances), error)
        # Chi-square of 2 degrees has variance 4: four standard errors of 400 in each frame.
        assert np.abs(squares.mean(axis=1) - 2).max() < 4 * 2 / np.sqrt(count)


def test_the_smoother_is_never_less_sure_and_ends_as_the_filter() -> None:
    points, spread, sizes = sequence(5)
    online = LandmarkFilter(MOTION)
    live = [
        online.filter(TIMES[i].item(), points[i], spread[i], size=sizes[i])
        for i in range(len(TIMES))
    ]
    whole = smooth(TIMES, points, spread, motion=MOTION, sizes=sizes)
    gained = np.array([f.covariances for f in live]) - whole.covariances
    assert np.linalg.eigvalsh(gained).min() > -1e-9
    np.testing.assert_array_equal(whole.landmarks[-1], live[-1].landmarks)
    assert np.linalg.det(gained[1:-1]).min() > 1e-6


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_a_delayed_frame_is_smoothed_by_those_since(lag: int) -> None:
    points, spread, sizes = sequence(15)
    online = LandmarkFilter(MOTION, lag=lag)
    for i, when in enumerate(TIMES.tolist()):
        online.filter(when, points[i], spread[i], size=sizes[i])
        late = online.delayed()
        if i < lag:
            assert late is None
            continue
        upto = (TIMES[: i + 1], points[: i + 1], spread[: i + 1])
        whole = smooth(*upto, motion=MOTION, sizes=sizes[: i + 1])
        assert late is not None
        np.testing.assert_array_equal(late.landmarks, whole.landmarks[i - lag])
        np.testing.assert_array_equal(late.covariances, whole.covariances[i - lag])


def test_landmarks_do_not_know_of_each_other() -> None:
    points, spread, sizes = sequence(6, landmarks=5)
    all_of_them = smooth(TIMES, points, spread, motion=MOTION, sizes=sizes)
    some = [2, 4]
    alone = smooth(
        TIMES,
        [None if p is None else p[some] for p in points],
        [None if s is None else s[some] for s in spread],
        motion=MOTION,
        sizes=sizes,
    )
    np.testing.assert_allclose(all_of_them.landmarks[:, some], alone.landmarks, rtol=1e-12)
    np.testing.assert_allclose(all_of_them.covariances[:, some], alone.covariances, rtol=1e-9)


def test_it_turns_and_grows_with_the_picture() -> None:
    points, spread, sizes = sequence(7)
    turn = 1.7 * np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    plain = smooth(TIMES, points, spread, motion=MOTION, sizes=sizes)
    turned = smooth(
        TIMES,
        [None if p is None else p @ turn.T + [7.0, -3.0] for p in points],
        [None if s is None else turn @ s @ turn.T for s in spread],
        motion=MOTION,
        sizes=[1.7 * size for size in sizes],
    )
    np.testing.assert_allclose(turned.landmarks, plain.landmarks @ turn.T + [7.0, -3.0], rtol=1e-9)
    np.testing.assert_allclose(turned.covariances, turn @ plain.covariances @ turn.T, rtol=1e-7)


def test_missing_frames_are_less_sure_and_prediction_takes_in_nothing() -> None:
    points, spread, sizes = sequence(8)
    online = LandmarkFilter(MOTION)
    first, second = (
        online.filter(TIMES[i].item(), points[i], spread[i], size=sizes[i]) for i in (0, 1)
    )
    ahead = online.predict(0.3)
    again = online.predict(0.3)
    missed = online.filter(0.3, None, None)
    for said in (again, missed):
        np.testing.assert_array_equal(said.landmarks, ahead.landmarks)
    expected = second.landmarks + (0.3 - TIMES[1]) * second.velocities
    np.testing.assert_allclose(ahead.landmarks, expected, rtol=1e-12)
    assert (np.linalg.det(ahead.covariances) > np.linalg.det(second.covariances)).all()
    np.testing.assert_array_equal(first.landmarks, points[0])
    np.testing.assert_allclose(first.covariances, spread[0], rtol=1e-12)


def test_frames_before_the_first_measured_are_unknown() -> None:
    points, spread, sizes = sequence(9)
    late = smooth(
        np.concatenate([[-0.5, -0.1], TIMES]),
        [None, None, *points],
        [None, None, *spread],
        motion=MOTION,
        sizes=[None, None, *sizes],
    )
    whole = smooth(TIMES, points, spread, motion=MOTION, sizes=sizes)
    assert np.isnan(late.landmarks[:2]).all()
    np.testing.assert_array_equal(late.landmarks[2:], whole.landmarks)
    np.testing.assert_array_equal(late.covariances[2:], whole.covariances)


def test_the_size_is_that_of_the_box_if_none_is_given() -> None:
    points, spread, _ = sequence(10)
    boxes = [None if p is None else float(np.sqrt(np.prod(np.ptp(p, axis=0)))) for p in points]
    given = smooth(TIMES, points, spread, motion=MOTION, sizes=boxes)
    np.testing.assert_array_equal(
        smooth(TIMES, points, spread, motion=MOTION).landmarks, given.landmarks
    )


def test_it_stays_sound_over_a_long_video_with_extreme_noise() -> None:
    rng = np.random.default_rng(11)
    online = LandmarkFilter(Motion(acceleration=1e-6, systematic=0.99, memory=np.inf))
    for frame in range(3000):
        spread = covariances_of(rng, 4) * 10.0 ** rng.uniform(-5, 5, (4, 1, 1))
        fused = online.filter(frame / 1000, rng.normal(size=(4, 2)), spread, size=100.0)
        values = np.linalg.eigvalsh(fused.covariances)
        assert values.min() > 0
        assert np.isfinite(values).all()


def test_roots_are_roots() -> None:
    covariances = covariances_of(np.random.default_rng(12), 4, 3)
    root = noise_root(covariances)
    np.testing.assert_allclose(root @ root, covariances, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(root, root.swapaxes(-1, -2))
    by_hand = noise_root(np.array([[[5.0, 4.0], [4.0, 5.0]], [[9.0, 0.0], [0.0, 4.0]]]))
    np.testing.assert_allclose(by_hand, [[[2.0, 1.0], [1.0, 2.0]], [[3.0, 0.0], [0.0, 2.0]]])


def test_two_steps_of_the_motion_are_one_of_their_length() -> None:
    first, second = 0.03, 0.11
    onwards = transition(MOTION, second)
    np.testing.assert_allclose(
        transition(MOTION, first + second), onwards @ transition(MOTION, first), rtol=1e-12
    )
    twice = onwards @ process_noise(MOTION, first, 50.0) @ onwards.T + process_noise(
        MOTION, second, 50.0
    )
    np.testing.assert_allclose(process_noise(MOTION, first + second, 50.0), twice, atol=1e-12)
    assert process_noise(MOTION, 2.0, 10.0)[3, 3] == pytest.approx(0.7 * 100 * 2)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"acceleration": 0.0}, "acceleration must be positive and finite, got 0.0"),
        ({"speed": np.inf}, "speed must be positive and finite, got inf"),
        ({"systematic": 1.0}, "systematic must be at least 0 and below 1, got 1.0"),
        ({"memory": np.nan}, "memory must be positive, got nan"),
    ],
)
def test_constants_out_of_range(options: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Motion(**options)


def test_frames_that_cannot_be_used() -> None:
    points, spread, _ = sequence(13)
    online = LandmarkFilter()
    with pytest.raises(ValueError, match="lag must be 0 or more, got -1"):
        LandmarkFilter(lag=-1)
    with pytest.raises(ValueError, match="predict needs a frame"):
        online.predict(0.1)
    with pytest.raises(ValueError, match="landmarks must be given in the first frame"):
        online.filter(0.0, None, None)
    online.filter(0.0, points[0], spread[0])
    for when, said, reason in (
        (0.0, (points[1], spread[1]), "time must be later than 0.0"),
        (float("nan"), (points[1], spread[1]), "time must be later"),
        (0.1, (points[1][:2], spread[1][:2]), "landmarks must be 3"),
        (0.1, (points[1] * np.nan, spread[1]), "landmarks must be finite"),
        (0.1, (points[1], -spread[1]), "positive definite"),
        (0.1, (points[1], spread[1] * np.nan), "positive definite"),
        (0.1, (points[1], spread[1] + [[0.0, 1.0], [0.0, 0.0]]), "symmetric"),
        (0.1, (points[1], None), "both be given, or neither"),
    ):
        with pytest.raises(ValueError, match=reason):
            online.filter(when, *said)
    with pytest.raises(ValueError, match=r"size must be positive and finite, got 0\.0"):
        online.filter(0.1, np.ones((3, 2)), spread[1])
    with pytest.raises(ValueError, match="one length, got 7, 6, 7 and 7"):
        smooth(TIMES, points[:-1], spread)
    with pytest.raises(ValueError, match="at least one frame"):
        smooth(TIMES[:2], [None, None], [None, None])


def test_a_frame_of_68_landmarks_takes_much_less_than_its_time() -> None:
    rng = np.random.default_rng(14)
    points = rng.normal(0, 30, (40, 68, 2))
    spread = covariances_of(rng, 40, 68)
    online = LandmarkFilter()
    took = []
    for frame in range(40):
        start = time.perf_counter()
        online.filter(0.04 * frame, points[frame], spread[frame])
        took.append(time.perf_counter() - start)
    assert min(took) < 0.02
