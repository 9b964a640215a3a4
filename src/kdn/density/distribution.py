"""The predictive density: a mixture of kernels, one for each cell of a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from kdn.density import (
    areas,
    discs,
    energy,
    masses,
    modes,
    moments,
    parameters,
    regions,
    sampling,
    univariate,
)
from kdn.density.loglik import adaptive_log_prob, separable_log_prob, uniform_log_prob
from kdn.density.mapped import MappedDensity
from kdn.density.marginal import marginal_parameters
from kdn.density.nodes import Nodes
from kdn.density.precision import at_least_single, full_precision
from kdn.density.smoothing import smoothed_bandwidth
from kdn.grid import Affine, Grid

__all__ = ["KernelDensity"]


class KernelDensity(Distribution):
    """A density over positions, `p(y) = Σ_c p_c K(y − μ_c)`, one kernel per cell of a grid.

    `p = softmax(logits)` over the cells of each map. The Gaussian kernel is
    `exp(−d² / 2h²) / (√(2π) h)^ndim` with bandwidth (standard deviation) `h`; the uniform kernel
    is `1 / cell volume` over the kernel's own cell. `μ` are the cell centres, moved by `offsets`
    where given. The density covers the whole space: `y` need not be a cell centre, and for
    Gaussian kernels need not lie inside the grid.

    Convention: `batch_shape` are the leading dimensions of the logits; `event_shape` is `()` on a
    1-D grid, `(2,)` on a 2-D grid (points `(x, y)`), `(3,)` on a 3-D grid. Points, bandwidth,
    offsets and moments are in the grid's frame and unit; `log_prob` is in nats per unit of that
    frame to the power of `ndim`. Everything is computed in float32, or in float64 if the logits
    are float64, also under autocast.

    Args:
        logits: `(*batch, *grid.shape)`, unnormalised log-probabilities of the cells. A cell with
            −∞ has no mass; each map needs one finite cell.
        grid: Where the cells are.
        bandwidth: Standard deviation of the Gaussian kernel: a number, a tensor broadcastable to
            the batch shape (per landmark, per sample), or one of the logits' shape (per cell).
        kernel: `"gaussian"` or `"uniform"`.
        offsets: `(*batch, ndim, *grid.shape)`, from the cell centres to the kernel centres, in
            event order `(x, y)` along `ndim`.
        validate_args: True also looks at the values in tensors (NaN or infinite logits, offsets
            and points, bandwidths that are not positive), which on a GPU waits for it. Shapes are
            checked always.

    Raises:
        ValueError: If a shape does not fit, if a Gaussian kernel has no bandwidth or not a
            positive one, if a uniform kernel has a bandwidth or offsets, or under
            `validate_args=True` if a tensor holds values that it cannot have.

    Source: eq. 1 to 3 of the paper.

    Example:
        >>> logits = torch.zeros(2, 3, 5, 7)  # 2 pictures, 3 landmarks, 5 × 7 cells
        >>> grid = Grid.of_heatmap(height=5, width=7, stride=4)
        >>> density = KernelDensity(logits, grid, bandwidth=4.0)
        >>> density.batch_shape, density.mean[0, 0].tolist()
        (torch.Size([2, 3]), [13.5, 9.5])
        >>> density.log_prob(torch.zeros(2, 3, 2)).shape
        torch.Size([2, 3])
    """

    arg_constraints = {}  # type: ignore  # noqa: RUF012  (as torch.distributions declares it)
    has_rsample = False

    def __init__(
        self,
        logits: Float[Tensor, ...],
        grid: Grid,
        *,
        bandwidth: float | Float[Tensor, ...] | None = None,
        kernel: str = "gaussian",
        offsets: Float[Tensor, ...] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        batch = parameters.batch_of_logits(logits, grid, kernel)
        logits = at_least_single(logits)
        self.grid = grid
        self.kernel = kernel
        self.raw_logits = logits
        self.bandwidth = parameters.fit_bandwidth(bandwidth, kernel, logits, batch)
        self.offsets = parameters.fit_offsets(offsets, kernel, logits, grid, batch)
        self._cache: dict[str, Tensor] = {}
        self.kept_nodes: dict[int, Nodes] = {}
        event = torch.Size(() if grid.ndim == 1 else (grid.ndim,))
        super().__init__(batch, event, validate_args=False)
        self._validate_args = validate_args is True
        if self._validate_args:
            parameters.check_values(logits, grid, self.bandwidth, self.offsets)

    def __repr__(self) -> str:
        return (
            f"KernelDensity(batch_shape={tuple(self.batch_shape)}, grid={self.grid}, "
            f"kernel={self.kernel!r}, per_cell={self.per_cell}, "
            f"offsets={'no' if self.offsets is None else 'yes'})"
        )

    @property
    def support(self) -> constraints.Constraint:
        """The whole space; a uniform kernel has density zero outside the grid."""
        return constraints.real if self.grid.ndim == 1 else constraints.real_vector

    @property
    def per_cell(self) -> bool:
        """Whether each cell has its own bandwidth."""
        return self.bandwidth is not None and self.bandwidth.dim() > len(self.batch_shape)

    @property
    def separable(self) -> bool:
        """Whether the kernels differ in their cell alone, so that axes can be summed in turn."""
        return self.kernel == "gaussian" and self.offsets is None and not self.per_cell

    def _kept(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """Return a derived tensor, kept for later unless a gradient is to flow through it.

        A graph that is kept could be walked back only once.
        """
        follow = torch.is_grad_enabled() and self.raw_logits.requires_grad
        if follow or torch.is_inference_mode_enabled():
            return compute()
        if name not in self._cache:
            self._cache[name] = compute()
        return self._cache[name]

    @property
    def logits(self) -> Float[Tensor, ...]:
        """Normalised log-probabilities of the cells, `(*batch, *grid.shape)`."""
        return self._kept(
            "logits",
            lambda: (
                self.raw_logits.flatten(-self.grid.ndim).log_softmax(-1).view_as(self.raw_logits)
            ),
        )

    @property
    def probs(self) -> Float[Tensor, ...]:
        """Probabilities of the cells, `(*batch, *grid.shape)`; they sum to 1 over each map."""
        return self._kept(
            "probs",
            lambda: self.raw_logits.flatten(-self.grid.ndim).softmax(-1).view_as(self.raw_logits),
        )

    def log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `log Σ K(y − μ) p` in nats per unit of the grid's frame to the `ndim`.

        Exact in log-space: finite however far the points and however extreme the logits; only
        uniform kernels give −∞, outside the grid. The gradient with respect to the logits is
        `r − p`; points, bandwidth and offsets have theirs too, and second derivatives exist.

        Args:
            points: `(*sample, *batch, *event)`, in the grid's frame, broadcast as in
                `torch.distributions`.

        Raises:
            ValueError: If the shape does not fit, or under `validate_args=True` if a point is not
                finite.

        Source: eq. 3, 4 and 7 of the paper.
        """
        shape = parameters.points_batch(points, self.event_shape, self.batch_shape)
        if self._validate_args and not bool(points.isfinite().all()):
            raise ValueError("points must be finite, got NaN or infinite ones")
        batch = shape[len(shape) - len(self.batch_shape) :]
        if batch != self.batch_shape:
            return self.expand(batch).log_prob(points)
        maps = math.prod(batch)
        count = math.prod(shape[: len(shape) - len(batch)])
        points = points.to(self.raw_logits).reshape(*points.shape, *((1,) * (self.grid.ndim == 1)))
        points = points.expand(*shape, self.grid.ndim).reshape(count, maps, self.grid.ndim)
        with full_precision(points.device):
            return self._log_prob_of_rows(points.transpose(0, 1), maps).t().reshape(shape)

    def _log_prob_of_rows(self, points: Tensor, maps: int) -> Tensor:
        """Return the log-density at `(maps, points, ndim)` by the way that suits the kernels."""
        logits = self.raw_logits.reshape(maps, *self.grid.shape)
        if self.bandwidth is None:
            return uniform_log_prob(logits, points, self.grid)
        if self.separable:
            return separable_log_prob(logits, points, self.bandwidth.reshape(maps), self.grid)
        bandwidth = self.bandwidth.reshape(maps, self.grid.numel if self.per_cell else 1)
        centres = self.centres
        centres = centres.reshape(-1 if self.offsets is None else maps, *centres.shape[-2:])
        return adaptive_log_prob(logits.flatten(1), points, bandwidth, centres)

    @property
    def centres(self) -> Float[Tensor, ...]:
        """Kernel centres, `(ndim, cells)` without and `(*batch, ndim, cells)` with offsets."""
        points = self.grid.points(dtype=self.raw_logits.dtype, device=self.raw_logits.device)
        centres = points.reshape(-1, self.grid.ndim).t()
        return centres if self.offsets is None else centres + self.offsets.flatten(-self.grid.ndim)

    def _event(self, vectors: Tensor) -> Tensor:
        """Return `(…, ndim)` in event form, without the last dimension on a 1-D grid."""
        return vectors.squeeze(-1) if self.grid.ndim == 1 else vectors

    @property
    def mean(self) -> Float[Tensor, ...]:
        """`μ̄ = Σ μ p`, `(*batch, *event)` in the grid's frame (eq. 5)."""
        return self._event(moments.cell_mean(self.probs, self.grid, self.offsets))

    @property
    def covariance_matrix(self) -> Float[Tensor, ...]:
        """`Σ p Cov(K) + Σ (μ − μ̄)(μ − μ̄)ᵀ p`, `(*batch, ndim, ndim)` (eq. 5).

        `Cov(K)` is `h² I` for Gaussian and `diag(spacing² / 12)` for uniform kernels.
        """
        probs = self.probs
        mean = moments.cell_mean(probs, self.grid, self.offsets)
        spread = moments.cell_covariance(probs, mean, self.grid, self.offsets)
        return spread + moments.kernel_covariance(probs, self.grid, self.bandwidth)

    @property
    def variance(self) -> Float[Tensor, ...]:
        """Variance along each axis, `(*batch, *event)`: the diagonal of the covariance."""
        return self._event(self.covariance_matrix.diagonal(dim1=-2, dim2=-1))

    @property
    def uncertainty(self) -> Float[Tensor, ...]:
        """`|Cov|^½` as published, `(*batch)`: an area on a 2-D grid, in the grid's unit squared."""
        return moments.determinant(self.covariance_matrix).sqrt()

    @property
    def uncertainty_length(self) -> Float[Tensor, ...]:
        """`|Cov|^(1 / 2 ndim)`, `(*batch)`: a length, to be compared with an error."""
        return moments.determinant(self.covariance_matrix) ** (0.5 / self.grid.ndim)

    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """Return random points `(*sample, *batch, *event)`, without gradient.

        Args:
            sample_shape: Leading dimensions.
            generator: Source of randomness, on the density's device; torch's own if not given.
        """
        return sampling.sample(self, sample_shape, generator)

    def cdf(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `P(Y ≤ y)` at `(*sample, *batch)` values, on a 1-D grid.

        Raises:
            NotImplementedError: On a 2-D or 3-D grid.
        """
        return univariate.cdf(self, points)

    def log_mass(self, low: Float[Tensor, ...], high: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `log P(low < Y ≤ high)` on a 1-D grid; see `kdn.density.univariate.log_mass`."""
        return univariate.log_mass(self, low, high)

    def icdf(self, levels: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the quantiles at `(*sample, *batch)` levels in [0, 1], on a 1-D grid.

        Exact to rounding; NaN for levels outside [0, 1]; without gradient.

        Raises:
            NotImplementedError: On a 2-D or 3-D grid.
        """
        return univariate.icdf(self, levels)

    def marginal(self, axis: int) -> KernelDensity:
        """Return the density along one event axis (0 is x), on a 1-D grid; it is exact.

        Where kernels differ from cell to cell, it keeps one for each cell of this grid.

        Raises:
            ValueError: If the axis does not exist.
        """
        logits, grid, bandwidth, offsets = marginal_parameters(self, axis)
        return KernelDensity(logits, grid, bandwidth=bandwidth, kernel=self.kernel, offsets=offsets)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> KernelDensity:
        """Return the density with its batch shape broadcast, as in `torch.distributions`."""
        batch, cells = tuple(batch_shape), self.grid.shape
        bandwidth, offsets = self.bandwidth, self.offsets
        if bandwidth is not None:
            bandwidth = bandwidth.expand(*batch, *(cells if self.per_cell else ()))
        if offsets is not None:
            offsets = offsets.expand(*batch, self.grid.ndim, *cells)
        expanded = KernelDensity(
            self.raw_logits.expand(*batch, *cells),
            self.grid,
            bandwidth=bandwidth,
            kernel=self.kernel,
            offsets=offsets,
        )
        expanded._validate_args = self._validate_args  # the same values, checked already
        return expanded

    def smoothed(self, extra: float) -> KernelDensity:
        """Return this density convolved with a Gaussian of standard deviation `extra`.

        Modes that are closer than about that become one; see
        `kdn.density.smoothing.smoothed_bandwidth` for what becomes of uniform kernels.

        Args:
            extra: In the grid's unit.

        Raises:
            ValueError: If it is negative or not finite, or if kernels are uniform in cells that
                are not as long on all axes.
        """
        bandwidth = smoothed_bandwidth(self, extra)
        return KernelDensity(self.raw_logits, self.grid, bandwidth=bandwidth, offsets=self.offsets)

    def mapped(self, affine: Affine) -> MappedDensity:
        """Return this density in the frame that `affine` maps the grid's frame to."""
        return MappedDensity(self, affine)

    @property
    def mode(self) -> Float[Tensor, ...]:
        """Position of the highest density, `(*batch, *event)`; see `kdn.density.modes`."""
        return modes.find_mode(self)

    def modes(self, k: int) -> tuple[Float[Tensor, ...], Float[Tensor, ...]]:
        """Return the `k` highest modes and their masses; see `kdn.density.modes.find_modes`."""
        return modes.find_modes(self, k)

    def entropy(self) -> Float[Tensor, ...]:
        """Return `−E[log p]` in nats, `(*batch)`; see `kdn.density.regions.entropy`."""
        return regions.entropy(self)

    def hdr_level(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass denser than the points; see `kdn.density.regions.hdr_level`."""
        return regions.hdr_level(self, points)

    def hdr_tie(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass exactly as dense as the points; see `kdn.density.regions.hdr_tie`."""
        return regions.hdr_tie(self, points)

    def hdr_area(self, level: float | Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the area of the region of that mass; see `kdn.density.areas.hdr_area`."""
        return areas.hdr_area(self, level)

    def energy_score(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `E|Y − y| − ½ E|Y − Y′|`; see `kdn.density.energy.energy_score`."""
        return energy.energy_score(self, points)

    def mass_within(self, centre: Float[Tensor, ...], radius: float | Tensor) -> Float[Tensor, ...]:
        """Return `P(|Y − centre| ≤ radius)`; see `kdn.density.discs.mass_within`."""
        return discs.mass_within(self, centre, radius)

    def hdr_mask(self, level: float, refine: int = 1) -> Bool[Tensor, ...]:
        """Return the region of that mass, cell by cell; see `kdn.density.regions.hdr_mask`."""
        return regions.hdr_mask(self, level, refine)

    def cell_masses(self, refine: int = 1) -> Float[Tensor, ...]:
        """Return the mass of each cell; see `kdn.density.masses.cell_masses`."""
        return masses.cell_masses(self, refine)
