"""The state of a `KernelDensity` with its batch flattened, which all questions about it work on.

A trained network's maps are peaked: all but a thousandth of the mass is on some tens of cells, but
on one map in ten it is on hundreds. So maps are cut down to their own size, windows of few cells or
lists of few kernels, and then taken in groups of similar size; and maps are gone through in blocks
that stay in a processor's cache, since whole batches of maps do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdn.density.kernels import Gaussian, Kernel
from kdn.grid import Grid

__all__ = ["CACHED", "KernelList", "KernelMaps", "Summary", "Window", "blocks", "groups"]

CACHED = 1 << 18
"""Numbers that a temporary may hold: few enough for a processor's cache."""

TAIL, SPARE = 1e-4, 1e-2
"""Mass that lists of kernels leave out, and that windows of cells do."""

REACH = 6.0
"""Scales beyond which a kernel counts for nothing: exp(−6²/2) = 2e-8."""


def blocks(count: int, cells: int, numbers: int = CACHED) -> Iterator[slice]:
    """Yield slices of `count` items of `cells` numbers each, at most `numbers` together."""
    size = max(1, numbers // max(1, cells))
    yield from (slice(start, start + size) for start in range(0, max(1, count), size))


def groups(
    sizes: Int[Tensor, " items"], cost: Callable[[int], int], budget: int = CACHED
) -> Iterator[tuple[int, Tensor]]:
    """Yield items of similar size, within a factor of √2: the largest size, and which they are.

    Args:
        sizes: At least 1.
        cost: Elements that one item of a size takes.
        budget: Elements that a group may take; a single item may take more.
    """
    classes = (2.0 * sizes.double().log2()).ceil().long()
    for value in classes.unique().tolist():
        index = (classes == value).nonzero().squeeze(1)
        largest = int(sizes[index].max())
        for rows in index.split(max(1, budget // cost(largest))):
            yield largest, rows


class KernelList(NamedTuple):
    """Kernels of several maps, each with a probability, a centre and a scale of its own.

    Attributes:
        log_probs: `(maps, kernels)`; −∞ marks an entry that is not filled.
        centres: `(maps, kernels, ndim)`, in the grid's frame.
        scale: `(maps, kernels)`, in the grid's unit.
    """

    log_probs: Tensor
    centres: Tensor
    scale: Tensor

    def take(self, index: Tensor) -> KernelList:
        """Return the kernels with the indices `(maps, taken)`."""
        rows = torch.arange(len(index), device=index.device).unsqueeze(1)
        return KernelList(*(field[rows, index] for field in self))

    def maps(self, index: Tensor | slice) -> KernelList:
        """Return the kernels of some of the maps."""
        return KernelList(*(field[index] for field in self))

    def log_peaks(self, kernel: Kernel) -> Tensor:
        """Return the logarithm of what each kernel adds to the density at its own centre."""
        ndim = self.centres.shape[-1]
        peak = kernel.log_density(self.log_probs.new_zeros(()))
        return self.log_probs + ndim * (peak - self.scale.log())

    def log_density(
        self, kernel: Kernel, points: Float[Tensor, "maps points ndim"]
    ) -> Float[Tensor, "maps points"]:
        """Return the log-density at points; differences first, squares after, in float64."""
        ndim, log_weights = points.shape[-1], self.log_probs - points.shape[-1] * self.scale.log()
        if isinstance(kernel, Gaussian):  # −|y − μ|²/2h² as a product of matrices
            middle = self.centres.double().mean(1, keepdim=True)
            centres, points = self.centres - middle, points - middle
            inverse = self.scale.double().pow(-2)
            constant = -0.5 * centres.square().sum(-1) * inverse
            right = torch.stack([-0.5 * inverse, constant], 1)
            right = torch.cat([(centres * inverse.unsqueeze(-1)).mT, right], 1)
            squares = points.square().sum(-1, keepdim=True)
            left = torch.cat([points, squares, torch.ones_like(squares)], -1)
            terms = (left @ right).to(log_weights) - 0.5 * ndim * math.log(2 * math.pi)
        else:
            apart = (points.unsqueeze(2) - self.centres.unsqueeze(1)) / self.scale[:, None, :, None]
            terms = kernel.log_density(apart).sum(-1)
        return (terms + log_weights.unsqueeze(1)).logsumexp(-1)


class Summary(NamedTuple):
    """Sums over the cells of each map, in the grid's frame; float64 in space, where they cancel.

    Attributes:
        log_total: Logarithm of the sum of `exp(logits)`, `(maps,)`.
        peak: The largest probability, `(maps,)`.
        mean_log: `Σ p log p`, `(maps,)`.
        marginals: Probabilities along each tensor dimension, `(maps, cells)`.
        mean: `Σ μ p` in event order, `(maps, ndim)`.
        spread: `Σ (μ − μ̄)(μ − μ̄)ᵀ p`, `(maps, ndim, ndim)`.
        square_scale: `Σ p s²` where the bandwidth differs from cell to cell; else the bandwidth's
            square, `(maps,)`, or NaN where there is none.
    """

    log_total: Tensor
    peak: Tensor
    mean_log: Tensor
    marginals: tuple[Tensor, ...]
    mean: Tensor
    spread: Tensor
    square_scale: Tensor


class Window(NamedTuple):
    """The same number of neighbouring cells of several maps.

    Attributes:
        maps: Which maps they are.
        cells: Their numbers within the whole map, `(maps, cells)`.
        probs: Their probabilities, `(maps, *grid.shape)`.
        grid: A grid of the window's shape, with the origin of the whole one.
        shift: `(maps, ndim)`, float64, from a point in that grid's frame to where it really is.
    """

    maps: Tensor
    cells: Tensor
    probs: Tensor
    grid: Grid
    shift: Tensor


class KernelMaps:
    """Maps of kernels, all of one kind, on one grid.

    Args:
        logits: `(maps, *grid.shape)`, unnormalised.
        grid: Where the cells are.
        kernel: What is at each cell.
        bandwidth: `(maps,)`, or `(maps, cells)` where it differs from cell to cell; None where
            kernels fill their cells.
        offsets: `(maps, ndim, cells)`, from cells to kernel centres, or None.
    """

    def __init__(
        self,
        logits: Float[Tensor, "maps *cells"],
        grid: Grid,
        kernel: Kernel,
        bandwidth: Float[Tensor, "..."] | None,
        offsets: Float[Tensor, "maps ndim cells"] | None,
    ) -> None:
        self.logits, self.grid, self.kernel = logits, grid, kernel
        self.bandwidth, self.offsets = bandwidth, offsets

    def detached(self) -> KernelMaps:
        """Return the same maps without gradients."""
        bandwidth, offsets = (
            None if tensor is None else tensor.detach() for tensor in (self.bandwidth, self.offsets)
        )
        return KernelMaps(self.logits.detach(), self.grid, self.kernel, bandwidth, offsets)

    def rows(self, index: slice) -> KernelMaps:
        """Return some of the maps."""
        bandwidth, offsets = (
            None if tensor is None else tensor[index] for tensor in (self.bandwidth, self.offsets)
        )
        return KernelMaps(self.logits[index], self.grid, self.kernel, bandwidth, offsets)

    @property
    def differentiable(self) -> bool:
        """Whether a gradient is to flow to a parameter."""
        tensors = (self.logits, self.bandwidth, self.offsets)
        needed = any(tensor is not None and tensor.requires_grad for tensor in tensors)
        return torch.is_grad_enabled() and needed

    @property
    def count(self) -> int:
        """Number of maps."""
        return len(self.logits)

    @property
    def per_cell(self) -> bool:
        """Whether each cell has its own bandwidth."""
        return self.bandwidth is not None and self.bandwidth.dim() > 1

    @property
    def separable(self) -> bool:
        """Whether the kernels differ in their cell alone, so that axes can be summed in turn."""
        return self.offsets is None and not self.per_cell

    @property
    def axis_scale(self) -> Float[Tensor, "maps kernels ndim"]:
        """Scales along each axis, of each kernel or one for all of a map."""
        if self.bandwidth is None:
            return self.logits.new_tensor(self.grid.spacing).expand(self.count, 1, self.grid.ndim)
        scale = (self.bandwidth if self.per_cell else self.bandwidth.unsqueeze(1)).unsqueeze(2)
        return scale.expand(*scale.shape[:2], self.grid.ndim)

    @property
    def centres(self) -> Float[Tensor, "... ndim cells"]:
        """Kernel centres, `(ndim, cells)`, or `(maps, ndim, cells)` with offsets."""
        points = self.grid.points(dtype=self.logits.dtype, device=self.logits.device)
        centres = points.reshape(-1, self.grid.ndim).t()
        return centres if self.offsets is None else centres + self.offsets

    @cached_property
    def log_probs(self) -> Float[Tensor, "maps cells"]:
        """Normalised log-probabilities of the cells.

        Raises:
            ValueError: If one is NaN, with which no search ends well.
        """
        log_probs = self.logits.flatten(1).log_softmax(1)
        if bool(log_probs.isnan().any()):
            raise ValueError("logits must be finite or -inf, got NaN or +inf")
        return log_probs

    def kernels(self, rows: Tensor | slice = slice(None)) -> KernelList:
        """Return the kernels of some maps, in the order of the cells, with one scale each."""
        log_probs = self.log_probs[rows]
        centres = (self.centres if self.offsets is None else self.centres[rows]).mT
        if self.bandwidth is None:
            scale = self.logits.new_full((self.count, 1), self.grid.spacing[0])
        else:
            scale = self.bandwidth if self.per_cell else self.bandwidth.unsqueeze(1)
        shape = (*log_probs.shape, self.grid.ndim)
        return KernelList(log_probs, centres.expand(shape), scale[rows].expand_as(log_probs))

    def lists(
        self, log_size: Tensor, tail: float, cost: Callable[[int], int]
    ) -> Iterator[tuple[Tensor, KernelList]]:
        """Yield maps with their largest kernels, in the order of the cells.

        Args:
            log_size: `(maps, kernels)`, by what they are ordered and added up.
            tail: What the kernels left out may add up to.
            cost: Elements that a list of a length takes; see `groups`.
        """
        counts = torch.empty(self.count, dtype=torch.long, device=self.logits.device)
        for rows in blocks(self.count, log_size.shape[1]):
            rest = log_size[rows].exp().sort(1).values.cumsum(1)
            counts[rows] = (rest > tail).sum(1).clamp(min=1)
        for count, maps in groups(counts, cost, 4 * CACHED):
            kernels = log_size[maps].topk(count, 1, sorted=False).indices.sort(1).values
            yield maps, self.kernels(maps).take(kernels)

    @cached_property
    def summary(self) -> Summary:
        """Sums over the cells, in blocks of maps unless a gradient is to flow."""
        numbers = self.count * self.grid.numel if self.differentiable else CACHED
        rows = [self._summary(block) for block in blocks(self.count, self.grid.numel, numbers)]
        log_total, peak, mean_log, marginals, mean, spread, scale = zip(*rows, strict=True)
        return Summary(
            torch.cat(log_total),
            torch.cat(peak),
            torch.cat(mean_log),
            tuple(torch.cat(axis) for axis in zip(*marginals, strict=True)),
            torch.cat(mean),
            torch.cat(spread),
            torch.cat(scale),
        )

    def _summary(self, rows: slice) -> Summary:
        grid, flat = self.grid, self.logits[rows].flatten(1)
        top = flat.detach().amax(1, keepdim=True)
        below = (flat - top).clamp_(min=-1e4)  # of what has no mass the product is 0, not NaN
        below = below.double() if grid.ndim == 3 else below
        shares = below.exp()
        total = shares.sum(1)
        cells = shares.view(-1, *grid.shape)
        dims = range(1, grid.ndim + 1)
        marginals = tuple(
            (cells.sum([d for d in dims if d != dim]) if grid.ndim > 1 else cells)
            / total.unsqueeze(1)
            for dim in dims
        )
        if self.bandwidth is None:
            scale = torch.full_like(total, math.nan)
        elif self.per_cell:
            scale = (shares * self.bandwidth[rows].square()).sum(1) / total
        else:
            scale = self.bandwidth[rows].square()
        if self.offsets is None:
            mean, spread = _separable_moments(cells, total, marginals, grid)
        else:
            mean, spread = _moments(shares / total.unsqueeze(1), self.centres[rows].to(shares))
        mean_log = (shares * below).sum(1) / total - total.log()
        log_total = top.squeeze(1) + total.log()
        return Summary(log_total, 1.0 / total, mean_log, marginals, mean, spread, scale)

    @cached_property
    def windows(self) -> list[Window]:
        """Windows that hold all but `SPARE` of each map, or a third of its largest cell."""
        summary, grid = self.summary, self.grid
        if bool(summary.log_total.isnan().any()):
            raise ValueError("logits must be finite or -inf, got NaN or +inf")
        side = (0.3 * summary.peak.double()).clamp(max=SPARE).unsqueeze(1) / (2 * grid.ndim)
        firsts, widths = [], []
        for marginal in summary.marginals:
            below = marginal.double().cumsum(1)
            firsts.append((below < side).sum(1))
            beyond = (below[:, -1:] - below < side).sum(1) - 1
            widths.append((marginal.shape[1] - beyond - firsts[-1]).clamp(min=1))
        cost = lambda width: math.prod(min(width, count) for count in grid.shape)  # noqa: E731
        return [
            self._window(maps, [first[maps] for first in firsts], width)
            for width, maps in groups(torch.stack(widths).amax(0), cost)
        ]

    def log_prob_about(
        self, rows: Int[Tensor, " points"], points: Float[Tensor, "points ndim"]
    ) -> Float[Tensor, " points"]:
        """Return the log-density of separable maps from the cells about each point alone."""
        scale = self.axis_scale[rows, 0]
        values = points.new_empty(len(points))
        spacing = scale.new_tensor(self.grid.spacing)
        reach = (REACH * scale / spacing).ceil().long()
        middle = self.grid.to_cells(points).round().long()
        cost = lambda width: math.prod(min(width, count) for count in self.grid.shape)  # noqa: E731
        for width, index in groups(2 * reach.amax(1) + 1, cost, 4 * CACHED):
            first = (middle[index] - width // 2).clamp(min=0).flip(1).unbind(1)
            window = self._window(rows[index], list(first), width)
            near = points[index].unsqueeze(1) - window.shift.unsqueeze(1).to(points)
            values[index] = self.in_window(window, near).squeeze(1)
        return values

    def _window(self, maps: Tensor, firsts: list[Tensor], width: int) -> Window:
        """Return windows of some maps, at most so many cells wide, by their first cells."""
        grid, index = self.grid, torch.zeros_like(maps).reshape(-1, *(1,) * self.grid.ndim)
        shape: list[int] = []
        shift = []
        for dim, (first, count) in enumerate(zip(firsts, grid.shape, strict=True)):
            shape.append(min(width, count))
            first = first.clamp(max=count - shape[-1])
            cells = first.unsqueeze(1) + torch.arange(shape[-1], device=first.device)
            outer, inner = (1,) * dim, (1,) * (grid.ndim - 1 - dim)
            index = index * count + cells.reshape(len(maps), *outer, -1, *inner)
            shift.append(first.double() * grid.spacing[grid.ndim - 1 - dim])
        cells = index.flatten(1)
        logits = self.logits.flatten()[cells + grid.numel * maps.unsqueeze(1)]
        total = self.summary.log_total[maps].to(logits).unsqueeze(1)
        probs = (logits - total).exp_().view(-1, *shape)
        window = Grid(tuple(shape), grid.origin, grid.spacing)
        return Window(maps, cells, probs, window, torch.stack(shift[::-1], -1))

    def near_log_prob(
        self, points: Float[Tensor, "maps points ndim"]
    ) -> Float[Tensor, "maps points"]:
        """Return the log-density that the kernels make up within windows, or in short lists.

        What is left out is a share `δ` of the density only in regions that hold at most
        `SPARE / δ` of the mass. −∞ where nothing is near.
        """
        values = points.new_empty(points.shape[:2])
        if self.separable:
            for window in self.windows:
                near = points[window.maps] - window.shift.unsqueeze(1).to(points)
                values[window.maps] = self.in_window(window, near)
        else:
            size = points.shape[1]
            for maps, kernels in self.lists(self.log_probs, TAIL, lambda n: size * n):
                values[maps] = kernels.log_density(self.kernel, points[maps])
        return values

    def in_window(
        self, window: Window, points: Float[Tensor, "maps points ndim"]
    ) -> Float[Tensor, "maps points"]:
        """Return the log-density of separable maps at points in the window's own frame."""
        grid, ndim = window.grid, window.grid.ndim
        scale = self.axis_scale[window.maps]
        values = points.new_empty(points.shape[:2])
        cells = points.shape[1] * max(math.prod(grid.shape[1:]), max(grid.shape))
        for rows in blocks(len(points), cells):
            weights = []  # (maps, cells, points): sums run over what is not next to each other
            for axis in reversed(range(ndim)):
                centres = grid.centres(axis, dtype=points.dtype, device=points.device)
                u = points[rows, None, :, axis] - centres.unsqueeze(1)
                weights.append(self.kernel.weights_(u.div_(scale[rows, :, axis, None])))
            total = torch.bmm(
                window.probs[rows].flatten(2).mT if ndim > 1 else window.probs[rows].unsqueeze(1),
                weights[0],
            )
            for weight in weights[1:]:
                total = total.unflatten(1, (weight.shape[1], -1))
                total = total.mul_(weight.unsqueeze(2)).sum(1)
            values[rows] = total.squeeze(1)
        peak = self.kernel.log_density(scale.new_zeros(()))
        return values.log_().add_(ndim * peak - scale.log().sum(-1))


def _separable_moments(
    cells: Tensor, total: Tensor, marginals: tuple[Tensor, ...], grid: Grid
) -> tuple[Tensor, Tensor]:
    """Return mean and spread of kernels at the cells, which hold `cells / total`.

    Products are summed, not multiplied as matrices: these may be rounded to fewer digits, under
    autocast and by `torch.set_float32_matmul_precision`.
    """
    ndim, like = grid.ndim, {"dtype": cells.dtype, "device": cells.device}
    along = [marginals[ndim - 1 - axis] for axis in range(ndim)]
    centres = [grid.centres(axis, **like) for axis in range(ndim)]
    mean = torch.stack([(m * c).sum(-1) for m, c in zip(along, centres, strict=True)], -1)
    apart = [centre - mean[:, axis, None] for axis, centre in enumerate(centres)]
    entries = [[mean[:, 0]] * ndim for _ in range(ndim)]
    for i in range(ndim):
        entries[i][i] = (along[i] * apart[i].square()).sum(-1)
        for j in range(i):
            others = [ndim - axis for axis in range(ndim) if axis not in (i, j)]
            both = cells.sum(others) if others else cells  # the larger axis first
            rows = (both * apart[j].unsqueeze(1)).sum(-1)
            entries[i][j] = entries[j][i] = (rows * apart[i]).sum(-1) / total
    return mean, torch.stack([torch.stack(row, -1) for row in entries], -2)


def _moments(probs: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and spread of kernels at centres of their own, `(maps, ndim, cells)`."""
    mean = (centres * probs.unsqueeze(1)).sum(-1)
    apart = centres - mean.unsqueeze(-1)
    weighted = apart * probs.unsqueeze(1)
    rows = [(row.unsqueeze(1) * apart).sum(-1) for row in weighted.unbind(1)]
    return mean, torch.stack(rows, -2)
