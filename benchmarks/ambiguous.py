"""Do densities have two modes of equal mass where a landmark may be in either of two places?

    for head in default published adaptive uniform gaussian; do
        python benchmarks/ambiguous_training.py --head $head --out runs/ambiguous
    done
    python benchmarks/ambiguous.py runs/ambiguous --figure docs/figures/ambiguous.png

On synthetic faces with a feature that is drawn twice; a coin decided which one is labelled, so that
the truth is one half at each place. Landmarks whose places are at least `APART` of the face apart
count. Modes are those of the density smoothed by `SMOOTHING` of the face that hold at least
`LEAST`; two are found if there is one within `NEAR` of the face of each place. The mass of a place
is that of the density itself (not smoothed) which is nearer to it than to the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ambiguous_training import CROP, LANDMARKS, Net, faces
from kdn.data import CropDataset
from kdn.density import GaussianDensity, KernelDensity
from kdn.grid import Grid
from kdn.markup import FACE68

APART, NEAR, FAR, SMOOTHING, LEAST = 0.06, 0.04, 0.06, 0.015, 0.05
_MODES = 6
PIXELS = Grid.of_heatmap(height=CROP.height, width=CROP.width, stride=1)
TITLES = {
    "default": "KDN, default",
    "published": "KDN-Gaussian as published",
    "adaptive": "KDN-Adaptive",
    "uniform": "KDN-Uniform",
    "gaussian": "one Gaussian",
}


@dataclass(frozen=True)
class Cases:
    """What one head says at all landmarks with two places, one row each.

    Args:
        feature: Index of the landmark.
        first: Mass nearer to the upper place.
        elsewhere: Mass farther than `FAR` of the face from both places.
        modes: Modes that hold at least `LEAST`.
        found: Whether there is a mode near each place.
        between: Density halfway between the places over that at the less dense of them.
    """

    feature: np.ndarray
    first: np.ndarray
    elsewhere: np.ndarray
    modes: np.ndarray
    found: np.ndarray
    between: np.ndarray


def load(folder: Path, name: str) -> Net:
    """Return a model that `ambiguous_training.py` wrote."""
    kept = torch.load(folder / f"{name}.pt", weights_only=True)
    model = Net(name, kept["features"])
    model.load_state_dict(kept["weights"])
    return model.eval()


def crops(count: int, seed: int, *, ambiguous: float = 1.0) -> Iterator[dict[str, Tensor]]:
    """Yield crops of faces with both places of `LANDMARKS` in crop pixels, and the face's length.

    The upper place comes first, whichever the coin took.
    """
    samples = faces(count, seed, ambiguous=ambiguous)
    data = CropDataset(samples, markup=FACE68, data=CROP, augment=None, seed=0)
    chosen = list(LANDMARKS)
    for index, sample in enumerate(samples):
        item = data[index]
        linear = item["crop_to_image"][:, :2]
        to_crop = torch.linalg.inv(linear)
        other = torch.from_numpy(sample.alternatives) - item["crop_to_image"][:, 2]
        places = torch.stack([item["landmarks"].double(), other @ to_crop.T], 1)[chosen]
        swap = places[:, 0, 1] > places[:, 1, 1]
        places[swap] = places[swap].flip(1)
        x0, y0, x1, y1 = sample.bbox
        length = np.sqrt((x1 - x0) * (y1 - y0)) / np.sqrt(float(torch.linalg.det(linear)))
        yield {"image": item["image"], "places": places, "length": torch.tensor(length)}


def pixel_masses(density: KernelDensity | GaussianDensity) -> Tensor:
    """Return the mass of each pixel of the crop, `(batch, landmarks, height, width)`."""
    if isinstance(density, KernelDensity):
        return density.cell_masses(round(density.grid.spacing[0])).double()
    points = PIXELS.points(dtype=torch.float32, device=torch.device("cpu"))
    batch = tuple(density.batch_shape)
    spread = points.reshape(*points.shape[:2], *(1,) * len(batch), 2)
    return density.log_prob(spread).exp().double().movedim((0, 1), (-2, -1))


def modes_of(density: KernelDensity | GaussianDensity, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return modes `(batch, landmarks, k, 2)` and their masses."""
    if isinstance(density, GaussianDensity):
        return density.mean.unsqueeze(-2), torch.ones(*density.batch_shape, 1)
    return density.smoothed(smoothing).modes(_MODES)


