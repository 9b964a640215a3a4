"""What a `KernelDensity` accepts: shapes, and on request values, of its parameters and points."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdn.grid import Grid

__all__ = ["batch_of_logits", "check_values", "fit_bandwidth", "fit_offsets", "points_batch"]

KERNELS = ("gaussian", "uniform")


def batch_of_logits(logits: Tensor, grid: Grid, kernel: str) -> torch.Size:
    """Return the leading dimensions of the logits.

    Raises:
        ValueError: If the logits do not fit the grid, or there is no such kernel.
    """
    leading = logits.dim() - grid.ndim
    if leading < 0 or tuple(logits.shape[leading:]) != tuple(grid.shape):
        raise ValueError(
            f"logits must have shape (*batch, {', '.join(map(str, grid.shape))}) to fit the "
            f"grid, got {tuple(logits.shape)}"
        )
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, got {kernel!r}")
    return logits.shape[:leading]


def fit_bandwidth(
    bandwidth: float | Tensor | None, kernel: str, logits: Tensor, batch: torch.Size
) -> Tensor | None:
    """Return the bandwidth as a tensor of the batch shape or of the logits' shape.

    Raises:
        ValueError: If it is missing, not wanted, not positive, or of a shape that does not fit.
    """
    if kernel == "uniform":
        if bandwidth is not None:
            raise ValueError(
                f"bandwidth must not be given for uniform kernels, which are one cell wide, "
                f"got {bandwidth}"
            )
        return None
    if bandwidth is None:
        raise ValueError("bandwidth must be given for Gaussian kernels, in the grid's unit")
    if not isinstance(bandwidth, Tensor):
        if not (math.isfinite(bandwidth) and bandwidth > 0):
            raise ValueError(f"bandwidth must be positive and finite, got {bandwidth}")
        return logits.new_full((), bandwidth).expand(batch)
    bandwidth = bandwidth.to(logits)
    cheap = bandwidth.device.type == "cpu" and bandwidth.dim() <= len(batch)
    if (
        cheap
        and not torch.compiler.is_compiling()
        and not bool(((bandwidth > 0) & bandwidth.isfinite()).all())
    ):
        raise ValueError(
            f"bandwidth must be positive and finite, got {float(bandwidth.min())} among others"
        )
    if bandwidth.shape == logits.shape:
        return bandwidth
    given = tuple(bandwidth.shape)
    aligned = zip(given[::-1], batch[::-1], strict=False)
    if len(given) > len(batch) or any(size not in (1, count) for size, count in aligned):
        raise ValueError(
            f"bandwidth must be broadcastable to the batch shape {tuple(batch)} or have the "
            f"logits' shape {tuple(logits.shape)}, got {given}"
        )
    return bandwidth.expand(batch)


def fit_offsets(
    offsets: Tensor | None, kernel: str, logits: Tensor, grid: Grid, batch: torch.Size
) -> Tensor | None:
    """Return the offsets in the logits' dtype.

    Raises:
        ValueError: If the kernel is uniform, or the shape is not `(*batch, ndim, *grid.shape)`.
    """
    if offsets is None:
        return None
    if kernel == "uniform":
        raise ValueError("offsets must not be given for uniform kernels, which are the cells")
    expected = (*batch, grid.ndim, *grid.shape)
    if tuple(offsets.shape) != expected:
        raise ValueError(f"offsets must have shape {expected}, got {tuple(offsets.shape)}")
    return offsets.to(logits)


def check_values(
    logits: Tensor, grid: Grid, bandwidth: Tensor | None, offsets: Tensor | None
) -> None:
    """Raise if a parameter has values that no density can have; this waits for a GPU.

    Raises:
        ValueError: If so, naming the parameter.
    """
    cells = logits.flatten(-grid.ndim)
    if bool((cells.isnan() | (cells == math.inf)).any()):
        raise ValueError("logits must be finite or -inf, got NaN or +inf")
    if bool((cells == -math.inf).all(-1).any()):
        raise ValueError("logits must be finite in at least one cell of each map, got all -inf")
    if bandwidth is not None and not bool((bandwidth.isfinite() & (bandwidth > 0)).all()):
        raise ValueError("bandwidth must be positive and finite, got values that are not")
    if offsets is not None and not bool(offsets.isfinite().all()):
        raise ValueError("offsets must be finite, got values that are not")


def points_batch(points: Tensor, event: torch.Size, batch: torch.Size) -> torch.Size:
    """Return the shape `sample_shape + batch_shape` that points broadcast to.

    Raises:
        ValueError: If the points do not end in the event shape or do not broadcast.
    """
    leading = points.dim() - len(event)
    if leading < 0 or points.shape[leading:] != event:
        raise ValueError(
            f"points must have shape (*sample, *batch, {', '.join(map(str, event))}) with batch "
            f"{tuple(batch)}, got {tuple(points.shape)}"
        )
    given = points.shape[:leading]
    if given == batch:  # as in training, where the general way costs more than the matrix products
        return batch
    aligned = zip(given[::-1], batch[::-1], strict=False)
    if any(1 not in (size, count) and size != count for size, count in aligned):
        raise ValueError(
            f"points must have a shape that broadcasts with batch {tuple(batch)} and event "
            f"{tuple(event)}, got {tuple(points.shape)}"
        )
    return torch.broadcast_shapes(given, batch)
