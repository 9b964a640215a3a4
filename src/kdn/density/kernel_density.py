"""The predictive density: a mixture of kernels, one for each cell of a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdn.density import arguments, masses, modes
from kdn.density.density import Density
from kdn.density.kernel_nodes import KernelNodes, entropies, find_nodes
from kdn.density.kernels import Gaussian, Kernel, Uniform, kernel_named
from kdn.density.line import LineKernels
from kdn.density.loglik import log_prob_of_maps
from kdn.density.maps import KernelMaps
from kdn.density.nodes import NODES, Nodes, Ordered
from kdn.grid import Grid

__all__ = ["KernelDensity"]


class KernelDensity(Density):
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
        bandwidth: Scale of the kernel, of the Gaussian one its standard deviation: a number, a
            tensor broadcastable to the batch shape (per landmark, per sample), or one of the
            logits' shape (per cell).
        kernel: `"gaussian"`, `"uniform"`, or a `kdn.density.Kernel`.
        offsets: `(*batch, ndim, *grid.shape)`, from the cell centres to the kernel centres, in
            event order `(x, y)` along `ndim`.
        validate_args: True also looks at the values in tensors (NaN or infinite logits, offsets
            and points, bandwidths that are not positive), which on a GPU waits for it. Shapes are
            checked always.

    Raises:
        ValueError: If a shape does not fit, if there is no such kernel, if a kernel has no
            bandwidth or not a positive one, if one that fills its cell has a bandwidth or offsets,
            or under `validate_args=True` if a tensor holds values that it cannot have.

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

    def __init__(
        self,
        logits: Float[Tensor, ...],
        grid: Grid,
        *,
        bandwidth: float | Float[Tensor, ...] | None = None,
        kernel: str | Kernel = "gaussian",
        offsets: Float[Tensor, ...] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        batch = arguments.batch_of_logits(logits, grid)
        logits = arguments.at_least_single(logits)
        self.grid = grid
        self.kernel = kernel_named(kernel)
        self.raw_logits = logits
        self.bandwidth = arguments.fit_bandwidth(bandwidth, self.kernel, logits, batch)
        self.offsets = arguments.fit_offsets(offsets, self.kernel, logits, grid, batch)
        event = torch.Size(() if grid.ndim == 1 else (grid.ndim,))
        super().__init__(batch, event, validate_args=False)
        self._validate_args = validate_args is True
        if self._validate_args:
            arguments.check_values(logits, grid, self.bandwidth, self.offsets)

    def __repr__(self) -> str:
        return (
            f"KernelDensity(batch_shape={tuple(self.batch_shape)}, grid={self.grid}, "
            f"kernel={self.kernel.name!r}, per_cell={self.per_cell}, "
            f"offsets={'no' if self.offsets is None else 'yes'})"
        )

    def _like(self, change: Any) -> KernelDensity:
        """Return the density with its batch changed: `change(tensor, inner dimensions)`."""
        ndim = self.grid.ndim
        bandwidth, offsets = self.bandwidth, self.offsets
        changed = KernelDensity(
            change(self.raw_logits, ndim),
            self.grid,
            kernel=self.kernel,
            bandwidth=None if bandwidth is None else change(bandwidth, ndim * self.per_cell),
            offsets=None if offsets is None else change(offsets, 1 + ndim),
        )
        changed._validate_args = self._validate_args  # the same values, checked already
        return changed

    def __getitem__(self, index: Any) -> KernelDensity:
        """Return some of the batch, as a tensor of the batch's shape would be indexed."""
        return self._like(lambda tensor, inner: arguments.indexed(tensor, index, inner))

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> KernelDensity:
        """Return the density with its batch shape broadcast, as in `torch.distributions`."""
        return self._like(
            lambda tensor, inner: tensor.expand(
                (*batch_shape, *tensor.shape[tensor.dim() - inner :])
            )
        )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Logits, bandwidth and offsets, as far as there are any."""
        tensors = (self.raw_logits, self.bandwidth, self.offsets)
        return tuple(tensor for tensor in tensors if tensor is not None)

    @property
    def per_cell(self) -> bool:
        """Whether each cell has its own bandwidth."""
        return self.bandwidth is not None and self.bandwidth.dim() > len(self.batch_shape)

    @property
    def separable(self) -> bool:
        """Whether the kernels differ in their cell alone, so that axes can be summed in turn."""
        return self.offsets is None and not self.per_cell

    @property
    def flat(self) -> KernelMaps:
        """The maps with the batch flattened, with their gradients."""
        count, grid, bandwidth = math.prod(self.batch_shape), self.grid, self.bandwidth
        if bandwidth is not None:
            bandwidth = bandwidth.reshape((count, grid.numel) if self.per_cell else (count,))
        offsets = self.offsets
        if offsets is not None:
            offsets = offsets.reshape(count, grid.ndim, grid.numel)
        logits = self.raw_logits.reshape(count, *grid.shape)
        return KernelMaps(logits, grid, self.kernel, bandwidth, offsets)

    @property
    def maps(self) -> KernelMaps:
        """The maps with the batch flattened, without gradients; kept."""
        return self._kept("maps", lambda: self.flat.detached())

    def _differentiable(self) -> KernelMaps:
        """Return the maps to take moments of: those that are kept, unless a gradient is to flow."""
        flat = self.flat
        return flat if flat.differentiable else self.maps

    @property
    def logits(self) -> Float[Tensor, ...]:
        """Normalised log-probabilities of the cells, `(*batch, *grid.shape)`."""
        flat = self.raw_logits.flatten(-self.grid.ndim)
        return flat.log_softmax(-1).view_as(self.raw_logits)

    @property
    def probs(self) -> Float[Tensor, ...]:
        """Probabilities of the cells, `(*batch, *grid.shape)`; they sum to 1 over each map."""
        return self.raw_logits.flatten(-self.grid.ndim).softmax(-1).view_as(self.raw_logits)

    def log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `log Σ K(y − μ) p` in nats per unit of the grid's frame to the `ndim`.

        Exact in log-space: finite however far the points and however extreme the logits; only
        kernels that end give −∞. The gradient with respect to the logits is `r − p`; points,
        bandwidth and offsets have theirs too, and second derivatives exist.

        Args:
            points: `(*sample, *batch, *event)`, in the grid's frame, broadcast as in
                `torch.distributions`.

        Raises:
            ValueError: If the shape does not fit, or under `validate_args=True` if a point is not
                finite.

        Source: eq. 3, 4 and 7 of the paper.
        """
        if torch.is_grad_enabled() or points.device.type != "cpu" or torch.compiler.is_compiling():
            return self._log_prob(points, log_prob_of_maps, self.flat)
        # Scores ask for the log-density of a label, and then for its level, which depends on it.
        asked, values = self.__dict__.get("_last", (None, None))
        if asked is None or asked.dtype != points.dtype or not torch.equal(asked, points):
            asked, values = points.clone(), self._log_prob(points, log_prob_of_maps, self.flat)
            self._last = asked, values
        return values.clone()

    def near_log_prob(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the log-density from all but a hundredth of the mass, for integrals."""
        if isinstance(self.kernel, Uniform):
            return self.log_prob(points)
        with torch.no_grad():
            return self._log_prob(points, KernelMaps.near_log_prob, self.maps)

    def _log_prob(self, points: Tensor, evaluate: Any, maps: KernelMaps) -> Tensor:
        """Return log-densities of points as `(maps, points, ndim)`, in the shape they came in."""
        shape = arguments.points_batch(points, self.event_shape, self.batch_shape)
        if self._validate_args and not bool(points.isfinite().all()):
            raise ValueError("points must be finite, got NaN or infinite ones")
        batch = shape[len(shape) - len(self.batch_shape) :]
        if batch != self.batch_shape:
            return self.expand(batch)._log_prob(points, evaluate, self.expand(batch).flat)
        count = math.prod(shape[: len(shape) - len(batch)])
        points = points.to(self.raw_logits).reshape(*points.shape, *((1,) * (self.grid.ndim == 1)))
        points = points.expand(*shape, self.grid.ndim)
        points = points.reshape(count, math.prod(batch), self.grid.ndim)
        with arguments.full_precision(points.device):
            return evaluate(maps, points.transpose(0, 1)).t().reshape(shape)

    def nodes(self, count: int = NODES) -> Nodes:
        """Return `count` points that stand for a sample; see `kdn.density.kernel_nodes`."""
        nodes, shape = self._kernel_nodes(count), (count, *self.batch_shape)
        points = nodes.points.transpose(0, 1).reshape(*shape, *self.event_shape)
        return Nodes.even(points, nodes.log_prob.T.reshape(shape))

    def _kernel_nodes(self, count: int) -> KernelNodes:
        with torch.no_grad(), arguments.full_precision(self.raw_logits.device):
            return self._kept(("nodes", count), lambda: find_nodes(self.maps, count))

    def entropy(self) -> Float[Tensor, ...]:
        """Return the differential entropy `−E[log p(Y)]`, in nats, in the grid's unit.

        Uniform kernel: exact, `−Σ p log p + log(cell volume)`. Others: from nodes, see
        `kdn.density.kernel_nodes.entropies`. No gradient.
        """
        with torch.no_grad(), arguments.full_precision(self.raw_logits.device):
            if isinstance(self.kernel, Uniform):
                log_probs = self.maps.log_probs
                entropy = torch.special.entr(log_probs.exp()).sum(1)
                entropy = entropy + math.log(self.grid.cell_volume)
            else:
                entropy = entropies(self.maps, self._kernel_nodes(self._count))
            return entropy.to(self.raw_logits).reshape(self.batch_shape)

    def _ordered(self) -> Ordered:
        """Return the nodes by their density; cells where that is constant on each of them."""
        if not isinstance(self.kernel, Uniform):
            return super()._ordered()
        volume = math.log(self.grid.cell_volume)

        def order() -> Ordered:
            log_probs = self.maps.log_probs
            return Ordered.of_pieces(log_probs - volume, log_probs, open=False)

        return self._kept("ordered", order)

    def hdr_tie(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the mass exactly as dense as each point: 0 unless kernels are uniform."""
        if isinstance(self.kernel, Uniform):
            return super().hdr_tie(points)
        shape = arguments.points_batch(points, self.event_shape, self.batch_shape)
        missing = points.isnan().any(-1) if self.event_shape else points.isnan()
        return self.raw_logits.new_zeros(shape).masked_fill(missing, math.nan)

    @property
    def centres(self) -> Float[Tensor, ...]:
        """Kernel centres, `(ndim, cells)` without and `(*batch, ndim, cells)` with offsets."""
        centres = self.flat.centres
        if self.offsets is None:
            return centres
        return centres.reshape(*self.batch_shape, *centres.shape[-2:])

    @property
    def mean(self) -> Float[Tensor, ...]:
        """`μ̄ = Σ μ p`, `(*batch, *event)` in the grid's frame (eq. 5)."""
        mean = self._differentiable().summary.mean
        return mean.to(self.raw_logits.dtype).reshape((*self.batch_shape, *self.event_shape))

    def _covariance(self) -> Float[Tensor, ...]:
        """Return `Σ p Cov(K) + Σ (μ − μ̄)(μ − μ̄)ᵀ p` (eq. 5), in space in float64.

        `Cov(K)` is `h² I` for Gaussian and `diag(spacing² / 12)` for uniform kernels.
        """
        summary, ndim = self._differentiable().summary, self.grid.ndim
        if self.bandwidth is None:
            kernel = torch.diag(summary.spread.new_tensor(self.grid.spacing).square())
        else:
            eye = torch.eye(ndim, dtype=summary.spread.dtype, device=summary.spread.device)
            kernel = summary.square_scale.to(eye)[:, None, None] * eye
        covariance = summary.spread + self.kernel.variance * kernel
        return covariance.reshape(*self.batch_shape, ndim, ndim)

    @property
    def mode(self) -> Float[Tensor, ...]:
        """Position of the highest density, `(*batch, *event)`; see `kdn.density.modes`."""
        if not isinstance(self.kernel, (Gaussian, Uniform)):
            return super().mode
        with torch.no_grad(), arguments.full_precision(self.raw_logits.device):
            mode = self._kept("mode", lambda: modes.find_mode(self.maps))
            return mode.to(self.raw_logits).reshape((*self.batch_shape, *self.event_shape))

    def _starts(self) -> Float[Tensor, "starts *batch ndim"]:
        """Return points to climb from: those of any density, and the centres of likely kernels."""
        return torch.cat([super()._starts(), self._likely_centres(8)])

    def _likely_centres(self, count: int) -> Float[Tensor, "starts *batch ndim"]:
        kernels = self.maps.kernels()
        best = kernels.log_peaks(self.kernel).topk(min(count, self.grid.numel), 1).indices
        centres = kernels.take(best).centres.transpose(0, 1)
        return centres.reshape(-1, *self.batch_shape, self.grid.ndim)

    def modes(self, k: int) -> tuple[Float[Tensor, ...], Float[Tensor, ...]]:
        """Return the `k` highest modes, `(*batch, k, *event)`, and their masses, `(*batch, k)`.

        See `kdn.density.modes.find_modes`.

        Raises:
            ValueError: If `k` is not positive.
        """
        with torch.no_grad(), arguments.full_precision(self.raw_logits.device):
            points, mass = modes.find_modes(self.maps, k)
        shape = (*self.batch_shape, k)
        points, mass = points.to(self.raw_logits), mass.to(self.raw_logits)
        return points.reshape(*shape, *self.event_shape), mass.reshape(shape)

    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """Return random points `(*sample, *batch, *event)`, without gradient.

        A kernel by its probability, then a displacement from it.

        Args:
            sample_shape: Leading dimensions.
            generator: Source of randomness, on the density's device; torch's own if not given.
        """
        with torch.no_grad():
            maps, count = self.flat, math.prod(sample_shape)
            probs = maps.logits.flatten(1).softmax(1)
            drawn = torch.multinomial(probs, max(1, count), replacement=True, generator=generator)
            drawn = drawn[:, :count]
            shape = (maps.count, self.grid.numel, self.grid.ndim)
            index = drawn.unsqueeze(2).expand(maps.count, count, self.grid.ndim)
            points = maps.centres.mT.expand(shape).gather(1, index)
            scale = maps.axis_scale.expand(shape).gather(1, index)
            points = points + scale * self.kernel.draw(points, generator)
        return points.transpose(0, 1).reshape((*sample_shape, *self.batch_shape, *self.event_shape))

    def _line(self) -> LineKernels:
        """Return the kernels of a 1-D density.

        Raises:
            NotImplementedError: On a 2-D or 3-D grid.
        """
        if self.grid.ndim != 1:
            raise NotImplementedError(f"cdf and icdf need a 1-D grid, this has {self.grid.ndim}-D")
        if self.bandwidth is None:
            scale = self.raw_logits.new_tensor(self.grid.spacing)
        else:
            scale = self.bandwidth if self.per_cell else self.bandwidth.unsqueeze(-1)
        return LineKernels(self.kernel, self.logits, self.probs, self.centres.squeeze(-2), scale)

    def _on_line(self, *values: Tensor) -> tuple[Tensor, ...]:
        for value in values:
            arguments.points_batch(value, self.event_shape, self.batch_shape)
        return tuple(value.to(self.raw_logits) for value in values)

    def cdf(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `P(Y ≤ y)` at `(*sample, *batch)` values, on a 1-D grid.

        Raises:
            NotImplementedError: On a 2-D or 3-D grid.
        """
        return self._line().cdf(*self._on_line(points))

    def log_mass(self, low: Float[Tensor, ...], high: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `log P(low < Y ≤ high)` in nats on a 1-D grid, with gradients.

        For Gaussian kernels exact to rounding and finite however far the interval lies; −∞ where
        kernels that end share nothing with it. It is the likelihood of a label that is known to
        lie in an interval, such as one that was rounded.

        Args:
            low: Lower ends, `(*sample, *batch)`, in the grid's frame.
            high: Upper ends, above the lower ones.

        Raises:
            NotImplementedError: On a 2-D or 3-D grid.
        """
        return self._line().log_mass(*self._on_line(low, high))

    def icdf(self, levels: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return the quantiles at `(*sample, *batch)` levels in [0, 1], on a 1-D grid.

        Exact to rounding; NaN for levels outside [0, 1]; without gradient.

        Raises:
            NotImplementedError: On a 2-D or 3-D grid.
        """
        return self._line().icdf(*self._on_line(levels))

    def energy_score(self, points: Float[Tensor, ...]) -> Float[Tensor, ...]:
        """Return `E|Y − y| − ½ E|Y − Y′|`; on a 1-D grid the CRPS, in closed form."""
        density, shape = self._fitting(points)
        if self.grid.ndim > 1 or not isinstance(density, KernelDensity):
            return super().energy_score(points)
        with torch.no_grad():
            maps = density.maps
            line = LineKernels(
                self.kernel,
                maps.log_probs,
                maps.logits.softmax(1),
                maps.centres.squeeze(-2),
                maps.axis_scale.squeeze(-1),
            )
            scores = line.crps(points.expand(shape).reshape(-1, maps.count).T)
            if scores is None:
                return super().energy_score(points)
            return scores.T.reshape(shape).to(self.raw_logits)

    def mass_within(self, centre: Float[Tensor, ...], radius: float | Tensor) -> Float[Tensor, ...]:
        """Return `P(|Y − centre| ≤ radius)`; on a 1-D grid exact, by the distribution function."""
        if self.grid.ndim > 1:
            return super().mass_within(centre, radius)
        length = torch.as_tensor(radius, device=centre.device)
        density, shape = self._fitting(centre, number=length)
        with torch.no_grad():
            length = length.to(self.raw_logits).expand(shape)
            low, high = centre - length, centre + length
            mass = density.cdf(high) - density.cdf(low)  # type: ignore[attr-defined]
            return mass.clamp(min=0.0)

    def marginal(self, axis: int) -> KernelDensity:
        """Return the density along one event axis (0 is x), on a 1-D grid; it is exact.

        Where kernels differ in their cell alone, those of one row or column become one. Where they
        differ otherwise all are kept: the grid then divides the axis into as many cells as the
        whole grid has, and offsets lead from there to the kernels' centres.

        Raises:
            ValueError: If the axis does not exist.
        """
        grid, logits, bandwidth = self.grid, self.logits, self.bandwidth
        if not 0 <= axis < grid.ndim:
            raise ValueError(f"axis must be 0 to {grid.ndim - 1}, got {axis}")
        if self.separable:
            others = [-1 - other for other in range(grid.ndim) if other != axis]
            logits = logits.logsumexp(others) if others else logits
            line = Grid((logits.shape[-1],), (grid.origin[axis],), (grid.spacing[axis],))
            return KernelDensity(logits, line, bandwidth=bandwidth, kernel=self.kernel)
        spacing = (grid.high[axis] - grid.low[axis]) / grid.numel
        line = Grid((grid.numel,), (grid.low[axis] + 0.5 * spacing,), (spacing,))
        centres = self.centres[..., axis, :].expand(*self.batch_shape, grid.numel)
        offsets = centres - line.centres(0, dtype=logits.dtype, device=logits.device)
        if bandwidth is not None and self.per_cell:
            bandwidth = bandwidth.flatten(-grid.ndim)
        return KernelDensity(
            logits.flatten(-grid.ndim),
            line,
            bandwidth=bandwidth,
            kernel=self.kernel,
            offsets=offsets.unsqueeze(-2),
        )

    def smoothed(self, extra: float) -> KernelDensity:
        """Return this density convolved with a Gaussian of standard deviation `extra`.

        Modes that are closer than about that become one. Exact for Gaussian kernels, whose
        bandwidth becomes `√(h² + s²)`. Another kernel becomes the Gaussian of its own variance
        first, which has the mean and the covariance of the true convolution; for uniform kernels it
        differs by less than a hundredth of its peak once `s` is at least half a cell.

        Args:
            extra: In the grid's unit.

        Raises:
            ValueError: If it is negative or not finite, or if kernels fill cells that are not as
                long on all axes.
        """
        if not (math.isfinite(extra) and extra >= 0):
            raise ValueError(f"extra must be 0 or more and finite, got {extra}")
        spacing = self.grid.spacing
        if self.bandwidth is None and max(spacing) - min(spacing) > 1e-9 * max(spacing):
            raise ValueError(f"grid must have cells as long on all axes, got {spacing}")
        deviation = math.sqrt(self.kernel.variance)
        scale = self.raw_logits.new_full(self.batch_shape, spacing[0])
        scale = deviation * (scale if self.bandwidth is None else self.bandwidth)
        return KernelDensity(
            self.raw_logits,
            self.grid,
            bandwidth=torch.hypot(scale, scale.new_tensor(extra)),
            offsets=self.offsets,
        )

    def hdr_mask(self, level: float, refine: int = 1) -> Bool[Tensor, ...]:
        """Return the region of that mass, cell by cell; see `kdn.density.masses.hdr_mask`."""
        mask = masses.hdr_mask(self.maps, level, refine)
        return mask.reshape(*self.batch_shape, *mask.shape[1:])

    def cell_masses(self, refine: int = 1) -> Float[Tensor, ...]:
        """Return the mass of each cell; see `kdn.density.masses.cell_masses`."""
        cells = masses.cell_masses(self.maps, refine)
        return cells.reshape(*self.batch_shape, *cells.shape[1:])
