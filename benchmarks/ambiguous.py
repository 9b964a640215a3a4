"""Do densities have two modes of equal mass where a landmark may be in either of two places?

    python benchmarks/ambiguous_training.py --out runs/ambiguous.pt
    python benchmarks/ambiguous.py runs/ambiguous.pt --figure docs/figures/ambiguous.png

On synthetic faces with a feature that is drawn twice, both times alike, so that the truth is one
half at each place. Landmarks whose places are at least `APART` of the face apart count. Modes are
those of the density smoothed by `SMOOTHING` of the face that hold at least `LEAST`; two are found
if there is one within `NEAR` of the face of each place. The mass of a place is that of the density
itself (not smoothed) which is nearer to it than to the other.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ambiguous_training import CROP, LANDMARKS, MapHeads, OneGaussian, densities, pool
from kdn.density import GaussianDensity, KernelDensity
from kdn.grid import Grid

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


def load(path: Path) -> list[nn.Module]:
    """Return the models that `ambiguous_training.py` wrote."""
    kept = torch.load(path, weights_only=True)
    maps, one = MapHeads(kept["features"]), OneGaussian()
    maps.load_state_dict(kept["maps"])
    one.load_state_dict(kept["gaussian"])
    return [maps.eval(), one.eval()]


def crops(count: int, seed: int) -> list[dict[str, Tensor]]:
    """Return faces with both places of `LANDMARKS`, the upper one first; NaN where there is one."""
    data, items = pool(count, seed, ambiguous=1.0), []
    for image, points, length in zip(*data.values(), strict=True):
        places = points.transpose(0, 1).double()
        swap = places[:, 0, 1] > places[:, 1, 1]
        places[swap] = places[swap].flip(1)
        items.append({"image": image, "places": places, "length": length})
    return items


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


def rows_of(
    density: KernelDensity | GaussianDensity, rows: list[int]
) -> KernelDensity | GaussianDensity:
    """Return the densities of some landmarks of the first face, batch `(rows,)`."""
    if isinstance(density, GaussianDensity):
        return GaussianDensity(density.mean[0, rows], density.scale_tril[0, rows])
    bandwidth, offsets = density.bandwidth, density.offsets
    return KernelDensity(
        density.raw_logits[0, rows],
        density.grid,
        bandwidth=None if bandwidth is None else bandwidth[0, rows],
        kernel=density.kernel,
        offsets=None if offsets is None else offsets[0, rows],
    )


def measure(models: list[nn.Module], items: list[dict[str, Tensor]]) -> dict[str, Cases]:
    """Return what every head says at every landmark with two places that are apart."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for item in items:
        places, length = item["places"], float(item["length"])
        apart = (places[:, 0] - places[:, 1]).norm(dim=-1) / length
        rows = torch.nonzero(apart >= APART).squeeze(1).tolist()
        if not rows:
            continue
        for model in models:
            with torch.inference_mode():
                every = densities(model, item["image"].unsqueeze(0))
                for name, density in every.items():
                    cases = _cases(rows_of(density, rows), rows, places[rows], length)
                    found.setdefault(name, []).extend(cases)
    return {
        name: Cases(*(np.array(column) for column in zip(*rows, strict=True)))
        for name, rows in found.items()
    }


def _cases(
    density: KernelDensity | GaussianDensity, rows: list[int], places: Tensor, length: float
) -> list[tuple[float, ...]]:
    """Return one row of `Cases` for each of a face's landmarks with two places."""
    points = PIXELS.points(dtype=torch.float64, device=torch.device("cpu"))
    masses = pixel_masses(density)
    modes, held = modes_of(density, SMOOTHING * length)
    asked = torch.cat([places, places.mean(1, keepdim=True)], 1).transpose(0, 1)
    values = density.log_prob(asked.float())
    found = []
    for index, row in enumerate(rows):
        away = (points.unsqueeze(2) - places[index]).norm(dim=-1)  # (height, width, place)
        mass = masses[index] / masses[index].sum()
        here = modes[index][held[index] >= LEAST].double()
        near = (here.unsqueeze(1) - places[index]).norm(dim=-1) <= NEAR * length
        found.append(
            (
                LANDMARKS[row],
                float(mass[away[..., 0] < away[..., 1]].sum()),
                float(mass[(away > FAR * length).all(-1)].sum()),
                len(here),
                bool(near.any(0).all()),
                float((values[2, index] - values[:2, index].min()).exp()),
            )
        )
    return found


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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="?")
    parser.add_argument("--faces", type=int, default=150)
    parser.add_argument("--seed", type=int, default=90210)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    if given.models is None:
        print("Nothing measured: name what ambiguous_training.py wrote.")
        return
    torch.set_num_threads(1)
    items = crops(given.faces, given.seed)
    models = load(given.models)
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for name, cases in measure(models, items).items():
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
