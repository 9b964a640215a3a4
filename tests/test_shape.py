"""Elongation, contour tangents and axis angles against eigenvectors and known rotations."""

import math

import numpy as np
import pytest

from kdn.data.markup import FACE68
from kdn.evaluate import axis_angle, contour_tangents, elongation

JAW = tuple(edge for edge in FACE68.edges if max(edge) < 17)


def triples(matrices: np.ndarray) -> np.ndarray:
    """`(xx, xy, yy)` of symmetric matrices."""
    return matrices[..., (0, 0, 1), (0, 1, 1)]


def rotated(long: np.ndarray, wide: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Covariances `(xx, xy, yy)` of known deviations with the major axis at a known angle."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    scale = np.stack([long, wide], -1)[..., None, :] * np.eye(2)
    return triples(turn @ scale**2 @ turn.swapaxes(-1, -2))


@pytest.fixture
def matrices() -> np.ndarray:
    """Covariances of 5 faces with 7 landmarks."""
    root = np.random.default_rng(0).normal(size=(5, 7, 2, 2))
    return root @ root.swapaxes(-1, -2)


def test_elongation_against_eigenvalues(matrices):
    values = np.linalg.eigvalsh(matrices)
    wanted = np.sqrt(values[..., 1] / values[..., 0])
    got = elongation(triples(matrices))
    assert got.shape == (5, 7)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)  # λ_max/λ_min roundings of float64 in λ_min
    np.testing.assert_allclose(elongation(triples(9 * matrices)), got, rtol=1e-6)


def test_elongation_of_known_ellipses():
    rng = np.random.default_rng(1)
    wide = rng.uniform(0.2, 5, (3, 4))
    ratio = rng.uniform(1, 30, (3, 4))
    covariances = rotated(ratio * wide, wide, rng.uniform(-180, 180, (3, 4)))
    np.testing.assert_allclose(elongation(covariances), ratio, rtol=1e-9)


def test_elongation_at_its_ends():
    covariances = np.array(
        [[[2.0, 0.0, 2.0], [4.0, 2.0, 1.0], [0.0, 0.0, 0.0], [1.0, np.nan, 1.0], [0.0, 0.0, 3.0]]]
    )
    np.testing.assert_array_equal(
        elongation(covariances), [[1.0, math.inf, math.inf, np.nan, math.inf]]
    )


def test_axis_angle_against_eigenvectors(matrices):
    tangents = np.random.default_rng(2).normal(size=(5, 7, 2))
    axes = np.linalg.eigh(matrices)[1][..., 1]
    lengths = np.linalg.norm(tangents, axis=-1)
    cosines = np.abs((axes * tangents).sum(axis=-1)) / lengths
    got = axis_angle(triples(matrices), tangents)
    np.testing.assert_allclose(got, np.degrees(np.arccos(cosines)), atol=1e-5)


def test_axis_angle_of_known_rotations():
    degrees = np.array([[0.0, 10.0, 90.0, 135.0], [-30.0, 179.0, 181.0, 260.0]])
    covariances = rotated(np.full((2, 4), 3.0), np.full((2, 4), 1.5), degrees)
    to = np.array([[0.0, 40.0, 0.0, 45.0], [30.0, 1.0, 0.0, 350.0]])
    wanted = np.array([[0.0, 30.0, 90.0, 90.0], [60.0, 2.0, 1.0, 90.0]])
    tangents = np.stack([np.cos(np.radians(to)), np.sin(np.radians(to))], -1)
    for signed in (tangents, -tangents, 0.01 * tangents):
        np.testing.assert_allclose(axis_angle(covariances, signed), wanted, atol=1e-9)


def test_axis_angle_where_there_is_none():
    covariances = rotated(np.full((1, 5), 2.0), np.full((1, 5), 1.0), np.full((1, 5), 20.0))
    covariances[0, 0] = (0.1 + 0.2, 0.0, 0.3)  # isotropic but for a rounding
    covariances[0, 1] = (1.0, np.nan, 2.0)
    tangents = np.array([[[1.0, 0.0], [1.0, 0.0], [np.nan, np.nan], [0.0, 0.0], [1.0, 0.0]]])
    got = axis_angle(covariances, tangents)
    np.testing.assert_array_equal(np.isnan(got), [[True, True, True, True, False]])


