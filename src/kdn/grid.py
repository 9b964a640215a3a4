"""Where things are: regular grids of cells, and affine maps between frames.

This is the only file that knows about half-pixels. Two conventions hold everywhere:

* **Integer pixel centres.** The centre of the first pixel of a picture is `(0, 0)`; the pixel
  covers `[-½, ½] × [-½, ½]`. A picture of width `W` spans `[-½, W - ½]`.
* **Points are `(x, y)`, tensors are `(…, height, width)`.** Event axis `i` of a point therefore
  runs along tensor dimension `-1 - i`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Affine", "Grid", "whole_box"]


@dataclass(frozen=True)
class Grid:
    """A regular grid of cells in one, two or three dimensions, placed in a frame.

    The centre of the cell with index `c` along event axis `i` lies at
    `origin[i] + c · spacing[i]`. Everything that a density says (points, bandwidths, log_prob) is
    in the frame and unit of `origin` and `spacing`.

    Convention: `shape` is in tensor order, `(height, width)`; `origin` and `spacing` are in event
    order, `(x, y)`. `Grid.of_heatmap(height=32, width=48, stride=4)` has shape `(32, 48)` and its
    first cell centre at crop pixel `(1.5, 1.5)`.

    Args:
        shape: Cells per tensor dimension: `(width,)`, `(height, width)` or
            `(depth, height, width)`.
        origin: Centre of the first cell per event axis, `(x,)`, `(x, y)` or `(x, y, z)`.
        spacing: Distance between neighbouring cell centres per event axis, positive.

    Raises:
        ValueError: If the three do not have the same length of 1 to 3, if a shape is not positive,
            or if an origin is not finite or a spacing is not positive and finite.

    Example:
        >>> grid = Grid.of_heatmap(height=2, width=3, stride=4)
        >>> grid.points()[1, 2].tolist()
        [9.5, 5.5]
    """

    shape: tuple[int, ...]
    origin: tuple[float, ...]
    spacing: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.shape) <= 3:
            raise ValueError(f"shape must have 1, 2 or 3 dimensions, got {self.shape}")
        if len(self.origin) != len(self.shape) or len(self.spacing) != len(self.shape):
            raise ValueError(
                f"shape, origin and spacing must have one entry per dimension, got "
                f"{self.shape}, {self.origin} and {self.spacing}"
            )
        if any(int(cells) != cells or cells < 1 for cells in self.shape):
            raise ValueError(f"shape must be positive whole numbers, got {self.shape}")
        if not all(math.isfinite(value) for value in self.origin):
            raise ValueError(f"origin must be finite, got {self.origin}")
        if not all(math.isfinite(value) and value > 0 for value in self.spacing):
            raise ValueError(f"spacing must be positive and finite, got {self.spacing}")

    @classmethod
    def of_heatmap(cls, *, height: int, width: int, stride: float) -> Grid:
        """Return the grid of a heatmap whose cell centres are given in crop pixels.

        `x_crop = (x_cell + ½) · stride − ½`: a cell covers `stride × stride` whole pixels.

        Args:
            height: Rows of the heatmap.
            width: Columns of the heatmap.
            stride: Crop pixels per cell, on both axes.

        Raises:
            ValueError: If a size or the stride is not positive.
        """
        if not (math.isfinite(stride) and stride > 0):
            raise ValueError(f"stride must be positive and finite, got {stride}")
        first = 0.5 * stride - 0.5
        return cls((height, width), (first, first), (float(stride), float(stride)))

    @classmethod
    def of_interval(cls, low: float, high: float, *, step: float) -> Grid:
        """Return a 1-D grid with its cell centres at `low, low + step, …, high` (label units).

        Args:
            low: Centre of the first cell.
            high: Centre of the last cell.
            step: Distance of neighbouring centres; `high − low` must be a multiple of it.

        Raises:
            ValueError: If a bound is not finite, if `step` is not positive, or if `high − low` is
                not a multiple of it.
        """
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"low and high must be finite, got {low} and {high}")
        if not (math.isfinite(step) and step > 0):
            raise ValueError(f"step must be positive and finite, got {step}")
        steps = (high - low) / step
        if steps < 0 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(f"high - low must be a multiple of step, got {low}, {high}, {step}")
        return cls((round(steps) + 1,), (float(low),), (float(step),))

    @classmethod
    def of_volume(
        cls,
        *,
        depth: int,
        height: int,
        width: int,
        spacing: Sequence[float],
        stride: float | Sequence[float] = 1,
    ) -> Grid:
        """Return the grid of a map over a volume, with its cell centres in millimetres, say.

        The centre of the first *voxel* is the origin and voxel `(i, j, k)` lies at
        `(i · sx, j · sy, k · sz)`. Along each axis a cell covers `stride` whole voxels, so that
        its centre is at `((c + ½) · stride − ½) · s`, as in `of_heatmap`.

        Convention: sizes are those of the map, in tensor order; `spacing` and `stride` are in
        event order `(x, y, z)`. Thick slices make `sz` the largest. The bandwidth of a Gaussian
        kernel is in the unit of `spacing` and the same in all directions.

        Args:
            depth: Slices of the map.
            height: Rows of the map.
            width: Columns of the map.
            spacing: Distance of neighbouring *voxels* along x, y and z, in the unit of the labels.
            stride: Voxels per cell, on all axes or along x, y and z; 1 for a network that keeps
                the volume's size.

        Raises:
            ValueError: If a size, a spacing or a stride is not positive, or there are not three.

        Example:
            >>> grid = Grid.of_volume(depth=4, height=5, width=3, spacing=(0.8, 0.8, 2.5))
            >>> grid.points()[3, 1, 2].tolist()  # slice 3, row 1, column 2
            [1.600000023841858, 0.800000011920929, 7.5]
        """
        strides = (stride,) * 3 if isinstance(stride, (int, float)) else tuple(stride)
        if len(spacing) != 3 or len(strides) != 3:
            raise ValueError(
                f"spacing must be three numbers (x, y, z) and stride one or three, got {spacing} "
                f"and {stride}"
            )
        if not all(math.isfinite(step) and step > 0 for step in strides):
            raise ValueError(f"stride must be positive and finite, got {stride}")
        origin = tuple((0.5 * t - 0.5) * s for t, s in zip(strides, spacing, strict=True))
        cells = tuple(float(t * s) for t, s in zip(strides, spacing, strict=True))
        return cls((depth, height, width), origin, cells)

    @cached_property  # asked hundreds of times a face
    def ndim(self) -> int:
        """Number of dimensions, 1 to 3."""
        return len(self.shape)

    @cached_property
    def numel(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @property
    def cell_volume(self) -> float:
        """Length, area or volume of one cell, in the frame's unit to the power of `ndim`."""
        return math.prod(self.spacing)

    @property
    def low(self) -> tuple[float, ...]:
        """Lower edge of the first cell per event axis, half a spacing before its centre."""
        return tuple(o - 0.5 * s for o, s in zip(self.origin, self.spacing, strict=True))

    @property
    def high(self) -> tuple[float, ...]:
        """Upper edge of the last cell per event axis, half a spacing behind its centre."""
        return tuple(
            o + (n - 0.5) * s
            for o, n, s in zip(self.origin, self.shape[::-1], self.spacing, strict=True)
        )

    def centres(
        self, axis: int, *, dtype: torch.dtype | None = None, device: torch.device | None = None
    ) -> Float[Tensor, " cells"]:
        """Return the cell centres along one event axis (0 is x), in the grid's frame.

        Raises:
            ValueError: If the axis does not exist.
        """
        if not 0 <= axis < self.ndim:
            raise ValueError(f"axis must be 0 to {self.ndim - 1}, got {axis}")
        cells = torch.arange(self.shape[-1 - axis], dtype=torch.float64, device=device)
        centres = self.origin[axis] + self.spacing[axis] * cells
        return centres.to(dtype or torch.get_default_dtype())

    def points(
        self, *, dtype: torch.dtype | None = None, device: torch.device | None = None
    ) -> Float[Tensor, ...]:
        """Return every cell centre, `(*shape, ndim)` in event order, in the grid's frame."""
        axes = [self.centres(i, dtype=dtype, device=device) for i in range(self.ndim)]
        mesh = torch.meshgrid(*axes[::-1], indexing="ij")
        return torch.stack(mesh[::-1], dim=-1)

    def to_cells(self, points: Float[Tensor, "*batch ndim"]) -> Float[Tensor, "*batch ndim"]:
        """Return continuous cell indices of points: 0 is the centre of the first cell.

        Raises:
            ValueError: If the points do not have one coordinate per dimension of the grid.
        """
        self._require_ndim("points", points)
        return (points - points.new_tensor(self.origin)) / points.new_tensor(self.spacing)

    def from_cells(self, cells: Float[Tensor, "*batch ndim"]) -> Float[Tensor, "*batch ndim"]:
        """Return the points, in the grid's frame, of continuous cell indices in event order.

        Raises:
            ValueError: If the indices do not have one entry per dimension of the grid.
        """
        self._require_ndim("cells", cells)
        return cells * cells.new_tensor(self.spacing) + cells.new_tensor(self.origin)

    def refine(self, factor: int) -> Grid:
        """Return the grid of `factor` times as many cells per axis over the same area.

        Edges stay where they are, so the first centre moves outwards:
        `origin' = origin − spacing/2 + spacing/(2·factor)`.

        Raises:
            ValueError: If the factor is not a positive whole number.
        """
        if int(factor) != factor or factor < 1:
            raise ValueError(f"factor must be a positive whole number, got {factor}")
        spacing = tuple(s / factor for s in self.spacing)
        origin = tuple(edge + 0.5 * s for edge, s in zip(self.low, spacing, strict=True))
        return Grid(tuple(n * int(factor) for n in self.shape), origin, spacing)

    def _require_ndim(self, name: str, tensor: Tensor) -> None:
        if tensor.shape[-1:] != (self.ndim,):
            raise ValueError(f"{name} must be (…, {self.ndim}), got {tuple(tensor.shape)}")


