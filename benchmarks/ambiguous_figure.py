"""The figure of `ambiguous.py`: a face in two minds, as every head sees it."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

_SHOWN = (19, 8, 54)  # a brow, the chin, a corner of the mouth
_HALF = 26  # crop pixels shown to each side


def draw(models: list[nn.Module], items: list[dict[str, Tensor]], path: Path) -> None:
    """Draw one landmark of each of a few faces: the picture, then each head's density over it."""
    from ambiguous import LANDMARKS, SMOOTHING, TITLES, modes_of, pixel_masses, rows_of
    from ambiguous_training import densities

    rows = [_first(items, LANDMARKS.index(landmark)) for landmark in _SHOWN]
    width = 1 + len(TITLES)
    figure, axes = plt.subplots(
        len(rows), width, figsize=(1.4 * width, 1.5 * len(rows)), dpi=90, squeeze=False
    )
    for line, (item, index) in zip(axes, rows, strict=True):
        places, crop = item["places"][index], item["image"].permute(1, 2, 0).numpy()
        middle = places.mean(0).round()
        for axis in line:
            axis.imshow(crop, alpha=1.0)
            axis.set_xlim(middle[0] - _HALF, middle[0] + _HALF)
            axis.set_ylim(middle[1] + _HALF, middle[1] - _HALF)
            axis.set_xticks([])
            axis.set_yticks([])
        every = {}
        for model in models:
            with torch.inference_mode():
                every |= densities(model, item["image"].unsqueeze(0))
        for axis, (name, density) in zip(line[1:], every.items(), strict=True):
            one = rows_of(density, [index])
            mass = pixel_masses(one)[0]
            modes, held = (x[0] for x in modes_of(one, SMOOTHING * float(item["length"])))
            shown = mass / mass.max()
            heat = plt.get_cmap("magma")(shown.numpy())
            heat[..., 3] = 0.15 + 0.85 * np.sqrt(shown.numpy())
            axis.imshow(heat)
            axis.plot(*places.T, "+", color="#40ff40", markersize=6, markeredgewidth=1)
            big = held >= 0.05
            axis.plot(*modes[big].T, "o", color="white", markersize=4, fillstyle="none")
            near = (item_points(mass) - places[:, None, None]).norm(dim=-1)
            upper = float(mass[near[0] < near[1]].sum() / mass.sum())
            said = f"{upper:.2f} | {1 - upper:.2f}" if int(big.sum()) > 1 else "one mode"
            axis.set_xlabel(said, fontsize=7, labelpad=2)
            if axis in axes[0]:
                axis.set_title(TITLES[name].replace(" as ", "\nas "), fontsize=7)
        line[0].plot(*places.T, "+", color="#40ff40", markersize=6, markeredgewidth=1)
    axes[0][0].set_title("picture, both places", fontsize=7)
    figure.tight_layout(pad=0.4, h_pad=0.6, w_pad=0.3)
    held_png = io.BytesIO()
    figure.savefig(held_png, format="png")
    plt.close(figure)
    # Few colours make it small.
    Image.open(held_png).convert("RGB").quantize(96).save(path, optimize=True)


def item_points(mass: Tensor) -> Tensor:
    """Return the pixels of a crop, `(1, height, width, 2)`."""
    height, width = mass.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], -1).double().unsqueeze(0)


def _first(items: list[dict[str, Tensor]], index: int) -> tuple[dict[str, Tensor], int]:
    """Return the first face whose landmark has two places at least 9 % of the face apart."""
    for item in items:
        places = item["places"][index]
        if float((places[0] - places[1]).norm() / item["length"]) > 0.09:
            return item, index
    raise SystemExit("no face has this landmark in two places; draw more faces")
