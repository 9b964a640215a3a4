"""What densities accept: shapes and precision, and on request values, of parameters and points."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density.kernels import Kernel
from kdn.grid import Grid

__all__ = [
    "at_least_single",
    "batch_of_logits",
    "check_values",
    "fit_bandwidth",
    "fit_offsets",
    "full_precision",
    "indexed",
    "levels_within",
    "points_batch",
]


def at_least_single(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or as it is if it is float64."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def full_precision(device: torch.device) -> AbstractContextManager:
    """Return a context in which matrix products keep the dtype of their inputs.

    `torch.autocast` would run them in bfloat16, which has no more than three digits.
    """
    available = torch.amp.is_autocast_available(device.type)
    if available and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def batch_of_logits(logits: Tensor, grid: Grid) -> torch.Size:
    """Return the leading dimensions of the logits.

    Raises:
        ValueError: If the logits do not fit the grid.
    """
    leading = logits.dim() - grid.ndim
    if leading < 0 or tuple(logits.shape[leading:]) != tuple(grid.shape):
        raise ValueError(
            f"logits must have shape (*batch, {', '.join(map(str, grid.shape))}) to fit the "
            f"grid, got {tuple(logits.shape)}"
        )
    return logits.shape[:leading]


def fit_bandwidth(
    bandwidth: float | Tensor | None, kernel: Kernel, logits: Tensor, batch: torch.Size
) -> Tensor | None:
    """Return the bandwidth as a tensor of the batch shape or of the logits' shape.

    Raises:
        ValueError: If it is missing, not wanted, not positive, or of a shape that does not fit.
    """
    if kernel.fills_cell:
        if bandwidth is not None:
            raise ValueError(
                f"bandwidth must not be given for {kernel.name} kernels, which are one cell wide, "
                f"got {bandwidth}"
            )
        return None
    if bandwidth is None:
        raise ValueError(
            f"bandwidth must be given for {kernel.name.capitalize()} kernels, in the grid's unit"
        )
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
    shape = tuple(bandwidth.shape)
    aligned = zip(shape[::-1], batch[::-1], strict=False)
    if len(shape) > len(batch) or any(size not in (1, count) for size, count in aligned):
        raise ValueError(
            f"bandwidth must be broadcastable to the batch shape {tuple(batch)} or have the "
            f"logits' shape {tuple(logits.shape)}, got {shape}"
        )
    return bandwidth.expand(batch)


def fit_offsets(
    offsets: Tensor | None, kernel: Kernel, logits: Tensor, grid: Grid, batch: torch.Size
) -> Tensor | None:
    """Return the offsets in the logits' dtype.

    Raises:
        ValueError: If kernels fill their cells, or the shape is not `(*batch, ndim, *grid.shape)`.
    """
    if offsets is None:
        return None
    if kernel.fills_cell:
        raise ValueError(f"offsets must not be given for {kernel.name} kernels, which are cells")
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
    shape = points.shape[:leading]
    if shape == batch:  # as in training, where the general way costs more than the matrix products
        return batch
    aligned = zip(shape[::-1], batch[::-1], strict=False)
    if any(1 not in (size, count) and size != count for size, count in aligned):
        raise ValueError(
            f"points must have a shape that broadcasts with batch {tuple(batch)} and event "
            f"{tuple(event)}, got {tuple(points.shape)}"
        )
    return torch.broadcast_shapes(shape, batch)


def levels_within(
    level: float | Float[Tensor, "*any"], batch: torch.Size, device: torch.device
) -> Float[Tensor, "*any"]:
    """Return levels as a float64 tensor.

    Raises:
        ValueError: If one is not within 0 to 1, or they do not broadcast to `(*sample, *batch)`.
    """
    levels = torch.as_tensor(level, dtype=torch.float64, device=device).detach()
    if not bool(((levels >= 0) & (levels <= 1)).all()):
        raise ValueError(f"level must be 0 to 1, got {level}")
    try:
        shape = torch.broadcast_shapes(levels.shape, batch)
    except RuntimeError:
        shape = None
    if shape is None or shape[len(shape) - len(batch) :] != batch:
        raise ValueError(
            f"level must be a number or of a shape that broadcasts to (*sample, "
            f"{', '.join(map(str, batch))}), got {tuple(levels.shape)}"
        )
    return levels


def indexed(tensor: Tensor, index: Any, inner: int) -> Tensor:
    """Return `tensor[index]`, with the index over all dimensions but the last `inner` ones."""
    index = index if isinstance(index, tuple) else (index,)
    if not any(entry is ... for entry in index):
        index = (*index, ...)
    return tensor[(*index, *(slice(None),) * inner)]
