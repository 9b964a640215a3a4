"""The share of one kernel that a disc, an interval or a ball holds."""

from __future__ import annotations

import math
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "REACH",
    "ball_share",
    "box_share",
    "cell_share",
    "ellipse_share",
    "ellipsoid_share",
    "round_share",
]

REACH = 6.5
"""Standard deviations beyond which a Gaussian kernel counts as wholly inside or outside."""

_ROUND_NODES, _ELLIPSE_NODES, _SLICES, _BOX_SLICES = 12, 128, 128, 12

_ELEMENTS = 1 << 21


def round_share(
    distance: Float[Tensor, " some"],
    bandwidth: Float[Tensor, " some"],
    radius: Float[Tensor, " some"],
) -> Float[Tensor, " some"]:
    """Return what a disc holds of round Gaussians, `1 − Q₁(distance/bandwidth, radius/bandwidth)`.

    `Q₁` is Marcum's function, the tail of a noncentral χ² of two degrees of freedom. By quadrature
    of the density of the distance, `v exp(−(v² + a²)/2) I₀(v a)`; the error is below 1e-7.

    Args:
        distance: From the centre of the disc to that of the Gaussian.
        bandwidth: Standard deviation.
        radius: Of the disc, above 0.

    Example:
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> round(round_share(0 * one, one, 2 * one).item(), 9)  # 1 − exp(−2)
        0.864664717
    """
    x, weights = (part.to(radius) for part in _legendre(_ROUND_NODES))
    found = torch.empty_like(radius)
    for part in torch.arange(len(radius), device=radius.device).split(_ELEMENTS // len(x)):
        a, b = distance[part] / bandwidth[part], radius[part] / bandwidth[part]
        inside = a >= b  # the shorter side of the radius that is asked for
        low = torch.where(inside, (a - REACH).clamp(min=0.0), b)
        half = 0.5 * (torch.where(inside, b, a + REACH) - low).clamp(min=0.0)
        v = low.unsqueeze(-1) + half.unsqueeze(-1) * (x + 1.0)
        a = a.unsqueeze(-1)
        values = v * torch.exp(-0.5 * (v - a).square()) * torch.special.i0e(v * a)
        share = half * (values @ weights)
        found[part] = torch.where(inside, share, 1.0 - share)
    return found.clamp(0.0, 1.0)


def ellipse_share(
    offset: Float[Tensor, "some 2"],
    deviations: Float[Tensor, "some 2"],
    radius: Float[Tensor, " some"],
) -> Float[Tensor, " some"]:
    """Return what a disc holds of Gaussians along the axes of the frame.

    Along the shorter axis by quadrature, along the longer one in closed form; the error is below
    1e-7 for discs of up to a thousand times the smaller standard deviation.

    Args:
        offset: From the centre of the disc to the mean.
        deviations: Standard deviations along both axes, the larger one first.
        radius: Of the disc, above 0.
    """
    x, weights = (part.to(radius) for part in _legendre(_ELLIPSE_NODES))
    found = torch.empty_like(radius)
    for part in torch.arange(len(radius), device=radius.device).split(_ELEMENTS // len(x)):
        (a, b), (long, short) = offset[part].unbind(-1), deviations[part].unbind(-1)
        r = radius[part]
        # v = r sin θ: the ends of the chords, ±r cos θ, are smooth in θ, and not in v.
        low = ((b - REACH * short) / r).clamp(-1.0, 1.0).asin()
        high = ((b + REACH * short) / r).clamp(-1.0, 1.0).asin()
        angle = low.unsqueeze(-1) + 0.5 * (high - low).unsqueeze(-1) * (x + 1.0)
        half = r.unsqueeze(-1) * angle.cos()
        v = (r.unsqueeze(-1) * angle.sin() - b.unsqueeze(-1)) / short.unsqueeze(-1)
        a, long = a.unsqueeze(-1), long.unsqueeze(-1)
        chord = torch.special.ndtr((half - a) / long) - torch.special.ndtr((-half - a) / long)
        values = half * torch.exp(-0.5 * v.square()) * chord
        scale = 0.5 * (high - low) / (math.sqrt(2.0 * math.pi) * short)
        found[part] = (values @ weights) * scale
    return found.clamp(0.0, 1.0)


@cache
def _legendre(nodes: int) -> tuple[Tensor, Tensor]:
    """Return nodes and weights of Gauss and Legendre's quadrature over [−1, 1], in float64.

    Eigenvalues of the Jacobi matrix of the polynomials (Golub and Welsch, 1969).
    """
    k = torch.arange(1, nodes, dtype=torch.float64)
    beside = k / (4.0 * k.square() - 1.0).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return values, 2.0 * vectors[0].square()


def ball_share(
    distance: Float[Tensor, " some"],
    bandwidth: Float[Tensor, " some"],
    radius: Float[Tensor, " some"],
    ndim: int,
) -> Float[Tensor, " some"]:
    """Return what an interval (`ndim` 1) or a ball (3) holds of Gaussians, in closed form.

    Args:
        distance: From its centre to that of the Gaussian.
        bandwidth: Standard deviation.
        radius: Half the interval's length, or the ball's radius.
        ndim: 1 or 3.

    Example:
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> round(ball_share(0 * one, one, one, 1).item(), 6)
        0.682689
    """
    a, b = distance / bandwidth, radius / bandwidth
    share = torch.special.ndtr(b - a) - torch.special.ndtr(-b - a)
    if ndim == 3:
        normal = lambda x: torch.exp(-0.5 * x.square()) / math.sqrt(2.0 * math.pi)  # noqa: E731
        small = a < 1e-4  # where the difference cancels; its limit errs by a² / 6
        safe = torch.where(small, torch.ones_like(a), a)
        slope = (normal(b - safe) - normal(b + safe)) / safe
        share = share - torch.where(small, 2.0 * b * normal(b), slope)
    return share.clamp(0.0, 1.0)


def ellipsoid_share(
    offset: Float[Tensor, "some 3"],
    deviations: Float[Tensor, "some 3"],
    radius: Float[Tensor, " some"],
) -> Float[Tensor, " some"]:
    """Return what a ball holds of Gaussians along the axes of the frame.

    Slices across the shortest axis are discs, each with its share of an ellipse; these are summed
    by quadrature as in `ellipse_share`, with an error of its size.

    Args:
        offset: From the centre of the ball to the mean.
        deviations: Standard deviations along the three axes, the largest first.
        radius: Of the ball, above 0.
    """
    x, weights = (part.to(radius) for part in _legendre(_SLICES))
    found = torch.empty_like(radius)
    for part in torch.arange(len(radius), device=radius.device).split(_ELEMENTS // len(x)):
        (c, short), r = (offset[part, 2], deviations[part, 2]), radius[part]
        low = ((c - REACH * short) / r).clamp(-1.0, 1.0).asin()
        high = ((c + REACH * short) / r).clamp(-1.0, 1.0).asin()
        angle = low.unsqueeze(-1) + 0.5 * (high - low).unsqueeze(-1) * (x + 1.0)
        # At ±90° a disc has no radius and its slice no thickness, whatever stands for it.
        disc = (r.unsqueeze(-1) * angle.cos()).clamp(min=torch.finfo(r.dtype).tiny)
        z = (r.unsqueeze(-1) * angle.sin() - c.unsqueeze(-1)) / short.unsqueeze(-1)
        shape = (*angle.shape, 2)
        across = ellipse_share(
            offset[part, None, :2].expand(shape).flatten(0, 1),
            deviations[part, None, :2].expand(shape).flatten(0, 1),
            disc.flatten(),
        )
        values = disc * torch.exp(-0.5 * z.square()) * across.view_as(disc)
        found[part] = (values @ weights) * 0.5 * (high - low) / (math.sqrt(2.0 * math.pi) * short)
    return found.clamp(0.0, 1.0)


def box_share(
    offset: Float[Tensor, "some 3"], half: Float[Tensor, "some 3"], radius: Float[Tensor, " some"]
) -> Float[Tensor, " some"]:
    """Return the share of boxes along the axes that lies in a ball about the origin.

    Slices across the third axis are discs and rectangles, whose common area is exact. It is smooth
    between the heights where the circle touches a side or passes a corner; between those the slices
    are summed by quadrature, with nodes that crowd at both ends. The error is below 1e-7.

    Args:
        offset: From the centre of the ball to that of the box.
        half: Half the sides of the box.
        radius: Of the ball, above 0.

    Example:
        >>> box = torch.tensor([[1.0, 1.0, 1.0]], dtype=torch.float64)  # an octant of the ball
        >>> round(box_share(box, box, torch.tensor([2.0]).double()).item(), 6)  # (π/6 · 8) / 8
        0.523599
    """
    x, weights = (part.to(radius) for part in _legendre(_BOX_SLICES))
    x, weights = 0.5 * x * (3.0 - x.square()), weights * 1.5 * (1.0 - x.square())
    found = torch.empty_like(radius)
    for part in torch.arange(len(radius), device=radius.device).split(_ELEMENTS // 256):
        if not len(part):
            break
        centre, side, r = offset[part], half[part], radius[part].unsqueeze(-1)
        cuts = _heights_between(centre, side, r)
        middle, width = 0.5 * (cuts[:, 1:] + cuts[:, :-1]), 0.5 * cuts.diff(dim=1)
        z = middle.unsqueeze(-1) + width.unsqueeze(-1) * x  # (some, pieces, nodes)
        squared = r.unsqueeze(-1).square() - z.square()
        disc = squared.clamp(min=torch.finfo(squared.dtype).tiny).sqrt().flatten()
        corners = centre[:, None, :2] + side[:, None, :2] * side.new_tensor(_CORNERS)
        corners = corners.repeat_interleave(z[0].numel(), 0)
        area = cell_share(corners, disc).view_as(z)  # in units of the rectangle
        found[part] = ((area @ weights) * width).sum(1) / (2.0 * side[:, 2])
    return found.clamp(0.0, 1.0)


_CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))


def _heights_between(centre: Tensor, side: Tensor, radius: Tensor) -> Tensor:
    """Return in order the heights between which the common area of slices is smooth."""
    edges = torch.cat([centre - side, centre + side], 1)  # (some, 6)
    low = torch.maximum(edges[:, 2:3], -radius)
    high = torch.minimum(edges[:, 5:6], radius)
    x, y = edges[:, [0, 3]].square(), edges[:, [1, 4]].square()
    squares = torch.cat([x, y, (x.unsqueeze(2) + y.unsqueeze(1)).flatten(1)], 1)
    height = (radius.square() - squares).clamp(min=0.0).sqrt()
    cuts = torch.cat([low, -height, height, high], 1)
    # Where the ball does not reach the box, `high` is below `low`, and all pieces are empty.
    return torch.minimum(torch.maximum(cuts, low), torch.maximum(low, high)).sort(1).values


def cell_share(
    corners: Float[Tensor, "some 4 2"], radius: Float[Tensor, " some"]
) -> Float[Tensor, " some"]:
    """Return the share of parallelograms that lies in a disc about the origin, exactly.

    The area shared is the sum over the edges of that of the disc and the triangle of the edge and
    the origin: two sectors and, between the points where the edge crosses the circle, a triangle.

    Args:
        corners: In order around each.
        radius: Of the disc, above 0.

    Example:
        >>> square = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]]])
        >>> round(cell_share(square, torch.tensor([1.0])).item(), 6)  # π/4 of 4
        0.19635
    """
    first, second = corners, corners.roll(-1, dims=-2)
    along = second - first
    squared = along.square().sum(-1)
    half = (first * along).sum(-1) / squared
    rest = half.square() - (first.square().sum(-1) - radius.square().unsqueeze(-1)) / squared
    root = rest.clamp(min=0.0).sqrt()
    enters = first + (-half - root).clamp(0.0, 1.0).unsqueeze(-1) * along
    leaves = first + (-half + root).clamp(0.0, 1.0).unsqueeze(-1) * along
    sectors = _angle(first, enters) + _angle(leaves, second)
    areas = 0.5 * (radius.square().unsqueeze(-1) * sectors + _cross(enters, leaves))
    whole = 0.5 * _cross(first, second).sum(-1)
    return (areas.sum(-1) / whole).clamp(0.0, 1.0)


def _cross(one: Tensor, other: Tensor) -> Tensor:
    return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]


def _angle(one: Tensor, other: Tensor) -> Tensor:
    """Return the angle from one vector to another, −π to π."""
    return torch.atan2(_cross(one, other), (one * other).sum(-1))
