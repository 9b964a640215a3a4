"""What the log-likelihood costs, beside softmax cross-entropy on the same logits.

Run `python benchmarks/log_prob.py`; with `--check` it fails if the separable path takes more than
1.5 times as long as cross-entropy. Every row is timed in turn with cross-entropy, forward and
backward; its ratio is the median of the ratios of such neighbouring pairs, since what else the
machine does then slows both. As in a training, whose other tensors are larger, the allocator keeps
the memory of one round for the next; otherwise it is chance which row asks the system for new
pages, which takes longer than the arithmetic.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from kdn.density import KernelDensity
from kdn.grid import Grid

LIMIT = 1.5
"""Allowed time of the separable path, in units of cross-entropy."""


def textbook(logits: Tensor, points: Tensor, grid: Grid, bandwidth: float) -> Tensor:
    """Return the log-density as written in the paper, with all weights in memory."""
    centres = grid.points().reshape(-1, grid.ndim)
    squares = (points[:, None] - centres).square().sum(-1)
    constant = 0.5 * grid.ndim * math.log(2 * math.pi * bandwidth**2)
    log_weights = -squares / (2 * bandwidth**2) - constant
    return (logits.flatten(1).log_softmax(-1) + log_weights).logsumexp(-1)


def library(logits: Tensor, points: Tensor, grid: Grid, bandwidth: float) -> Tensor:
    """Return the log-density by torch's own mixture."""
    kernels = Independent(Normal(grid.points().reshape(-1, grid.ndim), bandwidth), 1)
    kernels = kernels.expand((len(logits), grid.numel))
    return MixtureSameFamily(Categorical(logits=logits.flatten(1)), kernels).log_prob(points)


def rows(batch: int, landmarks: int, cells: tuple[int, ...]) -> dict[str, Callable[[], None]]:
    """Return the losses to time, forward and backward, by name."""
    generator = torch.Generator().manual_seed(0)
    shape, ndim = (batch, landmarks, *cells), len(cells)
    grid = Grid(cells, (0.0,) * ndim, (1.0,) * ndim)
    logits = torch.randn(shape, generator=generator).requires_grad_()
    last = torch.tensor(cells[::-1]) - 1
    points = torch.rand((batch, landmarks, ndim), generator=generator) * last
    targets = torch.zeros(batch, landmarks, dtype=torch.long)
    for axis in range(ndim - 1, -1, -1):
        targets = targets * cells[ndim - 1 - axis] + points[..., axis].round().long()
    learned = torch.ones(landmarks, requires_grad=True)
    offsets = torch.zeros(batch, landmarks, ndim, *cells, requires_grad=True)
    per_cell = torch.ones(shape, requires_grad=True)

    def losses() -> dict[str, Callable[[], Tensor]]:
        flat, rows_of_points = logits.view(-1, *cells), points.view(-1, ndim)
        return {
            "cross-entropy": lambda: F.cross_entropy(flat.flatten(1), targets.flatten()),
            "separable": lambda: (
                -KernelDensity(logits, grid, bandwidth=1.0).log_prob(points).mean()
            ),
            "separable, bandwidth learned": lambda: (
                -KernelDensity(logits, grid, bandwidth=learned).log_prob(points).mean()
            ),
            "uniform": lambda: (
                -KernelDensity(logits, grid, kernel="uniform").log_prob(points).mean()
            ),
            "adaptive": lambda: (
                -KernelDensity(logits, grid, bandwidth=per_cell, offsets=offsets)
                .log_prob(points)
                .mean()
            ),
            "textbook formula": lambda: -textbook(flat, rows_of_points, grid, 1.0).mean(),
            "MixtureSameFamily": lambda: -library(flat, rows_of_points, grid, 1.0).mean(),
        }

    def step(loss: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            loss().backward()
            logits.grad = learned.grad = offsets.grad = per_cell.grad = None

        return run

    return {name: step(loss) for name, loss in losses().items()}


def seconds(step: Callable[[], None]) -> float:
    """Return how long one step takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def measure(
    step: Callable[[], None], base: Callable[[], None], rounds: int
) -> tuple[float, float, float]:
    """Return the fastest and the median seconds of a step, and its median ratio to the base.

    Two rounds at the start do not count.
    """
    pairs = [(seconds(base), seconds(step)) for _ in range(rounds + 2)][2:]
    times = [time for _, time in pairs]
    return min(times), statistics.median(times), statistics.median(b / a for a, b in pairs)


def main() -> int:
    """Print the table; return 1 if it is to be checked and the limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help=f"fail above {LIMIT} × cross-entropy")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--landmarks", type=int, default=68)
    parser.add_argument("--size", type=int, default=64, help="cells along each axis")
    parser.add_argument("--volume", type=int, nargs=3, metavar=("D", "H", "W"), help="3-D instead")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", nargs="*", metavar="ROW", help="rows to time; all if not given")
    args = parser.parse_args()
    cells = tuple(args.volume or (args.size, args.size))
    steps = rows(args.batch, args.landmarks, cells)
    base = steps["cross-entropy"]
    torch.empty(30 << 18)  # 30 MiB taken and given back raise the thresholds of glibc's malloc
    shape = "×".join(map(str, (args.batch, args.landmarks, *cells)))
    print(f"logits {shape} float32, {torch.get_num_threads()} threads, {args.rounds} rounds\n")
    print(f"{'':30s} {'fastest ms':>10s} {'median ms':>10s} {'ratio':>7s}")
    ratios = {}
    for name in args.rows or steps:
        fastest, median, ratios[name] = measure(steps[name], base, args.rounds)
        print(f"{name:30s} {1e3 * fastest:10.1f} {1e3 * median:10.1f} {ratios[name]:7.2f}")
    if args.check and ratios.get("separable", 0.0) > LIMIT:
        print(f"\nseparable takes {ratios['separable']:.2f} × cross-entropy, more than {LIMIT}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
