"""Landmarks in synthetic volumes: four losses for one small 3-D network.

    python benchmarks/volumes.py --steps 1200 --test 200

A volume shows two bodies, a large bright one and a small one, joined by two vessels that meet where
a third branches off: three landmarks, in millimetres, on slices 2 mm apart with pixels of 0.8 mm.
Everything is turned, scaled and moved, with noise of a strength that differs from volume to volume,
and in one of three volumes the surroundings of a landmark are blurred away. Labels are off by
0.7 mm along each axis, 1.1 mm in all. The four losses:

* `kdn`: `−log_prob` of a `KernelDensity`, bandwidth fixed at 1.2 mm;
* `kdn learned`: the same with one bandwidth per landmark, learned;
* `mse`: the mean squared difference from a Gaussian about the label, decoded by the argmax;
* `soft-argmax`: the distance of the mean of the softmax from the label, in millimetres.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdn import Grid, KernelDensity
from kdn.evaluate import Resamples

DEPTH, HEIGHT, WIDTH = 24, 40, 32
SPACING = (0.8, 0.8, 2.0)
"""Distance of voxels along x, y and z, in millimetres."""

VOXELS = Grid.of_volume(depth=DEPTH, height=HEIGHT, width=WIDTH, spacing=SPACING)
MAPS = Grid.of_volume(
    depth=DEPTH, height=HEIGHT // 2, width=WIDTH // 2, spacing=SPACING, stride=(2, 2, 1)
)
"""Cells of the maps: two by two pixels of a slice, 1.6 × 1.6 × 2 mm."""

LANDMARKS = 3
BANDWIDTH, TARGET = 1.2, 2.5
"""Standard deviations of the kernels, at the start where it is learned, and of the target of `mse`,
in millimetres."""

ANNOTATOR = 0.7
"""Standard deviation of labels about what they mark, along each axis, in millimetres."""

LOSSES = ("kdn", "kdn learned", "mse", "soft-argmax")

_SHAPE = ((-6.0, -7.0, -8.0), (6.0, 6.0, 10.0), (1.0, 1.0, -1.0))
_BRANCH = (7.0, -4.0, 6.0)


class Volumes(NamedTuple):
    """Volumes `(N, 1, depth, height, width)`, landmarks `(N, 3, 3)` in millimetres, and which of
    them are blurred away, `(N, 3)`."""

    images: Tensor
    landmarks: Tensor
    blurred: Tensor


def _turns(angles: Tensor) -> Tensor:
    """Return the rotation matrices `(N, 3, 3)` of rotation vectors `(N, 3)`."""
    x, y, z = angles.unbind(-1)
    none = torch.zeros_like(x)
    rows = [none, -z, y, z, none, -x, -y, x, none]
    return torch.linalg.matrix_exp(torch.stack(rows, -1).reshape(-1, 3, 3))


def _along(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return squared distances `(N, D, H, W)` of voxels from the segments between two points."""
    start, way = start[:, None, None, None], (end - start)[:, None, None, None]
    from_start = points - start
    share = ((from_start * way).sum(-1) / way.square().sum(-1)).clamp(0.0, 1.0)
    return (from_start - share.unsqueeze(-1) * way).square().sum(-1)


