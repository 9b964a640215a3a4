"""Somebody else's heatmap network, from the squared error to the likelihood in three lines.

    python examples/foreign_heatmaps.py

Needs `pip install monai`. The network is MONAI's `UNet`, with one channel per landmark;
the pictures are those of `plain_loop.py`. It is trained both ways, with the squared error for twice
the steps.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.networks.nets.unet import UNet
from torch import Tensor, nn

from kdn import Grid, KernelDensity
from plain_loop import HEIGHT, LANDMARKS, WIDTH, draw

WIDTH_OF_TARGET = 2.0  # pixels


def build() -> nn.Module:
    """Return a network of pictures to maps of the same size."""
    return UNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=LANDMARKS,
        channels=(16, 24, 32),
        strides=(2, 2),
        num_res_units=0,  # the last layer is a convolution alone, as the squared error needs it
    )


# Before: the squared error of a Gaussian target, and the argmax.


def soft_labels(points: Tensor) -> Tensor:
    """Return Gaussians of height 1 about the labels, `(N, 3, 48, 64)`."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    across = columns - points[..., 0, None, None]
    down = rows - points[..., 1, None, None]
    return torch.exp(-(across**2 + down**2) / (2 * WIDTH_OF_TARGET**2))


def mse_loss(maps: Tensor, points: Tensor, valid: Tensor) -> Tensor:
    points = points.where(valid.unsqueeze(-1), 0.0)
    loss = (maps - soft_labels(points)).square().mean((-2, -1))
    return loss.where(valid, 0.0).sum(-1).mean()


def argmax(maps: Tensor) -> Tensor:
    best = maps.flatten(2).argmax(2)
    return torch.stack([best % WIDTH, best // WIDTH], -1).float()


# After: the same maps are the logits of a density. The maps have the size of the picture, so the
# stride is 1 and a cell's centre is its pixel's.

GRID = Grid.of_heatmap(height=HEIGHT, width=WIDTH, stride=1)


def kdn_loss(maps: Tensor, points: Tensor, valid: Tensor) -> Tensor:
    points = points.where(valid.unsqueeze(-1), 0.0)
    loss = -KernelDensity(maps, GRID, bandwidth=1.0).log_prob(points)
    return loss.where(valid, 0.0).sum(-1).mean()


def mode(maps: Tensor) -> Tensor:
    return KernelDensity(maps, GRID, bandwidth=1.0).mode


def train(
    loss_of: Callable[[Tensor, Tensor, Tensor], Tensor], steps: int, seed: int
) -> tuple[nn.Module, list[float]]:
    """Return a network trained with a loss, and the loss of every step."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network, losses = build(), []
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        images, points, valid = draw(16, generator)
        loss = loss_of(network(images), points, valid)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return network.eval(), losses


def main(steps: int = 120, test: int = 100, seed: int = 0) -> dict[str, float]:
    """Train both ways and compare; return the scores."""
    images, points, valid = draw(test, torch.Generator().manual_seed(seed + 1))
    before, mse_losses = train(mse_loss, 2 * steps, seed)
    after, kdn_losses = train(kdn_loss, steps, seed)
    with torch.inference_mode():
        density = KernelDensity(after(images), GRID, bandwidth=1.0)
        errors = {
            "error, squared error": (argmax(before(images)) - points).norm(dim=-1)[valid],
            "error, kernel density": (density.mode - points).norm(dim=-1)[valid],
            "error of the mean place": (points - points.nanmean(0)).norm(dim=-1)[valid],
        }
        scores = {
            **{name: float(error.mean()) for name, error in errors.items()},
            **{f"median {name}": float(error.median()) for name, error in errors.items()},
            "first MSE": mse_losses[0],
            "last MSE": sum(mse_losses[-10:]) / 10,
            "first loss": kdn_losses[0],
            "last loss": sum(kdn_losses[-10:]) / 10,
            "NLL": float(-density.log_prob(points)[valid].mean()),
            "coverage of 90 % regions": float(
                (density.hdr_level(points)[valid] <= 0.9).float().mean()
            ),
        }
    for name, value in scores.items():
        print(f"{name:28s} {value:8.3f}")
    return scores


if __name__ == "__main__":
    main()
