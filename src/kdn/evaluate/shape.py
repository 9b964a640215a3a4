"""The shape of a predicted density: how elongated it is, and whether along the face's contour.

All needs the covariance alone, written `(xx, xy, yy)`. Neither number depends on its unit, but both
on its frame: covariances and tangents are given in one frame, image or crop pixels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["axis_angle", "contour_tangents", "elongation"]


def elongation(covariances: Float[np.ndarray, "n L 3"]) -> Float[np.ndarray, "n L"]:
    """Return `√(λ_max / λ_min)`: how many times longer than wide each density is, 1 or more.

    Args:
        covariances: `(xx, xy, yy)`.

    Returns:
        1 where isotropic, infinite where the covariance is singular, NaN where it is NaN.

    Example:
        >>> elongation(np.array([[[9.0, 0.0, 1.0], [2.5, 1.5, 2.5]]])).tolist()
        [[3.0, 2.0]]
    """
    middle, cosine, sine = _parts(covariances)
    radius = np.hypot(cosine, sine)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (middle + radius) / np.maximum(middle - radius, 0.0)
    singular = middle <= radius  # 0/0 too, for a density that is a point
    return np.where(singular, np.inf, np.sqrt(ratio))


def contour_tangents(
    target: Float[np.ndarray, "n L 2"],
    valid: Bool[np.ndarray, "n L"],
    edges: tuple[tuple[int, int], ...],
) -> Float[np.ndarray, "n L 2"]:
    """Return the unit tangent `(x, y)` of a contour at each of its landmarks.

    It is the direction from the neighbour before to the neighbour behind. Where one of them is
    missing (an end of an open contour, or not valid), the landmark itself stands in.

    Args:
        target: Landmarks, `(x, y)`.
        valid: True where a landmark's position is known.
        edges: Pairs of neighbours on the contour, open or closed. The tangent points along them
            if they all run one way; else its sign is arbitrary.

    Returns:
        In the frame of `target`; NaN for landmarks off the contour, without a valid neighbour,
        not valid where they have to stand in, or with neighbours at one point.

    Raises:
        ValueError: If a landmark has more than two neighbours, so that the edges are no contour.

    Example:
        >>> corner = np.array([[[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]]])
        >>> contour_tangents(corner, np.ones((1, 3), bool), ((0, 1), (1, 2))).tolist()
        [[[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]]
    """
    before, behind = _neighbours(edges, target.shape[1])
    points = np.where(valid[..., None], target, np.nan).astype(np.float64)
    first, last = (
        np.where(valid[:, index, None], points[:, index], points) for index in (before, behind)
    )
    step = last - first
    # Zero where the landmark stands in for both, and a direction nowhere then.
    length = np.hypot(step[..., 0], step[..., 1])[..., None]
    return np.divide(step, length, out=np.full_like(step, np.nan), where=length > 0)


def axis_angle(
    covariances: Float[np.ndarray, "n L 3"], tangents: Float[np.ndarray, "n L 2"]
) -> Float[np.ndarray, "n L"]:
    """Return the angle between the major axis of each density and a direction, degrees, 0 to 90.

    0 is along the direction, 90 across it. It is 45 on average if the axis knows nothing of the
    direction.

    Args:
        covariances: `(xx, xy, yy)`.
        tangents: Directions `(x, y)`, in the same frame; neither length nor sign matters.

    Returns:
        NaN where the covariance is isotropic, so that it has no major axis, or anything is NaN.

    Example:
        >>> axis_angle(np.array([[[2.5, 1.5, 2.5]]]), np.array([[[-1.0, 0.0]]])).tolist()
        [[45.0]]
    """
    middle, cosine, sine = _parts(covariances)
    axis = 0.5 * np.arctan2(sine, cosine)
    direction = np.arctan2(tangents[..., 1], tangents[..., 0])
    turned = np.degrees(axis - direction)
    angle = np.abs((turned + 90.0) % 180.0 - 90.0)
    # What the sums of squares leave of equal eigenvalues by rounding alone is no axis.
    axial = np.hypot(cosine, sine) > 1e-12 * np.abs(middle)
    directed = (tangents != 0).any(axis=-1)
    return np.where(axial & directed, angle, np.nan)


def _parts(covariances: Float[np.ndarray, "n L 3"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `m`, `r·cos 2φ` and `r·sin 2φ` for eigenvalues `m ± r` and a major axis at φ."""
    xx, xy, yy = np.moveaxis(covariances.astype(np.float64), -1, 0)
    return 0.5 * (xx + yy), 0.5 * (xx - yy), xy


def _neighbours(edges: tuple[tuple[int, int], ...], count: int) -> tuple[list[int], list[int]]:
    """Return the neighbour before and behind each landmark, itself where there is none."""
    before, behind = list(range(count)), list(range(count))
    for start, end in edges:
        # Where edges do not run one way, a landmark's second neighbour takes the free side.
        for index, neighbour, sides in (
            (start, end, (behind, before)),
            (end, start, (before, behind)),
        ):
            free = [side for side in sides if side[index] == index]
            if not free:
                raise ValueError(
                    f"edges must give a landmark two neighbours at most, {index} has 3"
                )
            free[0][index] = neighbour
    return before, behind
