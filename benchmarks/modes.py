"""What the mode and the level of the highest-density region cost, on 32 × 68 maps.

Run `python benchmarks/modes.py`. Maps as a trained network gives them have one or two blobs over a
low floor; random logits are the worst case, as every cell then counts. The fastest round counts: it
is the one that the rest of the machine disturbed least. A first round does not count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from kdn.density import KernelDensity
from kdn.grid import Grid


def blobs(batch: int, landmarks: int, size: int, generator: torch.Generator) -> Tensor:
    """Return logits with one or two blobs over a floor of a hundredth to 1e-5 of the mass."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(batch, landmarks, *shape, 1, 1, generator=generator)

    cells = torch.arange(size, dtype=torch.float32)
    x, y = (size * (0.1 + 0.8 * uniform(2)) for _ in range(2))
    width = 0.6 + 1.2 * uniform(2)
    squares = (cells - x).square() + (cells[:, None] - y).square()
    heights = torch.cat([torch.ones_like(uniform(1)), uniform(1) * (uniform(1) < 0.3)], 2)
    density = (heights * (-0.5 * squares / width.square()).exp()).sum(2)
    noise = torch.randn(density.shape, generator=generator)
    floor = 10 ** (3.0 * uniform() - 5.0) * density.mean((-2, -1), keepdim=True)
    return (density + floor).log() + 0.3 * noise


def cases(batch: int, landmarks: int, generator: torch.Generator) -> Iterator[tuple[str, dict]]:
    """Yield what to time: a name, and the arguments of a density, in units of its own cells."""
    maps = (batch, landmarks)
    yield "64×64 trained, bandwidth 1", {"logits": blobs(*maps, 64, generator), "bandwidth": 1.0}
    noise = torch.randn(*maps, 64, 64, generator=generator)
    yield "64×64 random, bandwidth 1", {"logits": noise, "bandwidth": 1.0}
    coarse = blobs(*maps, 32, generator)
    fine = F.interpolate(coarse, scale_factor=4, mode="bicubic", align_corners=False)
    yield "128×128 refined, bandwidth 0.4", {"logits": fine, "bandwidth": 0.4}
    spread = torch.randn(*maps, 32, 32, generator=generator)
    yield (
        "32×32 adaptive, bandwidth 0.3–1.2",
        {
            "logits": coarse,
            "bandwidth": (0.4 * spread - 0.5).exp(),
            "offsets": 3.0 * torch.rand(*maps, 2, 32, 32, generator=generator) - 1.5,
        },
    )


def fastest(work: Callable[[], object], rounds: int) -> float:
    """Return the seconds of the fastest round."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--landmarks", type=int, default=68)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    print(f"{args.batch} × {args.landmarks} maps, float32, {torch.get_num_threads()} threads,")
    print(f"fastest of {args.rounds} rounds, ms\n")
    print(f"{'':36s} {'mode':>8s} {'hdr_level':>10s}")
    for name, options in cases(args.batch, args.landmarks, generator):
        shape = options["logits"].shape[2:]
        density = KernelDensity(grid=Grid(tuple(shape), (0.0, 0.0), (1.0, 1.0)), **options)
        points = density.sample(generator=generator)
        mode = fastest(lambda density=density: density.mode, args.rounds)
        level = fastest(lambda d=density, points=points: d.hdr_level(points), args.rounds)
        print(f"{name:36s} {1e3 * mode:8.0f} {1e3 * level:10.0f}")


if __name__ == "__main__":
    main()