def draw(count: int, generator: torch.Generator) -> Volumes:
    """Return so many volumes, with landmarks at least 3 mm within the volume."""
    uniform = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    turn = _turns(1.0 * uniform(count, 3) - 0.5) * (0.8 + 0.35 * uniform(count, 1, 1))
    middle = torch.tensor(VOXELS.low) + torch.tensor(VOXELS.high)
    shift = 0.5 * middle + (uniform(count, 3) - 0.5) * torch.tensor([6.0, 10.0, 14.0])
    local = torch.tensor(_SHAPE) + 5.0 * (uniform(count, LANDMARKS, 3) - 0.5)
    landmarks = (turn.unsqueeze(1) @ local.unsqueeze(-1)).squeeze(-1) + shift.unsqueeze(1)
    landmarks = landmarks.clamp(torch.tensor(VOXELS.low) + 3.0, torch.tensor(VOXELS.high) - 3.0)
    large, small, joint = landmarks.unbind(1)
    tip = joint + (turn @ torch.tensor(_BRANCH).unsqueeze(-1)).squeeze(-1)
    points = VOXELS.points()
    body = lambda centre, width: torch.exp(  # noqa: E731
        -(points - centre[:, None, None, None]).square().sum(-1) / (2 * width**2)
    )
    images = torch.maximum(body(large, 2.8), 0.9 * body(small, 1.8))
    for start, end in ((joint, large), (joint, small), (joint, tip)):
        vessel = 0.6 * torch.exp(-_along(points, start, end) / (2 * 1.1**2))
        images = torch.maximum(images, vessel)
    blurred = F.one_hot(torch.randint(0, 3, (count,), generator=generator), 3).bool()
    blurred &= uniform(count, 1) < 1 / 3
    gone = landmarks[blurred]
    if len(gone):
        hidden = images[blurred.any(1)]
        spot = torch.exp(-(points - gone[:, None, None, None]).square().sum(-1) / (2 * 6.0**2))
        images[blurred.any(1)] = hidden * (1.0 - spot) + 0.2 * spot
    noise = (0.05 + 0.25 * uniform(count, 1, 1, 1)) * torch.randn(images.shape, generator=generator)
    labels = landmarks + ANNOTATOR * torch.randn(landmarks.shape, generator=generator)
    return Volumes((images + noise).unsqueeze(1), labels, blurred)


class Network(nn.Module):
    """A small 3-D encoder and decoder: volumes to one map per landmark, over `MAPS`."""

    def __init__(self, features: int = 12) -> None:
        super().__init__()
        f = features

        def block(before: int, after: int, stride: int | tuple[int, int, int] = 1) -> nn.Module:
            return nn.Sequential(
                nn.Conv3d(before, after, 3, stride, padding=1, bias=False),
                nn.GroupNorm(4, after),
                nn.ReLU(),
            )

        self.stem = block(1, f, (1, 2, 2))  # 24 × 20 × 16
        self.down = nn.Sequential(block(f, 2 * f, 2), block(2 * f, 2 * f))  # 12 × 10 × 8
        self.deep = nn.Sequential(
            block(2 * f, 4 * f, 2), block(4 * f, 4 * f), block(4 * f, 2 * f)
        )  # 6 × 5 × 4
        self.up = block(2 * f, f)
        self.last = nn.Conv3d(f, LANDMARKS, 3, padding=1)
        self.log_bandwidth = nn.Parameter(torch.full((LANDMARKS,), math.log(BANDWIDTH)))

    def forward(self, images: Tensor) -> Tensor:
        fine = self.stem(images)
        middle = self.down(fine)
        deep = F.interpolate(self.deep(middle), scale_factor=2.0, mode="trilinear")
        up = F.interpolate(self.up(middle + deep), scale_factor=2.0, mode="trilinear")
        return self.last(fine + up)  # (batch, landmarks, 24, 20, 16)


def soft_labels(landmarks: Tensor) -> Tensor:
    """Return Gaussians of height 1 about the landmarks, `(N, 3, *MAPS.shape)`."""
    squares = (MAPS.points() - landmarks[:, :, None, None, None]).square().sum(-1)
    return torch.exp(-squares / (2 * TARGET**2))


def density_of(name: str, network: Network, maps: Tensor) -> KernelDensity:
    """Return the density of the network's maps."""
    learned = name == "kdn learned"
    return KernelDensity(
        maps, MAPS, bandwidth=network.log_bandwidth.exp() if learned else BANDWIDTH
    )


def loss_of(name: str, network: Network, volumes: Volumes) -> Tensor:
    """Return the loss of a batch."""
    maps = network(volumes.images)
    if name == "mse":
        # As a share of the target's own sum of squares: a mean over cells would be next to nothing,
        # and their sum so much that the clip of the gradient would decide.
        target = soft_labels(volumes.landmarks)
        return (maps - target).square().sum() / target.square().sum()
    density = density_of(name, network, maps)
    if name == "soft-argmax":
        return torch.linalg.vector_norm(density.mean - volumes.landmarks, dim=-1).sum(-1).mean()
    return -density.log_prob(volumes.landmarks).sum(-1).mean()


