"""Masses of two places from the mixture of the densities of several crops of one face.

    python benchmarks/ambiguous_crops.py runs/ambiguous.pt --crops 8

The crops are turned, moved, scaled and mirrored a little; each density counts alike, and a mass of
the mixture is the mean of theirs. Same faces and places as `ambiguous.py`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ambiguous import PIXELS, TITLES, load, pixel_masses, rows_of
from ambiguous_training import CROP, LANDMARKS, densities, faces
from kdn.data import CropDataset, PointLabels, Sample
from kdn.data.markup import FACE68
from kdn.grid import Affine
from kdn.recipe import AugmentRecipe

_VARIED = AugmentRecipe(
    rotation=12, scale_low=0.92, scale_high=1.08, shift=0.02, occlusion=0, colour=0, flip=0.5
)


@dataclass(frozen=True)
class Look:
    """One crop of a face.

    Args:
        image: The crop.
        to_crop: From image to crop pixels.
    """

    image: Tensor
    to_crop: Affine

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged."""
        return float(torch.linalg.det(self.to_crop.linear)) < 0

    def upper_masses(self, model: nn.Module, sample: Sample) -> dict[tuple[str, int], float]:
        """Return the mass nearer to the upper place, by head and landmark with two places."""
        first, second = sample.landmarks, sample.alternatives
        assert second is not None
        with torch.inference_mode():
            found = densities(model, self.image.unsqueeze(0))
        pixels = PIXELS.points(dtype=torch.float64, device=torch.device("cpu"))
        masses = {}
        for landmark in np.flatnonzero(np.isfinite(second).all(axis=1)).tolist():
            # Landmark `i` of the face is landmark `flip[i]` of its mirror image.
            own = FACE68.flip[landmark] if self.mirrored else landmark
            if landmark not in LANDMARKS or own not in LANDMARKS:
                continue
            places = np.stack([first[landmark], second[landmark]])
            upper, lower = self.to_crop.points(torch.from_numpy(places[places[:, 1].argsort()]))
            near = (pixels - upper).norm(dim=-1) < (pixels - lower).norm(dim=-1)
            for name, density in found.items():
                mass = pixel_masses(rows_of(density, [LANDMARKS.index(own)]))[0]
                masses[name, landmark] = float(mass[near].sum() / mass.sum())
        return masses


def main() -> None:
    """Print a row for each head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("--crops", type=int, default=8)
    parser.add_argument("--faces", type=int, default=150)
    parser.add_argument("--seed", type=int, default=90210)
    given = parser.parse_args()
    if given.weights is None:
        print("Nothing measured: name what ambiguous_training.py wrote.")
        return
    torch.set_num_threads(1)
    model, _ = load(given.weights)
    samples = list(faces(given.faces, given.seed, ambiguous=1.0))
    data = CropDataset(samples, labels=PointLabels(FACE68), data=CROP, augment=_VARIED, seed=3)
    of_head: dict[str, list[tuple[float, float]]] = {}
    for index, sample in enumerate(samples):
        several: dict[tuple[str, int], list[float]] = {}
        for crop in range(given.crops):
            data.set_epoch(crop)
            item = data[index]
            look = Look(item["image"], Affine.of_matrix(item["crop_to_image"]).inverse())
            for key, mass in look.upper_masses(model, sample).items():
                several.setdefault(key, []).append(mass)
        for (name, _), masses in several.items():
            of_head.setdefault(name, []).append((masses[0], float(np.mean(masses))))
    print(
        "| Head | cases | distance from ½, one crop | the mixture | within 0.1 (%) | the mixture |"
    )
    print("|---|---|---|---|---|---|")
    for name, values in of_head.items():
        away = np.abs(np.array(values) - 0.5)
        mean, within = away.mean(axis=0), 100 * (away <= 0.1).mean(axis=0)
        numbers = f"{mean[0]:.3f} | {mean[1]:.3f} | {within[0]:.1f} | {within[1]:.1f}"
        print(f"| {TITLES[name]} | {len(values)} | {numbers} |")


if __name__ == "__main__":
    main()