@dataclass(frozen=True, eq=False)
class Affine:
    """An affine map `x ↦ linear · x + offset` of the plane, or a batch of them.

    A crop is such a map. By habit of this project `crop_to_image` is the map that is kept, and
    `crop_to_image.inverse()` the one that is drawn with.

    Convention: points are `(x, y)` with integer pixel centres. The crop of a picture of 100×100
    pixels to 50×50, `Affine.of_crop(centre=(49.5, 49.5), scale=2, height=50, width=50)`, maps crop
    pixel `(0, 0)` to image pixel `(0.5, 0.5)`: the corner where four image pixels meet.

    Args:
        linear: `(*batch, 2, 2)`.
        offset: `(*batch, 2)`, in the frame that is mapped into.

    Raises:
        ValueError: If the shapes do not fit.
    """

    linear: Float[Tensor, "*batch 2 2"]
    offset: Float[Tensor, "*batch 2"]

    def __post_init__(self) -> None:
        linear, offset = tuple(self.linear.shape), tuple(self.offset.shape)
        if linear[-2:] != (2, 2) or offset != linear[:-1]:
            raise ValueError(
                f"linear must be (*batch, 2, 2) and offset (*batch, 2), got {linear} and {offset}"
            )

    @classmethod
    def of_matrix(cls, matrix: Float[Tensor, "*batch 2 3"] | np.ndarray) -> Affine:
        """Return the map of a `2×3` matrix `[linear | offset]`, OpenCV's form, or of a batch."""
        matrix = torch.as_tensor(matrix)
        return cls(matrix[..., :2], matrix[..., 2])

    @classmethod
    def identity(cls) -> Affine:
        """Return the map that leaves every point where it is."""
        return cls(torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))

    @classmethod
    def flip(cls, width: int) -> Affine:
        """Return the mirror image of a picture of `width` pixels: `x ↦ width − 1 − x`."""
        linear = torch.tensor([[-1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        return cls(linear, torch.tensor([width - 1.0, 0.0], dtype=torch.float64))

    @classmethod
    def of_crop(
        cls,
        *,
        centre: tuple[float, float],
        scale: float,
        height: int,
        width: int,
        rotation: float = 0.0,
        flip: bool = False,
    ) -> Affine:
        """Return the crop → image map of a crop of `height × width` pixels.

        `x_image = centre + scale · R(rotation) · F · (x_crop − ((width − 1)/2, (height − 1)/2))`.

        Args:
            centre: Image point, in image pixels, that the middle of the crop shows.
            scale: Image pixels per crop pixel.
            height: Rows of the crop.
            width: Columns of the crop.
            rotation: Angle in radians by which crop axes are turned in the image, clockwise as
                seen (from x towards y); the crop shows the picture turned the other way.
            flip: Mirror the crop left to right (`F`).

        Raises:
            ValueError: If the scale is not positive and finite.
        """
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be positive and finite, got {scale}")
        cos, sin = scale * math.cos(rotation), scale * math.sin(rotation)
        linear = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
        if flip:
            linear = linear * torch.tensor([-1.0, 1.0], dtype=torch.float64)
        middle = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
        return cls(linear, torch.tensor(centre, dtype=torch.float64) - linear @ middle)

    @property
    def matrix(self) -> Float[Tensor, "*batch 2 3"]:
        """The map as `[linear | offset]`."""
        return torch.cat([self.linear, self.offset.unsqueeze(-1)], dim=-1)

    def points(self, points: Float[Tensor, "*any 2"]) -> Float[Tensor, "*any 2"]:
        """Return points moved into the other frame.

        A batch of maps takes points of shape `(*batch, …, 2)`: the leading dimensions are paired
        with the maps, all further ones share a map. The result has the points' dtype.
        """
        linear, offset = self._paired(points.dim() - 1, points)
        return (linear @ points.unsqueeze(-1)).squeeze(-1) + offset

    def covariances(self, covariances: Float[Tensor, "*any 2 2"]) -> Float[Tensor, "*any 2 2"]:
        """Return covariance matrices moved into the other frame: `A · C · Aᵀ`."""
        linear, _ = self._paired(covariances.dim() - 2, covariances)
        return linear @ covariances @ linear.transpose(-1, -2)

    def log_densities(self, log_prob: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return log-densities per unit area of the other frame: `log p − log|det A|`.

        With `crop_to_image` this turns nats per crop-pixel² into nats per image-pixel². As in
        `points`, the leading dimensions of `log_prob` are paired with the maps.
        """
        log_det = self.log_abs_det().to(log_prob)
        return log_prob - log_det.reshape(self._paired_batch(log_prob.dim(), log_prob))

    def log_abs_det(self) -> Float[Tensor, "*batch"]:
        """Return `log|det A|`, the logarithm of how many times areas grow."""
        return torch.linalg.slogdet(self.linear).logabsdet

    def inverse(self) -> Affine:
        """Return the map back. A map that flattens the plane raises `torch.linalg.LinAlgError`."""
        linear = torch.linalg.inv(self.linear)
        return Affine(linear, -(linear @ self.offset.unsqueeze(-1)).squeeze(-1))

    def compose(self, first: Affine) -> Affine:
        """Return the map that applies `first` and then this one; also written `self @ first`."""
        offset = (self.linear @ first.offset.unsqueeze(-1)).squeeze(-1) + self.offset
        return Affine(self.linear @ first.linear, offset)

    __matmul__ = compose

    def to(self, *args, **kwargs) -> Affine:
        """Return the map with its tensors moved or cast as by `Tensor.to`."""
        return Affine(self.linear.to(*args, **kwargs), self.offset.to(*args, **kwargs))

    def _paired(self, leading: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return linear and offset with singleton dimensions put in to pair with `like`."""
        batch = self._paired_batch(leading, like)
        linear = self.linear.to(like).reshape(*batch, 2, 2)
        return linear, self.offset.to(like).reshape(*batch, 2)

    def _paired_batch(self, leading: int, like: Tensor) -> tuple[int, ...]:
        """Return the batch's shape with 1s behind it, as many as make `leading` dimensions."""
        batch = tuple(self.offset.shape[:-1])
        if len(batch) > leading:
            raise ValueError(
                f"a batch of maps {batch} needs at least as many leading dimensions, "
                f"got shape {tuple(like.shape)}"
            )
        return (*batch, *(1,) * (leading - len(batch)))


def whole_box(picture: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the box of a whole picture, from edge to edge: `(−½, −½, W − ½, H − ½)`.

    Args:
        picture: Height and width, image pixels.

    Example:
        >>> whole_box((180, 300))
        (-0.5, -0.5, 299.5, 179.5)
    """
    height, width = picture
    return -0.5, -0.5, width - 0.5, height - 0.5
