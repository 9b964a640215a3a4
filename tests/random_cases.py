"""Random densities of every kind, with a small batch, and the kernels that they are made of.

Kernels are written out from the very numbers that the library was given, rounded to its dtype.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from answers import Case
from kdn.density import GaussianDensity, KernelDensity, LaplaceDensity, mixture
from kdn.grid import Affine, Grid
from references import Kernels

Rows = list[list[Kernels]]


class Dice:
    """Random choices that depend on a seed alone."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Return numbers between two."""
        cube = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return low + (high - low) * cube

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def number(self, low: float, high: float) -> float:
        """Return one number between two."""
        return float(self.uniform(low, high))

    def power(self, low: float, high: float) -> float:
        """Return a power of ten."""
        return 10.0 ** self.number(low, high)

    def whole(self, low: int, high: int) -> int:
        """Return a whole number, both ends included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def choice(self, *options: Any) -> Any:
        """Return one of some."""
        return options[self.whole(0, len(options) - 1)]

    def turn(self, *batch: int, ndim: int) -> Tensor:
        """Return rotations."""
        return torch.linalg.qr(self.normal(*batch, ndim, ndim)).Q


def logits_of(dice: Dice, grid: Grid) -> tuple[str, Tensor]:
    """Return logits of one map: flat, lively, peaked, two-peaked or along a line."""
    form = dice.choice("flat", "lively", "peaked", "two peaks", "line")
    logits = torch.zeros(grid.shape, dtype=torch.float64)
    if form != "flat":
        logits = logits + dice.number(0.3, 3.0) * dice.normal(*grid.shape)
    if form == "peaked":
        logits.flatten()[dice.whole(0, grid.numel - 1)] += dice.number(4.0, 20.0)
    if form == "two peaks":
        tops = torch.randperm(grid.numel, generator=dice.generator)[:2]
        logits.flatten()[tops] += 12.0 + dice.uniform(0.0, 0.5, len(tops))
    if form == "line":
        line = torch.arange(min(grid.shape))
        logits[(line,) * grid.ndim] += 20.0
    if dice.whole(0, 3) == 0:
        gone = dice.uniform(0.0, 1.0, *grid.shape) < 0.4
        gone.flatten()[logits.flatten().argmax()] = False
        logits, form = logits.masked_fill(gone, -math.inf), f"{form} with -inf"
    return form, logits


def kernels_of(density: KernelDensity, shape: str | None = None) -> Rows:
    """Return the kernels of every map, in float64; `shape` where they are not of the library."""
    grid, ndim, cells = density.grid, density.grid.ndim, density.grid.numel
    logits = density.raw_logits.double().reshape(-1, cells)
    axes = [
        grid.origin[i] + grid.spacing[i] * torch.arange(grid.shape[-1 - i], dtype=torch.float64)
        for i in range(ndim)
    ]
    mesh = torch.meshgrid(*axes[::-1], indexing="ij")[::-1]
    centres = torch.stack([part.flatten() for part in mesh], 1).expand(len(logits), cells, ndim)
    if density.offsets is not None:
        centres = centres + density.offsets.double().reshape(-1, ndim, cells).mT
    shape = shape or ("uniform" if density.bandwidth is None else "gaussian")
    if density.bandwidth is None:
        factors = torch.diag(torch.tensor(grid.spacing).double()).expand(len(logits), cells, -1, -1)
    else:
        bandwidth = density.bandwidth.double().reshape(len(logits), -1).expand(-1, cells)
        factors = torch.diag_embed(bandwidth.unsqueeze(2).expand(-1, -1, ndim))
    return [
        [Kernels(shape, p[p > 0], m[p > 0], f[p > 0])]
        for p, m, f in zip(logits.softmax(1), centres, factors, strict=True)
    ]


def kernel_density(
    dice: Dice,
    ndim: int,
    *,
    batch: tuple[int, ...],
    dtype: torch.dtype,
    uniform: bool = False,
    length: float | None = None,
    middle: Tensor | None = None,
) -> tuple[str, KernelDensity, Rows]:
    """Return a kernel density, of bandwidths about `length` and a grid about `middle` if given."""
    most = {1: 60, 2: 14, 3: 7}[ndim] if length is None else {1: 12, 2: 6, 3: 4}[ndim]
    shape = tuple(dice.whole(2, most) for _ in range(ndim))
    ratio = dice.power(-1.7, 0.5) if length is None else dice.power(-0.7, 0.3)
    size = dice.power(-1.0, 1.0) if length is None else length / ratio
    spacing = tuple(size * dice.number(1.0, 2.0) for _ in range(ndim))
    if middle is None:
        middle = torch.tensor([50.0 * size]) * dice.uniform(-1.0, 1.0, ndim)
    origin = tuple(
        float(m) - 0.5 * (n - 1) * s
        for m, n, s in zip(middle, shape[::-1], spacing, strict=True)
    )  # fmt: skip
    grid = Grid(shape, origin, spacing)
    maps = [logits_of(dice, grid) for _ in range(math.prod(batch))]
    logits = torch.stack([one for _, one in maps]).reshape(*batch, *shape).to(dtype)
    about = f"{shape} cells, {', '.join(form for form, _ in maps)}"
    if uniform:
        density = KernelDensity(logits, grid, kernel="uniform")
        return f"uniform, {about}", density, kernels_of(density)
    form = dice.choice("one bandwidth", "per map", "per cell")
    bandwidth: float | Tensor = ratio * size
    if form != "one bandwidth":
        sizes = batch if form == "per map" else (*batch, *shape)
        bandwidth = (bandwidth * (0.5 * dice.normal(*sizes)).exp()).to(dtype)
    offsets = None
    if dice.choice(True, False, False):
        scale = torch.tensor(spacing).double().reshape(-1, *(1,) * ndim)
        offsets = (0.4 * scale * dice.normal(*batch, ndim, *shape)).to(dtype)
        form += " with offsets"
    density = KernelDensity(logits, grid, bandwidth=bandwidth, offsets=offsets)
    return f"{form} of {ratio:.3g} spacings, {about}", density, kernels_of(density)


def gaussian(
    dice: Dice,
    ndim: int,
    *,
    batch: tuple[int, ...],
    dtype: torch.dtype,
    aspect: float,
    length: float = 1.0,
    middle: Tensor | None = None,
) -> tuple[str, GaussianDensity, Rows]:
    """Return Gaussians whose longest deviation is `aspect` times the shortest, `length`."""
    scales = length * aspect ** torch.linspace(0.0, 1.0, ndim).double()
    root = dice.turn(*batch, ndim=ndim) * scales
    factor = torch.linalg.cholesky(root @ root.mT).to(dtype)
    mean = 20.0 * length * dice.normal(*batch, ndim) if middle is None else middle
    mean = mean.expand(*batch, ndim).to(dtype)
    density = GaussianDensity(mean, factor)
    rows = [
        [Kernels("gaussian", torch.ones(1).double(), m[None].double(), f[None].double())]
        for m, f in zip(mean.reshape(-1, ndim), factor.reshape(-1, ndim, ndim), strict=True)
    ]
    return f"{ndim}-D Gaussian of aspect {aspect:.3g}", density, rows


def laplace(dice: Dice, batch: tuple[int, ...], length: float, middle: Tensor, dtype: torch.dtype):
    """Return Laplace distributions."""
    loc, scale = (
        middle.squeeze(0).expand(batch).to(dtype),
        (length * dice.uniform(0.5, 1.0, *batch)).to(dtype),
    )
    rows = [
        [Kernels("laplace", torch.ones(1).double(), m.reshape(1, 1), b.reshape(1, 1, 1))]
        for m, b in zip(loc.double().flatten(), scale.double().flatten(), strict=True)
    ]
    return "Laplace", LaplaceDensity(loc, scale), rows


def mapped(dice: Dice, density: Any, rows: Rows, *, size: float = 1.0) -> tuple[str, Any, Rows]:
    """Return a density of the plane in another frame: turned, scaled and often stretched."""
    batch = tuple(density.batch_shape)
    maps = batch[: dice.whole(0, len(batch))]
    stretch = dice.choice(1.0, 1.0, dice.number(1.0, 4.0))
    scales = size * torch.tensor([1.0, stretch]).double()
    linear = dice.turn(*maps, ndim=2) @ (scales.unsqueeze(1) * dice.turn(*maps, ndim=2))
    offset = 10.0 * size * dice.normal(*maps, 2)
    ones = (1,) * (len(batch) - len(maps))
    each = zip(
        rows,
        linear.reshape(*maps, *ones, 2, 2).expand(*batch, 2, 2).reshape(-1, 2, 2),
        offset.reshape(*maps, *ones, 2).expand(*batch, 2).reshape(-1, 2),
        strict=True,
    )
    moved = [[kernels.mapped(a, b) for kernels in row] for row, a, b in each]
    about = f"mapped by {size:.3g} to {size * stretch:.3g}"
    return about, density.mapped(Affine(linear, offset)), moved


BATCHES = ((), (3,), (2, 2), (4,))


def single_cases(count: int, seed: int) -> Iterator[Case]:
    """Yield cases of single densities, of `count` rows in all."""
    kinds: dict[str, Callable[[Dice, dict], tuple[str, Any, Rows]]] = {}
    for ndim in (1, 2, 3):
        kinds[f"kernels, {ndim}-D"] = lambda d, k, n=ndim: kernel_density(d, n, **k)
        kinds[f"uniform, {ndim}-D"] = lambda d, k, n=ndim: kernel_density(d, n, uniform=True, **k)
        kinds[f"Gaussian, {ndim}-D"] = lambda d, k, n=ndim: gaussian(d, n, aspect=d.choice(
            1.0, d.power(0.0, 1.0), d.power(1.0, 2.5)), **k)  # fmt: skip
    kinds["kernels mapped"] = lambda d, k: mapped(
        d, *kernel_density(d, 2, **k)[1:], size=d.power(-1.0, 1.0))  # fmt: skip
    kinds["uniform mapped"] = lambda d, k: mapped(d, *kernel_density(d, 2, uniform=True, **k)[1:])
    kinds["Gaussian mapped"] = lambda d, k: mapped(
        d, *gaussian(d, 2, aspect=d.power(0.0, 2.0), **k)[1:])  # fmt: skip
    often = ["kernels, 1-D", "kernels, 2-D", "kernels, 3-D", "kernels mapped", "kernels, 2-D"]
    done = index = 0
    while done < count:
        turn = [*kinds, *often]
        kind, dice = turn[index % len(turn)], Dice(1000003 * seed + index)
        batch, dtype = dice.choice(*BATCHES), dice.choice(torch.float32, torch.float64)
        about, density, rows = kinds[kind](dice, {"batch": batch, "dtype": dtype})
        groups = [[row] for row in rows]
        yield Case(kind, f"{kind} {index}", f"{about}, {dtype}", density, groups, dtype)
        done, index = done + len(rows), index + 1


def parts_of(
    dice: Dice,
    ndim: int,
    lengths: Sequence[float],
    apart: float,
    **common: Any,
) -> list[tuple[str, Any, Rows]]:
    """Return densities of one frame, of such widths, their middles `apart` times the widest."""
    parts = []
    for length in lengths:
        middle = apart * max(lengths) * dice.normal(ndim)
        form = dice.choice("kernels", "kernels", "gaussian", "mapped" if ndim == 2 else "kernels")
        sized = {**common, "length": length, "middle": middle}
        if form == "gaussian" and ndim > 1:
            parts.append(gaussian(dice, ndim, aspect=dice.choice(1.0, dice.power(0, 1)), **sized))
        elif form == "gaussian":
            parts.append(laplace(dice, **sized))
        else:
            about, density, rows = kernel_density(dice, ndim, **sized)
            if form == "mapped":
                affine = Affine(dice.turn(ndim=2), dice.normal(2) * max(lengths))
                rows = [[k.mapped(affine.linear, affine.offset) for k in row] for row in rows]
                density, about = density.mapped(affine), f"{about}, mapped"
            parts.append((about, density, rows))
    return parts


def mixture_cases(count: int, seed: int) -> Iterator[Case]:
    """Yield mixtures of two to four parts whose widths differ by 1 to 100, `count` rows in all."""
    done = index = 0
    while done < count:
        dice = Dice(2000003 * seed + index)
        ndim = dice.choice(1, 2, 2, 2, 3)
        batch, dtype = dice.choice(*BATCHES), dice.choice(torch.float32, torch.float64)
        ratio, many = dice.power(0.0, 2.0), dice.whole(2, 4)
        lengths = [dice.power(-1.0, 1.0) * ratio ** (i / (many - 1)) for i in range(many)]
        apart = dice.choice(0.3, 2.0, 10.0)
        parts = parts_of(dice, ndim, lengths, apart, batch=batch, dtype=dtype)
        weights = dice.uniform(0.1, 1.0, many)
        weights = weights / weights.sum()
        rows = [
            [k.weighted(float(w)) for w, row in zip(weights, of_parts, strict=True) for k in row]
            for of_parts in zip(*(rows for _, _, rows in parts), strict=True)
        ]
        about = f"widths 1:{ratio:.3g}, {dtype}: {' + '.join(a for a, _, _ in parts)}"
        build = (mixture, [one for _, one, _ in parts], weights.tolist())
        groups = [[row] for row in rows]
        yield Case(f"mixtures, {ndim}-D", f"mixture {index}", about, build, groups, dtype)
        done, index = done + len(rows), index + 1


def pool_cases(count: int, seed: int, log_pool: Callable[..., Any]) -> Iterator[Case]:
    """Yield log pools of two or three parts, widths 1 to 10 apart, `count` rows in all."""
    done = index = 0
    while done < count:
        dice = Dice(3000017 * seed + index)
        ndim = dice.choice(1, 2, 2, 3)
        batch, dtype = dice.choice(*BATCHES), dice.choice(torch.float32, torch.float64)
        ratio, many = dice.power(0.0, 1.0), dice.whole(2, 3)
        lengths = [ratio ** (i / (many - 1)) for i in range(many)]
        parts = parts_of(dice, ndim, lengths, 0.5, batch=batch, dtype=dtype)
        exponents = dice.uniform(0.2, 1.0, many)
        exponents = tuple((exponents / exponents.sum() * dice.choice(1.0, 1.0, 0.8)).tolist())
        groups = [list(of_parts) for of_parts in zip(*(rows for _, _, rows in parts), strict=True)]
        about = f"exponents {exponents}, {dtype}: {' + '.join(a for a, _, _ in parts)}"
        build = (log_pool, [one for _, one, _ in parts], exponents)
        yield Case(f"log pools, {ndim}-D", f"pool {index}", about, build, groups, dtype, exponents)
        done, index = done + len(groups), index + 1
