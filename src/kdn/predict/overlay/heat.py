"""Where the densities of a face are, as one picture of levels."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density import Density, KernelDensity, MappedDensity
from kdn.grid import Affine, Grid
from kdn.predict.boundary import boundary_map
from kdn.predict.results import Face

__all__ = ["boundary_of", "heat_of"]

_CONTOURS = ("jaw", "contour")
"""Groups of a mark-up whose landmarks lie along the boundary of the face, in order."""

_SAMPLES = 96  # along the longer side, of a density that has no cells


def heat_of(
    density: Density,
    corner: Float[np.ndarray, "2"],
    *,
    height: int,
    width: int,
) -> Float[np.ndarray, "height width"]:
    """Return how far within the densities each pixel lies, the most of all landmarks.

    For one landmark it is `1 −` the mass that lies denser than the pixel: 1 at the mode, above 0.1
    in the region of highest density that holds 90 % of the mass, whatever the shape of the density.
    Where the density has cells, mass outside of them does not count, and nothing is there.

    Args:
        density: Batch shape `(L,)`, in image pixels.
        corner: First pixel `(x, y)` of the part of the image that is asked for.
        height: Rows of that part.
        width: Columns of that part.
    """
    if isinstance(density, MappedDensity) and isinstance(density.density, KernelDensity):
        return _of_cells(density.density, density.affine, corner, height, width)
    return _of_points(density, corner, height, width)


def boundary_of(
    face: Face, corner: Float[np.ndarray, "2"], *, height: int, width: int
) -> tuple[Float[np.ndarray, "height width"], Float[np.ndarray, "points 2"]]:
    """Return the probability that the boundary passes at each pixel, and the curve, image pixels.

    Args:
        face: Of a mark-up with a group `jaw` or `contour`, and with densities on a grid.
        corner: As for `heat_of`.
        height: Likewise.
        width: Likewise.

    Raises:
        ValueError: If it has no such group or densities.
    """
    groups, density = face.markup.groups, face.density
    contour = next((groups[name] for name in _CONTOURS if name in groups), None)
    if contour is None:
        raise ValueError(f"boundary needs a group jaw or contour, {face.markup.name} has none")
    if not (isinstance(density, MappedDensity) and isinstance(density.density, KernelDensity)):
        raise ValueError("boundary needs the density of one crop by a head of maps")
    boundary = boundary_map(density.density[None], contour)
    to_image = Affine.of_matrix(density.affine.matrix.reshape(-1, 2, 3)[0].double().cpu())
    cells = boundary.probs[0].float().cpu().numpy()
    moved = _warped(cells, boundary.grid, to_image, corner, height, width)
    return moved, to_image.points(boundary.curve[0].double().cpu()).numpy()


def _warped(
    cells: np.ndarray, grid: Grid, to_image: Affine, corner: np.ndarray, height: int, width: int
) -> Float[np.ndarray, "height width"]:
    """Return a map of cells in a window of the image, linear between their centres."""
    to_crop = torch.tensor(
        [[grid.spacing[0], 0.0, grid.origin[0]], [0.0, grid.spacing[1], grid.origin[1]]],
        dtype=torch.float64,
    )
    to_window = Affine(torch.eye(2, dtype=torch.float64), -torch.from_numpy(corner))
    matrix = (to_window @ to_image @ Affine.of_matrix(to_crop)).matrix
    return cv2.warpAffine(cells, matrix.numpy(), (width, height))


def _of_cells(
    density: KernelDensity, affine: Affine, corner: np.ndarray, height: int, width: int
) -> Float[np.ndarray, "height width"]:
    """Return the levels from the exact masses of cells: narrow peaks fall between no samples."""
    # Cells of two pixels of the crop show the finest kernels there are.
    refine = max(1, round(max(density.grid.spacing) / 2))
    levels = _levels(density.cell_masses(refine))
    grid = density.grid.refine(refine)
    matrices = affine.matrix.detach().double().cpu().reshape(-1, 2, 3)
    highest = np.zeros((height, width), np.float32)
    # The landmarks of a face share their crop, and with it one map.
    for matrix in torch.unique(matrices, dim=0):
        same = (matrices == matrix).all(dim=-1).all(dim=-1)
        most = levels.reshape(-1, *levels.shape[-2:])[same].amax(dim=0).float().cpu().numpy()
        moved = _warped(most, grid, Affine.of_matrix(matrix), corner, height, width)
        highest = np.maximum(highest, moved)
    return highest


def _levels(masses: Float[Tensor, "*batch rows columns"]) -> Float[Tensor, "*batch rows columns"]:
    """Return `1 −` the mass of all cells with more mass than each, of the mass of all of them."""
    flat = masses.flatten(-2).double()
    flat = flat / flat.sum(-1, keepdim=True)  # else what lies outside the map would tint all of it
    ordered, order = flat.sort(dim=-1, descending=True)
    denser = ordered.cumsum(-1) - 0.5 * ordered  # of a cell's own mass, half is
    return torch.zeros_like(flat).scatter(-1, order, 1.0 - denser).reshape(masses.shape)


def _of_points(
    density: Density,
    corner: np.ndarray,
    height: int,
    width: int,
) -> Float[np.ndarray, "height width"]:
    """Return the levels from those at some of the pixels."""
    step = max(1.0, max(height, width) / _SAMPLES)
    rows, columns = max(2, round(height / step)), max(2, round(width / step))
    x = torch.linspace(0, width - 1, columns, dtype=torch.float64)
    y = torch.linspace(0, height - 1, rows, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1) + torch.from_numpy(corner)
    ones = (1,) * len(density.batch_shape)
    points = points.to(density.mean).reshape(rows, columns, *ones, 2)
    levels = 1.0 - density.hdr_level(points.expand(rows, columns, *density.batch_shape, 2))
    most = levels.flatten(2).amax(dim=-1).float().cpu().numpy()
    # First and last sample lie on the first and last pixel, which cv2.resize would not do.
    scale = np.array(
        [[(width - 1) / (columns - 1), 0.0, 0.0], [0.0, (height - 1) / (rows - 1), 0.0]]
    )
    return cv2.warpAffine(most, scale, (width, height), borderMode=cv2.BORDER_REPLICATE)