def test_axis_angle_is_45_degrees_on_average_if_it_knows_nothing():
    rng = np.random.default_rng(3)
    degrees = rng.uniform(0, 180, (300, 17))
    covariances = rotated(np.full((300, 17), 2.0), np.ones((300, 17)), degrees)
    tangents = np.broadcast_to([0.6, 0.8], (300, 17, 2))
    angle = axis_angle(covariances, np.array(tangents))
    # The uniform distribution on [0, 90] has the deviation 26°, and 5100 draws are in the mean.
    assert angle.mean() == pytest.approx(45, abs=4 * 26 / math.sqrt(angle.size))


def circle(faces: int, landmarks: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on off-centre circles at uniform steps, and the unit tangents there."""
    rng = np.random.default_rng(4)
    start, radius = rng.uniform(0, 6, (faces, 1)), rng.uniform(5, 50, (faces, 1, 1))
    angle = start + 2 * np.pi * np.arange(landmarks) / landmarks
    unit = np.stack([np.cos(angle), np.sin(angle)], -1)
    tangent = np.stack([-np.sin(angle), np.cos(angle)], -1)
    return radius * unit + rng.uniform(10, 90, (faces, 1, 2)), tangent


def test_tangents_of_a_closed_contour():
    points, tangents = circle(3, 8)
    edges = tuple((i, (i + 1) % 8) for i in range(8))
    got = contour_tangents(points, np.ones((3, 8), bool), edges)
    np.testing.assert_allclose(got, tangents, atol=1e-12)
    back = contour_tangents(points, np.ones((3, 8), bool), tuple((j, i) for i, j in edges))
    np.testing.assert_allclose(back, -tangents, atol=1e-12)


def test_tangents_of_the_jaw():
    """Central differences inside, one-sided at both ends, nothing for the other landmarks."""
    points = np.random.default_rng(5).uniform(0, 100, (2, 68, 2))
    got = contour_tangents(points, np.ones((2, 68), bool), JAW)
    for face, landmark in ((0, 5), (1, 15)):
        step = points[face, landmark + 1] - points[face, landmark - 1]
        np.testing.assert_allclose(got[face, landmark], step / np.linalg.norm(step))
    for landmark, step in ((0, points[:, 1] - points[:, 0]), (16, points[:, 16] - points[:, 15])):
        np.testing.assert_allclose(
            got[:, landmark], step / np.linalg.norm(step, axis=-1, keepdims=True)
        )
    assert np.isnan(got[:, 17:]).all()
    assert np.isfinite(got[:, :17]).all()


def test_tangents_beside_landmarks_that_are_not_valid():
    points = np.array(
        [[[0.0, 0], [1, 0], [1, 2], [5, 5], [9, 8]], [[0, 0], [3, 4], [0, 0], [1, 1], [2, 9]]]
    )
    valid = np.array([[True, True, True, False, True], [True, True, True, False, False]])
    points[~valid] = (7.0, -80.0)  # a position that is not to be used
    got = contour_tangents(points, valid, ((0, 1), (1, 2), (2, 3), (3, 4)))
    side = np.array([8.0, 6.0]) / 10
    wanted = [
        # One-sided at 0 and before the gap; across the gap for the one in it; 4 is alone.
        [[1, 0], [1 / math.sqrt(5), 2 / math.sqrt(5)], [0, 1], side, [np.nan, np.nan]],
        # Neighbours at one point have no direction; 3 has one neighbour, and no position.
        [[0.6, 0.8], [np.nan, np.nan], [-0.6, -0.8], [np.nan, np.nan], [np.nan, np.nan]],
    ]
    np.testing.assert_allclose(got, wanted)


def test_tangents_do_not_need_edges_that_run_one_way():
    points = np.random.default_rng(6).uniform(0, 100, (2, 4, 2))
    valid = np.ones((2, 4), bool)
    ordered = contour_tangents(points, valid, ((0, 1), (1, 2), (2, 3)))
    mixed = contour_tangents(points, valid, ((2, 1), (0, 1), (2, 3)))
    np.testing.assert_allclose(np.abs((ordered * mixed).sum(axis=-1)), 1.0)


def test_a_contour_does_not_branch():
    points, valid = np.zeros((2, 4, 2)), np.ones((2, 4), bool)
    with pytest.raises(ValueError, match="two neighbours at most, 1 has 3"):
        contour_tangents(points, valid, ((0, 1), (1, 2), (1, 3)))