def train(name: str, *, steps: int, batch: int, rate: float, seed: int) -> tuple[Network, list]:
    """Return a network trained on volumes drawn on the fly, and the loss of every step."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network()
    optimiser = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    losses = []
    for _ in range(steps):
        loss = loss_of(name, network, draw(batch, generator))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return network.eval(), losses


class Scores(NamedTuple):
    """What a network says of test volumes, all `(N, 3)`.

    Attributes:
        errors: Distance of the prediction from the label, mm.
        uncertainty: What ranks predictions: a length in mm, for `mse` one minus the highest value.
        nll: Nats per mm³; NaN for `mse`, which has no density.
        levels: Mass denser than the label; NaN for `mse`.
    """

    errors: np.ndarray
    uncertainty: np.ndarray
    nll: np.ndarray
    levels: np.ndarray


@torch.no_grad()
def score(name: str, network: Network, volumes: Volumes) -> Scores:
    """Return the scores of a network on volumes that it has not seen."""
    parts = []
    for images, labels in zip(volumes.images.split(25), volumes.landmarks.split(25), strict=True):
        maps = network(images)
        density = density_of(name, network, maps)
        if name == "mse":
            best = maps.flatten(2).argmax(2)
            points = MAPS.points().reshape(-1, 3)[best]
            none = torch.full(best.shape, math.nan)
            part = 1.0 - maps.flatten(2).amax(2), none, none
        else:
            points = density.mean if name == "soft-argmax" else density.mode
            part = (
                density.uncertainty_length,
                -density.log_prob(labels),
                density.hdr_level(labels),
            )
        parts.append((torch.linalg.vector_norm(points - labels, dim=-1), *part))
    return Scores(*(torch.cat(some).numpy() for some in zip(*parts, strict=True)))


def constant_error(volumes: Volumes, reference: Volumes) -> float:
    """Return the mean error, mm, of the mean place of each landmark in other volumes."""
    away = volumes.landmarks - reference.landmarks.mean(0)
    return float(torch.linalg.vector_norm(away, dim=-1).mean())


def bounds(statistic, arrays: tuple[np.ndarray, ...], seed: int = 0) -> str:
    """Return a statistic with its 95 % interval over resampled volumes, as text."""
    generator = np.random.default_rng(seed)
    count = len(arrays[0])
    draws = [generator.integers(0, count, count) for _ in range(500)]
    values = [statistic(*(array[index] for array in arrays)) for index in draws]
    low, high = np.percentile(values, [2.5, 97.5])
    return f"{statistic(*arrays):.2f} ({low:.2f}, {high:.2f})"


def row(name: str, scores: Scores, blurred: np.ndarray, seconds: float) -> str:
    """Return a line of the table."""
    ranks = lambda a, b: float(Resamples(a.size).spearman(a.ravel(), b.ravel())[0])  # noqa: E731
    cells = [
        bounds(lambda e: e.mean(), (scores.errors,)),
        f"{np.median(scores.errors):.2f}",
        f"{scores.errors[~blurred].mean():.2f} / {scores.errors[blurred].mean():.2f}",
    ]
    if np.isnan(scores.nll).any():
        cells += ["–", "–"]
    else:
        covered = lambda levels: 100 * (levels <= 0.95).mean()  # noqa: E731
        cells += [bounds(lambda n: n.mean(), (scores.nll,)), bounds(covered, (scores.levels,))]
    cells += [bounds(ranks, (scores.uncertainty, scores.errors)), f"{seconds:.0f}"]
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Train with every loss and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--losses", nargs="*", default=LOSSES, choices=LOSSES)
    args = parser.parse_args()
    test = draw(args.test, torch.Generator().manual_seed(1000 + args.seed))
    other = draw(400, torch.Generator().manual_seed(2000 + args.seed))
    print(f"mean place: {constant_error(test, other):.2f} mm; {args}\n")
    print(
        "| Loss | error (mm) | median | seen / blurred away | NLL (nats/mm³) | coverage of "
        "95 % regions (%) | Spearman | training (s) |\n|---|---|---|---|---|---|---|---|"
    )
    for name in args.losses:
        start = time.perf_counter()
        network, _ = train(name, steps=args.steps, batch=args.batch, rate=args.rate, seed=args.seed)
        seconds = time.perf_counter() - start
        print(row(name, score(name, network, test), test.blurred.numpy(), seconds), flush=True)
        if name == "kdn learned":
            print(f"<!-- bandwidths {network.log_bandwidth.exp().tolist()} mm -->", flush=True)


if __name__ == "__main__":
    main()
