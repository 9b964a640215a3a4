"""Heatmaps of a few samples, and the safetensors file that holds them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from kdn.data.paths import replacing
from kdn.grid import Grid

__all__ = ["Maps", "core_covariances", "maps_path", "read_maps", "write_maps"]

_MAP_TENSORS = ("crops", "log_probs", "target", "visible")


@dataclass(frozen=True)
class Maps:
    """Heatmaps of a few samples, to be drawn.

    Convention: points are crop pixels `(x, y)` with integer pixel centres.

    Args:
        ids: Name of each of the `n` samples, as in the predictions.
        crops: `(n, h, w, 3)`, what the network saw, RGB.
        log_probs: `(n, L, gh, gw)`, logarithm of the probability of each cell, −6e4 for less.
        target: `(n, L, 2)`, the labels, NaN where not valid.
        visible: `(n, L)`, True where the landmark can be seen.
        grid: The cells, in crop pixels.
        markup: Name of the mark-up.
        head: Name of the head.

    Raises:
        ValueError: If the shapes do not fit each other.
    """

    ids: tuple[str, ...]
    crops: UInt8[np.ndarray, "n h w 3"]
    log_probs: Float16[np.ndarray, "n L gh gw"]
    target: Float32[np.ndarray, "n L 2"]
    visible: Bool[np.ndarray, "n L"]
    grid: Grid
    markup: str = ""
    head: str = ""

    def __post_init__(self) -> None:
        samples, landmarks = self.log_probs.shape[:2]
        wanted = {
            "ids": (samples,),
            "crops": (samples, *self.crops.shape[1:3], 3),
            "log_probs": (samples, landmarks, *self.grid.shape),
            "target": (samples, landmarks, 2),
            "visible": (samples, landmarks),
        }
        for name, shape in wanted.items():
            got = np.shape(getattr(self, name))
            if got != shape:
                raise ValueError(f"{name} must have shape {shape}, got {got}")


def maps_path(path: str | Path) -> Path:
    """Return the file of the heatmaps that belong to a file of predictions.

    Example:
        >>> maps_path("out/test.parquet").as_posix()
        'out/test.maps.safetensors'
    """
    return Path(path).with_suffix(".maps.safetensors")


def write_maps(path: str | Path, maps: Maps) -> None:
    """Write heatmaps to a safetensors file; a file of that name is replaced whole or not at all."""
    tensors = {name: np.ascontiguousarray(getattr(maps, name)) for name in _MAP_TENSORS}
    grid = {name: getattr(maps.grid, name) for name in ("shape", "origin", "spacing")}
    metadata = {
        "ids": json.dumps(maps.ids),
        "grid": json.dumps(grid),
        "markup": maps.markup,
        "head": maps.head,
    }
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, metadata)


def read_maps(path: str | Path) -> Maps:
    """Read heatmaps from a safetensors file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a safetensors file of heatmaps; the message names the file and
            what is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    for name in _MAP_TENSORS:
        if name not in tensors:
            raise ValueError(f"{path}: tensor {name!r} is missing")
    for name in ("ids", "grid"):
        if name not in metadata:
            raise ValueError(f"{path}: metadata {name!r} is missing")
    try:
        grid = {name: tuple(value) for name, value in json.loads(metadata["grid"]).items()}
        return Maps(
            ids=tuple(json.loads(metadata["ids"])),
            **{name: tensors[name] for name in _MAP_TENSORS},
            grid=Grid(**grid),
            markup=metadata.get("markup", ""),
            head=metadata.get("head", ""),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def core_covariances(maps: Maps, share: float = 0.5) -> Float[np.ndarray, "n L 3"]:
    """Return the covariance of the core of each heatmap: of its cells near the peak's mass.

    The core are the cells with at least `share` of the mass of the most probable one, wherever they
    lie: two peaks of like height are both in it. It is weighted by these masses, and a cell's own
    covariance `spacing²/12` is added on the diagonal. A low floor, which can make most of the
    covariance of a whole map, is not in it.

    A Gaussian that is large against the cells has an ellipse as its core, and there
    `1 + share·log(share)/(1 − share)` times its covariance: 0.307 times for one half.

    Args:
        maps: Heatmaps.
        share: In (0, 1].

    Returns:
        `(xx, xy, yy)`, crop px²; NaN for a map without any mass.

    Raises:
        ValueError: If `share` is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    height, width = maps.grid.shape
    across, down = maps.grid.spacing
    # About the middle of the map, so that the squares lose no digits to a far origin.
    x = across * (np.arange(width) - 0.5 * (width - 1))
    y = down * (np.arange(height) - 0.5 * (height - 1))
    within_cell = np.array([across**2, 0.0, down**2]) / 12
    result = np.empty((*maps.log_probs.shape[:2], 3))
    for i, log_probs in enumerate(maps.log_probs):  # one face's in float64 at a time
        result[i] = within_cell + _covariances(_cores(log_probs.astype(np.float64), share), x, y)
    return result


def _cores(log_probs: Float[np.ndarray, "L gh gw"], share: float) -> Float[np.ndarray, "L gh gw"]:
    """Return the masses of each core, adding up to 1."""
    highest = log_probs.max(axis=(1, 2), keepdims=True)
    with np.errstate(invalid="ignore"):  # −∞ − −∞ in a map without any mass
        masses = np.exp(log_probs - highest)
    masses[masses < share] = 0.0
    return masses / masses.sum(axis=(1, 2), keepdims=True)


def _covariances(
    masses: Float[np.ndarray, "L gh gw"], x: Float[np.ndarray, " gw"], y: Float[np.ndarray, " gh"]
) -> Float[np.ndarray, "L 3"]:
    """Return the covariance `(xx, xy, yy)` of masses at points."""
    along_x, along_y = masses.sum(axis=1), masses.sum(axis=2)
    mean_x, mean_y = along_x @ x, along_y @ y
    xx = along_x @ x**2 - mean_x**2
    xy = np.einsum("lyx,x,y->l", masses, x, y, optimize=True) - mean_x * mean_y
    yy = along_y @ y**2 - mean_y**2
    return np.stack([xx, xy, yy], axis=-1)
