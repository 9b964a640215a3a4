"""The boundary of a face as a map and as a curve, from the densities of the landmarks along it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from kdn.density import KernelDensity
from kdn.grid import Grid

__all__ = ["Boundary", "boundary_map", "contour_curve", "ridge"]

_SAMPLES = 16
"""Of the curve on each piece between two landmarks, before it is cut into equal steps."""

_PER_CELL = 4
"""Readings across the curve for each cell."""


class Boundary(NamedTuple):
    """Where the boundary may pass.

    Convention: points are `(x, y)` in the frame of the grid.

    Attributes:
        probs: `(batch, *grid.shape)`, probability that the boundary passes through each cell.
        grid: The cells.
        curve: `(batch, points, 2)`, the curve through the landmarks' means, in equal steps.
    """

    probs: Float[Tensor, "batch rows columns"]
    grid: Grid
    curve: Float[Tensor, "batch points 2"]


def contour_curve(
    points: Float[Tensor, "batch contour 2"], steps: int
) -> Float[Tensor, "batch steps 2"]:
    """Return points in equal steps on the smooth curve through points in order.

    Between two points it is Catmull and Rom's cubic, whose tangent at a point is that from the
    point before to the point after; beyond the ends it goes on straight.

    Args:
        points: In the order of the contour, at least two.
        steps: Points wanted, both ends included; at least two.

    Raises:
        ValueError: If there are fewer than two points or steps.

    Example:
        >>> line = torch.tensor([[[0.0, 0.0], [4.0, 0.0], [8.0, 0.0]]])
        >>> contour_curve(line, 5)[0, :, 0].round(decimals=4).tolist()
        [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if points.shape[1] < 2 or steps < 2:
        raise ValueError(
            f"points and steps must be at least 2, got {points.shape[1]} points and {steps} steps"
        )
    return _interpolated(_spline(points), _arc(_spline(points)), steps)


def boundary_map(density: KernelDensity, contour: Sequence[int], *, refine: int = 1) -> Boundary:
    """Return the probability of each cell that the boundary passes through it.

    The contour is a row of points `j`, one cell apart along the curve through the landmarks' means.
    A point a share `t` of the way from landmark `k` to the next has the density
    `(1 − t) p_k + t p_k+1`, each moved so that its mean lies on the curve there: between landmarks
    the boundary is as uncertain as at them, and as elongated. With the mass `m_j(c)` of cell `c`,

        probs(c) = 1 − Π_j (1 − m_j(c)),

    the probability that at least one point lies in the cell, if the points err independently. They
    do not, but as each of them has little of its mass in one cell it makes little difference: both
    are near `Σ_j m_j(c)`, the expected length of boundary in the cell, in cells. A boundary known
    to a cell has 1 along it; one that may lie anywhere across `w` cells has about `1/w` in each.

    A moved density's masses are interpolated linearly between cells. No gradient.

    Args:
        density: Batch `(batch, landmarks)`, on a 2-D grid.
        contour: Indices of the landmarks along the boundary, in order.
        refine: Cells of the result per cell of the density's grid along each axis.

    Raises:
        ValueError: If the density has another batch shape or no grid of the plane, or the contour
            has fewer than two landmarks or one that does not exist.

    Example:
        >>> logits = torch.full((1, 2, 5, 9), -torch.inf)
        >>> logits[0, 0, 2, 1] = logits[0, 1, 2, 7] = 0.0  # two landmarks that are known exactly
        >>> grid = Grid.of_heatmap(height=5, width=9, stride=1)
        >>> found = boundary_map(KernelDensity(logits, grid, kernel="uniform"), (0, 1))
        >>> found.probs[0, 2].round(decimals=4).tolist()
        [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    """
    shape = tuple(density.batch_shape)
    if not isinstance(density, KernelDensity) or density.grid.ndim != 2 or len(shape) != 2:
        raise ValueError(f"density must have a 2-D grid and batch (batch, landmarks), got {shape}")
    if len(contour) < 2 or not all(0 <= i < shape[1] for i in contour):
        raise ValueError(
            f"contour must be at least two of the landmarks 0 to {shape[1] - 1}, got {contour}"
        )
    grid = density.grid.refine(refine)
    index = torch.tensor(contour, device=density.raw_logits.device)
    with torch.no_grad():
        masses = density.cell_masses(refine)[:, index]
        means = density.mean[:, index]
        fine = _spline(means)
        arc = _arc(fine)
        steps = int((arc[:, -1].max() / min(grid.spacing)).ceil()) + 1
        steps = max(steps, len(contour))
        curve = _interpolated(fine, arc, steps)
        where = _pieces(arc, steps, len(contour))
        probs = torch.stack(
            [_passed(*each, grid) for each in zip(masses, means, curve, where, strict=True)]
        )
    return Boundary(probs, grid, curve)


def ridge(boundary: Boundary, *, reach: float) -> Float[Tensor, "batch points 2"]:
    """Return the crest of a boundary map, beside each point of its curve.

    Along the normal of the curve the map is read every quarter of a cell, linearly interpolated.
    The crest is the path of offsets `o_i` that is highest for its roughness,
    `Σ_i log probs(o_i) − ½ Σ_i (o_i − o_{i−1})² / cell²`, found by dynamic programming, and then
    moved to the vertex of the parabola through the readings there and a cell to either side, by no
    more than half a cell.

    Args:
        boundary: From `boundary_map`.
        reach: How far from the curve to look, in the grid's unit.

    Raises:
        ValueError: If the reach is not positive.
    """
    if not reach > 0:
        raise ValueError(f"reach must be positive, got {reach}")
    grid, curve = boundary.grid, boundary.curve
    cell = min(grid.spacing)
    count = max(1, int(_PER_CELL * reach / cell + 1e-9))
    offsets = cell / _PER_CELL * torch.arange(-count, count + 1).to(curve)
    normals = _normals(curve)
    places = curve.unsqueeze(-2) + offsets.unsqueeze(-1) * normals.unsqueeze(-2)
    values = _sampled(boundary.probs, places, grid).clamp(min=1e-12).log()
    best = _smoothest(values, offsets / cell)
    moved = offsets[best] + cell * _vertex(values, best)
    return curve + moved.clamp(-reach, reach).unsqueeze(-1) * normals


def _spline(points: Float[Tensor, "batch contour 2"]) -> Float[Tensor, "batch fine 2"]:
    """Return `_SAMPLES` points on each piece of the curve, and its end."""
    first, last = points[:, :1], points[:, -1:]
    before = 2 * first - points[:, 1:2]
    after = 2 * last - points[:, -2:-1]
    padded = torch.cat([before, points, after], 1)
    p0, p1, p2, p3 = (padded[:, i : padded.shape[1] - 3 + i, None] for i in range(4))
    t = (torch.arange(_SAMPLES).to(points) / _SAMPLES).unsqueeze(-1)
    pieces = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return torch.cat([pieces.flatten(1, 2), last], 1)


def _arc(fine: Float[Tensor, "batch fine 2"]) -> Float[Tensor, "batch fine"]:
    """Return the length of the curve up to each of its points."""
    steps = (fine[:, 1:] - fine[:, :-1]).norm(dim=-1)
    return torch.cat([steps.new_zeros(len(steps), 1), steps.cumsum(1)], 1)


def _at(arc: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Return the piece of the fine curve that each equal step falls on, and the share of it."""
    wanted = arc[:, -1:] * torch.linspace(0, 1, steps).to(arc)
    left = (torch.searchsorted(arc, wanted, right=True) - 1).clamp(0, arc.shape[1] - 2)
    low, high = arc.gather(1, left), arc.gather(1, left + 1)
    return left, ((wanted - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)


def _interpolated(fine: Tensor, arc: Tensor, steps: int) -> Float[Tensor, "batch steps 2"]:
    left, share = _at(arc, steps)
    ends = (fine.gather(1, (left + i).unsqueeze(-1).expand(-1, -1, 2)) for i in (0, 1))
    low, high = ends
    return low + share.unsqueeze(-1) * (high - low)


def _pieces(arc: Tensor, steps: int, landmarks: int) -> Float[Tensor, "batch steps"]:
    """Return how many landmarks along each equal step is, a fraction between landmarks."""
    left, share = _at(arc, steps)
    return ((left + share) / _SAMPLES).clamp(0, landmarks - 1)


def _passed(
    masses: Float[Tensor, "contour rows columns"],
    means: Float[Tensor, "contour 2"],
    curve: Float[Tensor, "steps 2"],
    where: Float[Tensor, " steps"],
    grid: Grid,
) -> Float[Tensor, "rows columns"]:
    """Return the probability that any of the points on the curve lies in each cell."""
    first = where.floor().long().clamp(max=len(means) - 2)
    share = (where - first).reshape(-1, 1, 1)
    near = _moved(masses[first], curve - means[first], grid)
    far = _moved(masses[first + 1], curve - means[first + 1], grid)
    mass = ((1 - share) * near + share * far).clamp(0, 1)
    return 1 - (1 - mass).prod(0)


def _moved(
    maps: Float[Tensor, "maps rows columns"], shift: Float[Tensor, "maps 2"], grid: Grid
) -> Float[Tensor, "maps rows columns"]:
    """Return maps moved by a shift in the grid's unit, linear between cells, nothing outside."""
    rows, columns = grid.shape
    centres = grid.points(dtype=maps.dtype, device=maps.device)
    places = centres - shift[:, None, None]
    return _sampled(maps, places, grid).reshape(len(maps), rows, columns)


def _sampled(
    maps: Float[Tensor, "maps rows columns"], places: Float[Tensor, "maps up across 2"], grid: Grid
) -> Float[Tensor, "maps up across"]:
    """Return maps at places in the grid's frame, linear between the centres of cells."""
    low, high = places.new_tensor(grid.low), places.new_tensor(grid.high)
    unit = 2 * (places - low) / (high - low) - 1  # −1 and 1 are the outer edges of the map
    return F.grid_sample(
        maps.unsqueeze(1), unit.to(maps), mode="bilinear", padding_mode="zeros", align_corners=False
    ).squeeze(1)


def _normals(curve: Float[Tensor, "batch points 2"]) -> Float[Tensor, "batch points 2"]:
    """Return unit vectors across the curve."""
    along = torch.zeros_like(curve)
    along[:, 1:-1] = curve[:, 2:] - curve[:, :-2]
    along[:, 0] = curve[:, 1] - curve[:, 0]
    along[:, -1] = curve[:, -1] - curve[:, -2]
    along = along / along.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return torch.stack([-along[..., 1], along[..., 0]], -1)


def _vertex(
    values: Float[Tensor, "batch points offsets"], best: Int[Tensor, "batch points"]
) -> Float[Tensor, "batch points"]:
    """Return where a parabola through three readings is highest, in cells from the middle one."""
    last = values.shape[-1] - 1
    low, here, high = (
        values.gather(-1, (best + step).clamp(0, last).unsqueeze(-1)).squeeze(-1)
        for step in (-_PER_CELL, 0, _PER_CELL)
    )
    bend = 2 * here - low - high
    inside = (best >= _PER_CELL) & (best <= last - _PER_CELL) & (bend > 0)
    vertex = 0.5 * (high - low) / torch.where(inside, bend, 1.0)
    return torch.where(inside, vertex.clamp(-0.5, 0.5), 0.0)


def _smoothest(
    values: Float[Tensor, "batch points offsets"], offsets: Float[Tensor, " offsets"]
) -> Tensor:
    """Return the path of offsets of the highest sum of values less half its squared steps."""
    cost = 0.5 * (offsets - offsets.unsqueeze(-1)).square()  # (from, to)
    total, came = values[:, 0], []
    for step in range(1, values.shape[1]):
        reached, origin = (total.unsqueeze(-1) - cost).max(1)
        came.append(origin)
        total = reached + values[:, step]
    path = [total.argmax(-1)]
    for origin in reversed(came):
        path.append(origin.gather(1, path[-1].unsqueeze(-1)).squeeze(-1))
    return torch.stack(path[::-1], 1)
