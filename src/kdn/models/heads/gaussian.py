"""The classical probabilistic baseline: one Gaussian per landmark, from a vector of outputs."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density import GaussianDensity
from kdn.grid import Grid
from kdn.models.heads.head import Head

__all__ = ["Gaussian"]

_LOG_SCALE_LIMIT = 6.0


class Gaussian(Head):
    """Mean and full 2×2 covariance of each landmark, from pooled features.

    Five outputs per landmark: the mean in units of half the crop from its middle, and the Cholesky
    factor of the covariance (logarithms of its two diagonal entries and the entry below), in
    units of an eighth of the crop's longer side.

    Args:
        landmarks: Number of landmarks.
        height: Rows of the crop, in crop pixels.
        width: Columns of the crop, in crop pixels.
    """

    takes_maps = False
    decoder = "mean"

    def __init__(self, *, landmarks: int, height: int, width: int):
        super().__init__()
        self.landmarks = landmarks
        self.channels = 5 * landmarks
        self.crop = Grid.of_heatmap(height=height, width=width, stride=1)

    def density(self, outputs: Float[Tensor, "batch channels"]) -> GaussianDensity:
        """Return the Gaussians, in crop pixels."""
        outputs = outputs if outputs.dtype == torch.float64 else outputs.float()
        values = outputs.unflatten(1, (self.landmarks, 5))
        low, high = values.new_tensor(self.crop.low), values.new_tensor(self.crop.high)
        mean = (low + high) / 2 + values[..., :2] * (high - low) / 2
        unit = max(self.crop.shape) / 8
        diagonal = unit * (_LOG_SCALE_LIMIT * torch.tanh(values[..., 2:4] / _LOG_SCALE_LIMIT)).exp()
        factor = torch.diag_embed(diagonal)
        below = torch.zeros_like(factor)
        below[..., 1, 0] = unit * values[..., 4]
        return GaussianDensity(mean, scale_tril=factor + below)
