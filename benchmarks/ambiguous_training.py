"""Train all heads on synthetic faces with doubled features.

    python benchmarks/ambiguous_training.py --out runs/ambiguous.pt

One network with the maps of four heads side by side, so that they share its features, and a
ResNet-18 for the head with one Gaussian. Every face comes with the labels of two annotators who
disagree wherever there are two places: the loss is the mean over both labels. `ambiguous.py`
measures what the heads say.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdn.data import CropDataset, PointLabels, SyntheticFaces
from kdn.data.markup import FACE68, Markup
from kdn.density import GaussianDensity, KernelDensity
from kdn.grid import Affine, Grid
from kdn.models.heads import Head, build_head
from kdn.models.networks.fan import FAN
from kdn.models.networks.resnet import ResNet18
from kdn.recipe import AugmentRecipe, DataRecipe, HeadRecipe, OptimiseRecipe
from kdn.train.schedule import rate_at, update_average

LANDMARKS = (8, 19, 24, 30, 48, 54)
"""One landmark of each feature that `SyntheticFaces` may draw twice."""

HEADS = {
    "default": HeadRecipe("kdn_gaussian"),
    "published": HeadRecipe("kdn_gaussian", learn_bandwidth="fixed", refine=1),
    "adaptive": HeadRecipe("kdn_adaptive"),
    "uniform": HeadRecipe("kdn_uniform"),
}
"""The heads on maps, by their short names."""

CROP = DataRecipe(height=128, width=128, context=0.6, cache_mib=0)
_AUGMENT = AugmentRecipe(rotation=15, scale_low=0.9, scale_high=1.1, shift=0.02, occlusion=0)
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CELLS = Grid.of_heatmap(height=CROP.height // 4, width=CROP.width // 4, stride=4)
_LABELS = PointLabels(Markup("some", len(LANDMARKS), flip=tuple(range(len(LANDMARKS)))))


def normalised(crops: Tensor) -> Tensor:
    """Return uint8 crops as networks take them."""
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in (_MEAN, _DEVIATION))
    return ((crops.float() / 255 - mean) / deviation).contiguous(memory_format=torch.channels_last)


class MapHeads(nn.Module):
    """One network, the densities of all heads on maps."""

    def __init__(self, features: int) -> None:
        super().__init__()
        heads = {name: build_head(recipe, _LABELS, _CELLS) for name, recipe in HEADS.items()}
        self.heads = nn.ModuleDict(heads)
        self.names = list(heads)
        self.channels = [head.channels for head in heads.values()]
        self.network = FAN(channels=sum(self.channels), stacks=1, features=features, depth=3)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, crops: Tensor) -> dict[str, tuple[Head, Tensor]]:
        """Return each head with its outputs."""
        maps = self.network(normalised(crops))[-1].split(self.channels, dim=1)
        return {
            name: (cast("Head", self.heads[name]), own)
            for name, own in zip(self.names, maps, strict=True)
        }


class OneGaussian(nn.Module):
    """A ResNet-18 with one Gaussian per landmark; it sees the crops at half their size."""

    def __init__(self) -> None:
        super().__init__()
        head = build_head(HeadRecipe("gaussian"), _LABELS, _CELLS)
        self.heads = nn.ModuleDict({"gaussian": head})
        self.network = ResNet18(head.channels)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, crops: Tensor) -> dict[str, tuple[Head, Tensor]]:
        """Return the head with its outputs."""
        outputs = self.network(F.avg_pool2d(normalised(crops), 2))[-1]
        return {"gaussian": (cast("Head", self.heads["gaussian"]), outputs)}


def densities(model: nn.Module, crops: Tensor) -> dict[str, KernelDensity | GaussianDensity]:
    """Return the densities of every head, batch `(batch, landmarks)`, crop pixels."""
    return {name: head.density(own) for name, (head, own) in model(crops).items()}


def faces(count: int, seed: int, *, ambiguous: float = 0.8) -> SyntheticFaces:
    """Return synthetic faces with nothing in front."""
    return SyntheticFaces(count, seed=seed, ambiguous=ambiguous, occluded=0.0)


def pool(
    count: int, seed: int, *, ambiguous: float = 0.8, augment: AugmentRecipe | None = None
) -> dict[str, Tensor]:
    """Return crops of faces with both places of `LANDMARKS`, and the faces' sizes, crop pixels.

    Where there is but one place, it stands there twice.
    """
    samples = faces(count, seed, ambiguous=ambiguous)
    data = CropDataset(samples, labels=PointLabels(FACE68), data=CROP, augment=augment, seed=seed)
    images, points, lengths = [], [], []
    for index in range(count):
        item, sample = data[index], data.samples[index]
        to_crop = Affine.of_matrix(item["crop_to_image"]).inverse()
        other = to_crop.points(torch.from_numpy(sample.alternatives)).float()
        if float(torch.linalg.det(to_crop.linear)) < 0:
            other = other[list(FACE68.flip)]
        first = item["target"]
        second = torch.where(other.isfinite().all(-1, keepdim=True), other, first)
        images.append(item["image"])
        points.append(torch.stack([first, second])[:, list(LANDMARKS)])
        x0, y0, x1, y1 = sample.bbox
        area = (x1 - x0) * (y1 - y0) * abs(float(torch.linalg.det(to_crop.linear)))
        lengths.append(area**0.5)
    return {
        "image": torch.stack(images),
        "points": torch.stack(points),
        "length": torch.tensor(lengths),
    }


def loss_of(head: Head, outputs: Tensor, points: Tensor) -> Tensor:
    """Return the loss per face: the mean over both labels, landmarks summed.

    Landmarks with one place count a twentieth: most are of that kind, and say nothing of masses.
    """
    density = head.density(outputs)
    counts = torch.stack([head.covers(outputs, label) for label in points])
    weight = torch.where((points[0] - points[1]).norm(dim=-1) > 1.0, 1.0, 0.05)
    each = torch.where(counts, -weight * density.log_prob(points), 0.0)
    return each.sum() / len(points) / points.shape[1]


def train(
    model: nn.Module, data: dict[str, Tensor], *, steps: int, rate: float, seconds: float
) -> nn.Module:
    """Return the averaged model after so many steps, or so much time if that is over before."""
    average = copy.deepcopy(model).requires_grad_(False)
    plan, batch, count = OptimiseRecipe(rate=rate), 20, len(data["image"])
    optimiser = torch.optim.RMSprop(model.parameters(), lr=rate)
    began, recent, order = time.monotonic(), 0.0, torch.randperm(count)
    for step in range(steps):
        at = step * batch % count
        order = torch.randperm(count) if at == 0 else order
        rows = order[at : at + batch]
        progress = max(step / max(steps - 1, 1), (time.monotonic() - began) / seconds)
        if progress > 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = rate_at(plan, progress)
        points = data["points"][rows].transpose(0, 1)
        losses = [loss_of(head, own, points) for head, own in model(data["image"][rows]).values()]
        torch.stack(losses).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        update_average(average, model, decay=0.999, step=step)
        now = torch.stack(losses).detach() / len(LANDMARKS)
        recent = recent + (now - recent) / min(step + 1, 50)
        if step % 50 == 0:
            took = time.monotonic() - began
            print(f"{step}/{steps} loss {[round(x, 3) for x in recent.tolist()]} {took:.0f} s",
                  flush=True)  # fmt: skip
    return average.eval()


def main() -> None:
    """Train and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=6000)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--gaussian-steps", type=int, default=600)
    parser.add_argument("--minutes", type=float, default=60.0, help="time for all steps")
    parser.add_argument("--features", type=int, default=48)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1, help="of the faces")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--start", type=Path, help="go on from what an earlier run wrote")
    given = parser.parse_args()
    if given.out is None:
        print("Nothing measured: name a file for the weights with --out.")
        return
    torch.set_num_threads(1)
    torch.manual_seed(0)
    began = time.monotonic()
    data = pool(given.faces, given.seed, ambiguous=1.0, augment=_AUGMENT)
    print(f"{given.faces} faces drawn in {time.monotonic() - began:.0f} s", flush=True)
    maps, one = MapHeads(given.features).train(), OneGaussian().train()
    if given.start is not None:
        before = torch.load(given.start, weights_only=True)
        maps.load_state_dict(before["maps"])
        one.load_state_dict(before["gaussian"])
    limit = 60 * given.minutes
    one = train(one, data, steps=given.gaussian_steps, rate=1e-3, seconds=0.1 * limit)
    kept = {"features": given.features, "gaussian": one.state_dict()}
    maps = train(maps, data, steps=given.steps, rate=given.rate, seconds=0.9 * limit)
    torch.save({**kept, "maps": maps.state_dict()}, given.out)


if __name__ == "__main__":
    main()
