"""Train a head on synthetic faces with doubled features, every face and every coin seen once.

    python benchmarks/ambiguous_training.py --head default --faces 8000 --out runs/ambiguous

Writes `HEAD.pt` into the folder: weights of a model of the landmarks in `LANDMARKS` alone.
`benchmarks/ambiguous.py` measures what such models say.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from kdn.data import CropDataset, SyntheticFaces
from kdn.density import GaussianDensity, KernelDensity
from kdn.heads import build_head
from kdn.markup import FACE68
from kdn.networks import FAN, ResNet
from kdn.recipe import AugmentRecipe, DataRecipe, HeadRecipe, OptimiseRecipe
from kdn.train.average import update_average
from kdn.train.schedule import rate_at

LANDMARKS = (*range(27), 30, 48, 54, 60, 64)
"""The jaw and everything that `SyntheticFaces` may draw twice."""

HEADS = {
    "default": HeadRecipe("kdn_gaussian"),
    "published": HeadRecipe("kdn_gaussian", learn_bandwidth="fixed", refine=1),
    "adaptive": HeadRecipe("kdn_adaptive"),
    "uniform": HeadRecipe("kdn_uniform"),
    "gaussian": HeadRecipe("gaussian"),
}
"""Every head by its short name."""

CROP = DataRecipe(height=160, width=160, context=0.65, cache_mib=0)
_AUGMENT = AugmentRecipe(rotation=15, scale_low=0.9, scale_high=1.1, shift=0.02, occlusion=0)
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Net(nn.Module):
    """Crops in, a density of each of `LANDMARKS` out."""

    def __init__(self, name: str, features: int) -> None:
        super().__init__()
        size = {"height": CROP.height, "width": CROP.width}
        self.head = build_head(HEADS[name], landmarks=len(LANDMARKS), stride=4, **size)
        channels = self.head.channels
        self.network = (
            FAN(channels=channels, stacks=1, features=features, depth=3)
            if self.head.takes_maps
            else ResNet(channels=channels, layers=18)
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, crops: Tensor) -> Tensor:
        """Return the network's outputs for uint8 crops."""
        mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in (_MEAN, _DEVIATION))
        images = (crops.float() / 255 - mean) / deviation
        return self.network(images.contiguous(memory_format=torch.channels_last))[-1]

    def density(self, crops: Tensor) -> KernelDensity | GaussianDensity:
        """Return the densities, crop pixels."""
        return self.head.density(self(crops))


def faces(count: int, seed: int, *, ambiguous: float = 0.8) -> SyntheticFaces:
    """Return synthetic faces with nothing in front."""
    return SyntheticFaces(count, seed=seed, ambiguous=ambiguous, occluded=0.0)


def train(name: str, count: int, *, features: int, rate: float, batch: int) -> Net:
    """Return the averaged model after one pass over `count` faces."""
    torch.manual_seed(0)
    model = Net(name, features).train()
    average = copy.deepcopy(model).requires_grad_(False)
    dataset = CropDataset(faces(count, 1), markup=FACE68, data=CROP, augment=_AUGMENT, seed=1)
    loader = DataLoader(dataset, batch_size=batch, drop_last=True)
    plan = OptimiseRecipe(rate=rate)
    optimiser = torch.optim.RMSprop(model.parameters(), lr=rate)
    chosen, began = torch.tensor(LANDMARKS), time.monotonic()
    recent = 0.0
    for step, item in enumerate(loader):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(plan, step / max(len(loader) - 1, 1))
        points = item["landmarks"][:, chosen]
        outputs = model(item["image"])
        counts = model.head.covers(outputs, points)
        loss = torch.where(counts, model.head.loss(outputs, points), 0.0).sum() / batch
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        update_average(average, model, decay=0.995, step=step)
        recent += (float(loss.detach()) / len(LANDMARKS) - recent) / min(step + 1, 50)
        if step % 50 == 0:
            took = time.monotonic() - began
            print(f"{name} {step}/{len(loader)} loss {recent:.3f} {took:.0f} s", flush=True)
    return average.eval()


def main() -> None:
    """Train one head and write its weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--head", choices=HEADS, required=True)
    parser.add_argument("--faces", type=int, default=8000)
    parser.add_argument("--features", type=int, default=48)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    options = {"features": given.features, "rate": given.rate, "batch": given.batch}
    model = train(given.head, given.faces, **options)
    facts = {"head": given.head, "faces": given.faces, **options}
    torch.save({"weights": model.state_dict(), **facts}, given.out / f"{given.head}.pt")


if __name__ == "__main__":
    main()