def measure(model: Net, batches: list[dict[str, Tensor]]) -> Cases:
    """Return what a model says at every landmark with two places that are apart."""
    rows: list[tuple[float, ...]] = []
    points = PIXELS.points(dtype=torch.float64, device=torch.device("cpu"))
    for item in batches:
        places, length = item["places"], float(item["length"])
        apart = (places[:, 0] - places[:, 1]).norm(dim=-1) / length
        with torch.inference_mode():
            density = model.density(item["image"].unsqueeze(0))
            masses = pixel_masses(density)[0]
            modes, held = (x[0] for x in modes_of(density, SMOOTHING * length))
            asked = torch.cat([places, places.mean(1, keepdim=True)], 1).transpose(0, 1)
            asked = asked.nan_to_num().float().unsqueeze(1)
            values = density.log_prob(asked)[:, 0]
        for row in torch.nonzero(apart >= APART).squeeze(1).tolist():
            away = (points.unsqueeze(2) - places[row]).norm(dim=-1)  # (height, width, place)
            mass = masses[row]
            here = modes[row][held[row] >= LEAST].double()
            near = (here.unsqueeze(1) - places[row]).norm(dim=-1) <= NEAR * length
            rows.append(
                (
                    LANDMARKS[row],
                    float(mass[away[..., 0] < away[..., 1]].sum() / mass.sum()),
                    float(mass[(away > FAR * length).all(-1)].sum() / mass.sum()),
                    len(here),
                    bool(near.any(0).all()),
                    float((values[2, row] - values[:2, row].min()).exp()),
                )
            )
    return Cases(*(np.array(column) for column in zip(*rows, strict=True)))


def line(name: str, cases: Cases) -> str:
    """Return a row of the table."""
    off = np.abs(cases.first - 0.5)
    both = cases.found.astype(bool)
    cells = [
        TITLES[name],
        f"{100 * both.mean():.1f}",
        f"{np.mean(cases.first):.3f}",
        f"{off.mean():.3f}",
        f"{np.median(off):.3f}",
        f"{np.quantile(off, 0.9):.3f}",
        f"{100 * (off <= 0.1).mean():.1f}",
        f"{100 * (both & (off <= 0.1)).mean():.1f}",
        f"{100 * cases.elsewhere.mean():.1f}",
        f"{np.median(cases.between):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "Head",
    "two modes found (%)",
    "mean mass of the upper place",
    "mean distance from ½",
    "median",
    "90th percentile",
    "within 0.1 (%)",
    "both (%)",
    "mass elsewhere (%)",
    "density between ÷ at the places",
)


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=int, default=300)
    parser.add_argument("--seed", type=int, default=90210)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    items = list(crops(given.faces, given.seed))
    models = {
        name: load(given.folder, name) for name in TITLES if (given.folder / f"{name}.pt").is_file()
    }
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for name, model in models.items():
        cases = measure(model, items)
        print(line(name, cases), flush=True)
        print(_by_feature(cases))
    if given.figure is not None:
        from ambiguous_figure import draw

        draw(models, items, given.figure)


def _by_feature(cases: Cases) -> str:
    """Return numbers of cases, and mean distance from ½, of each kind of feature."""
    kinds = {"chin": range(17), "brows": range(17, 27), "nose": (30,), "mouth": range(48, 68)}
    said = []
    for kind, members in kinds.items():
        own = np.isin(cases.feature, list(members))
        if own.any():
            off = np.abs(cases.first[own] - 0.5)
            found = 100 * cases.found[own].mean()
            said.append(f"{kind} {own.sum()}: found {found:.0f} %, {off.mean():.3f}")
    return f"<!-- {len(cases.first)} cases; {'; '.join(said)} -->"


if __name__ == "__main__":
    main()
