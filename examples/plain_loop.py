"""Densities in a plain PyTorch loop: a network of your own, data of your own.

    python examples/plain_loop.py

Of kdn it takes `Grid` and `KernelDensity` alone. The pictures are drawn here: three marks of a
shape that is turned, scaled and moved, with noise, and one label in six is missing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from kdn import Grid, KernelDensity

HEIGHT, WIDTH, STRIDE, LANDMARKS = 48, 64, 2, 3
# 24 × 32 cells, each of 2 × 2 pixels. All that is said of points is in pixels of the 48 × 64 crop.
GRID = Grid.of_heatmap(height=HEIGHT // STRIDE, width=WIDTH // STRIDE, stride=STRIDE)


class Network(nn.Module):
    """Any network that gives one map per landmark; the last layer has no activation."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=STRIDE, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 24, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv2d(24, 24, 3, padding=4, dilation=4),
            nn.ReLU(),
            nn.Conv2d(24, 24, 3, padding=6, dilation=6),
            nn.ReLU(),
            nn.Conv2d(24, LANDMARKS, 3, padding=1),
        )
        # One bandwidth per landmark, in pixels, learned; as a logarithm it stays positive.
        self.log_bandwidth = nn.Parameter(torch.zeros(LANDMARKS))  # 1 pixel at the start

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(images), self.log_bandwidth.exp()


def density_of(network: nn.Module, images: Tensor) -> KernelDensity:
    """Return the densities of a batch, one per picture and landmark."""
    logits, bandwidth = network(images)
    return KernelDensity(logits, GRID, bandwidth=bandwidth)


def loss_of(density: KernelDensity, points: Tensor, valid: Tensor) -> Tensor:
    """Return minus the log-likelihood, summed over landmarks and averaged over the batch."""
    somewhere = points.where(valid.unsqueeze(-1), 0.0)  # NaN would spoil the gradient of all
    log_prob = density.log_prob(somewhere)  # (batch, landmarks), nats per pixel²
    return -log_prob.where(valid, 0.0).sum(-1).mean()


def predict(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return points, covariances and more, in pixels."""
    network.eval()
    with torch.inference_mode():
        density = density_of(network, images)
        return {
            "points": density.mode,  # (batch, landmarks, 2)
            "covariances": density.covariance_matrix,  # (batch, landmarks, 2, 2)
            "uncertainty": density.uncertainty_length,  # (batch, landmarks), a length
            "probably_within_2": density.mass_within(density.mode, 2.0),
        }


def draw(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures `(N, 1, 48, 64)`, labels `(N, 3, 2)` in pixels, and which there are."""
    angle = torch.rand(count, 1, generator=generator) - 0.5
    scale = 0.8 + 0.4 * torch.rand(count, 1, generator=generator)
    shape = torch.tensor([[-14.0, -6.0], [12.0, -8.0], [1.0, 11.0]])
    shape = shape + 3.0 * torch.randn(count, LANDMARKS, 2, generator=generator)
    x = scale * (angle.cos() * shape[..., 0] - angle.sin() * shape[..., 1])
    y = scale * (angle.sin() * shape[..., 0] + angle.cos() * shape[..., 1])
    middle = torch.tensor([WIDTH / 2, HEIGHT / 2])
    points = middle + torch.stack([x, y], -1)
    points = points + 4.0 * torch.rand(count, 1, 2, generator=generator) - 2.0
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    across = columns - points[..., 0, None, None]
    down = rows - points[..., 1, None, None]
    widths = torch.tensor([1.2, 2.0, 3.0]).reshape(LANDMARKS, 1, 1)
    images = torch.exp(-(across**2 + down**2) / (2 * widths**2)).sum(1, keepdim=True)
    images = images + 0.2 * torch.randn(images.shape, generator=generator)
    valid = torch.rand(count, LANDMARKS, generator=generator) > 1 / 6
    labels = points + 0.5 * torch.randn(points.shape, generator=generator)  # no label is exact
    return images, labels.where(valid.unsqueeze(-1), torch.nan), valid


def train(steps: int, batch: int, seed: int) -> tuple[Network, list[float]]:
    """Return a trained network and the loss of every step."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network, losses = Network(), []
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        images, points, valid = draw(batch, generator)
        loss = loss_of(density_of(network, images), points, valid)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return network, losses


def main(steps: int = 250, batch: int = 16, test: int = 100, seed: int = 0) -> dict[str, float]:
    """Train, save, load, predict and score; return the scores."""
    network, losses = train(steps, batch, seed)

    # The density has no parameters of its own: the network's weights are all there is to save.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.pt"
        torch.save(network.state_dict(), file)
        again = Network()
        again.load_state_dict(torch.load(file, weights_only=True))

    images, points, valid = draw(test, torch.Generator().manual_seed(seed + 1))
    found = predict(again, images)
    errors = (found["points"] - points).norm(dim=-1)[valid]
    with torch.inference_mode():
        density = density_of(again, images)
        levels = density.hdr_level(points)[valid]  # mass denser than the label
        nll = -density.log_prob(points)[valid].mean()
    constant = (points - points.nanmean(0)).norm(dim=-1)[valid]
    scores = {
        "first loss": losses[0],
        "last loss": sum(losses[-10:]) / 10,
        "error": float(errors.mean()),
        "error of the mean place": float(constant.mean()),
        "NLL": float(nll),
        "coverage of 90 % regions": float((levels <= 0.9).float().mean()),
        "mean uncertainty": float(found["uncertainty"].mean()),
    }
    for name, value in scores.items():
        print(f"{name:26s} {value:8.3f}")
    return scores


if __name__ == "__main__":
    main()
