"""The classical probabilistic baseline: one Gaussian per label, from a vector of outputs."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from kdn.density import GaussianDensity, KernelDensity
from kdn.grid import Grid
from kdn.models.heads.head import Head, at_least_single

__all__ = ["Gaussian", "gaussian_on_axis"]

_LOG_SCALE_LIMIT = 6.0


class Gaussian(Head):
    """One Gaussian a label, by likelihood.

    Of a landmark five outputs: the mean in units of half the crop from its middle, and the Cholesky
    factor of the 2×2 covariance (logarithms of its two diagonal entries and the entry below), in
    units of an eighth of the crop's longer side. Of a scalar two: the mean likewise, and the
    logarithm of the deviation in units of an eighth of the axis; all means come first.

    Args:
        count: Number of labels.
        grid: Says where labels are; see `Head`.
        rounding: See `Head`.
    """

    name = "gaussian"

    def __init__(self, count: int, grid: Grid, rounding: float = 0.0):
        super().__init__(count, grid, rounding)
        self.channels = (2 if grid.ndim == 1 else 5) * count

    def density(self, outputs: Float[Tensor, "batch channels"]) -> GaussianDensity | KernelDensity:
        """Return the Gaussians, in crop pixels or the unit of the labels."""
        outputs = at_least_single(outputs)
        if self.grid.ndim == 1:
            mean, log_scale = outputs.unflatten(1, (2, self.count)).unbind(1)
            mean = self._mean(mean.unsqueeze(-1)).squeeze(-1)
            return gaussian_on_axis(mean, self._scale(log_scale))
        values = outputs.unflatten(1, (self.count, 5))
        factor = torch.diag_embed(self._scale(values[..., 2:4]))
        below = torch.zeros_like(factor)
        below[..., 1, 0] = self._unit * values[..., 4]
        return GaussianDensity(self._mean(values[..., :2]), scale_tril=factor + below)

    @property
    def _unit(self) -> float:
        return max(high - low for low, high in zip(self.grid.low, self.grid.high, strict=True)) / 8

    def _mean(self, outputs: Tensor) -> Tensor:
        """Return means, `(…, ndim)`."""
        low, high = outputs.new_tensor(self.grid.low), outputs.new_tensor(self.grid.high)
        return (low + high) / 2 + outputs * (high - low) / 2

    def _scale(self, outputs: Tensor) -> Tensor:
        """Return deviations of bounded logarithms."""
        bounded = _LOG_SCALE_LIMIT * torch.tanh(outputs / _LOG_SCALE_LIMIT)
        return self._unit * bounded.exp()


def gaussian_on_axis(mean: Float[Tensor, ...], deviation: Float[Tensor, ...]) -> KernelDensity:
    """Return Gaussians on a line as kernel densities of one kernel each.

    Args:
        mean: `(*batch)`.
        deviation: Standard deviations, `(*batch)`.

    Example:
        >>> density = gaussian_on_axis(torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0]))
        >>> density.mean.tolist(), density.variance.tolist()
        ([3.0, 5.0], [1.0, 4.0])
    """
    one = Grid.of_interval(0.0, 0.0, step=1.0)
    logits = torch.zeros_like(mean).unsqueeze(-1)
    return KernelDensity(logits, one, bandwidth=deviation, offsets=mean[..., None, None])
