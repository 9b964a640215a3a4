"""What perfect heatmaps would still get wrong: the decode floor of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kdn.data import Framing, Sample
from kdn.density import DECODERS, KernelDensity, decode
from kdn.evaluate import image_errors, normalisers
from kdn.grid import Grid

__all__ = ["cell_share", "decode_floor", "perfect_density"]


def decode_floor(samples: Sequence[Sample], framing: Framing, *, stride: int) -> dict[str, float]:
    """Return the box NME (%) that each decoder leaves where every heatmap is perfect.

    A perfect heatmap is a round Gaussian of one cell about the true landmark, sampled at the
    cells; see `perfect_density`. Faces are cropped as for prediction, so where landmarks lie
    within their cells is the data set's own.

    Args:
        samples: With labels, image pixels.
        framing: How they are cropped.
        stride: Crop pixels per cell.

    Raises:
        ValueError: If there are no samples.
    """
    if len(samples) == 0:
        raise ValueError("samples must hold at least one sample")
    grid = Grid.of_heatmap(
        height=framing.height // stride, width=framing.width // stride, stride=stride
    )
    errors: dict[str, list[float]] = {name: [] for name in DECODERS}
    for sample in samples:
        crop_to_image = framing.of_sample(sample)
        target = torch.from_numpy(np.where(sample.valid[:, None], sample.landmarks, 0.0))
        density = perfect_density(crop_to_image.inverse().points(target), grid)
        valid, length = sample.valid[None], _box(sample)
        for name in DECODERS:
            points = crop_to_image.points(decode(density, name))
            error = torch.linalg.vector_norm(points - target, dim=-1)[None].numpy()
            errors[name].append(float(image_errors(error, valid, length)[0]))
    return {name: float(np.nanmean(values)) for name, values in errors.items()}


def perfect_density(points: Float[Tensor, "landmarks 2"], grid: Grid) -> KernelDensity:
    """Return densities that a perfect network of the published head would give.

    The probabilities are `p ∝ exp(−|μ − y|²/2s²)` with `s` one cell, and the kernel is one cell
    wide, so that the density is all but a Gaussian of variance `2s²` about the true point `y`.

    Args:
        points: True landmarks `y`, in the grid's frame.
        grid: Cells of equal sides.
    """
    cell = grid.spacing[0]
    columns, rows = (grid.centres(axis, dtype=points.dtype) for axis in (0, 1))
    x = (columns - points[:, :1]) / cell
    y = (rows - points[:, 1:]) / cell
    logits = -0.5 * (x.square().unsqueeze(-2) + y.square().unsqueeze(-1))
    return KernelDensity(logits, grid, bandwidth=cell)


def cell_share(samples: Sequence[Sample], framing: Framing, *, stride: int) -> float:
    """Return the side of a cell in percent of the landmark box, mean over samples."""
    shares = []
    for sample in samples:
        crop_to_image = framing.of_sample(sample)
        side = stride * float((0.5 * crop_to_image.log_abs_det()).exp())
        shares.append(100.0 * side / float(_box(sample)[0]))
    return float(np.nanmean(shares))


def _box(sample: Sample) -> Float[np.ndarray, " one"]:
    """Return the box normaliser of a sample, image pixels."""
    return normalisers(sample.landmarks[None], sample.valid[None], None)["box"]
