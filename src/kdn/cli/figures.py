"""`kdn figures`."""

from __future__ import annotations

from pathlib import Path

from kdn.predictions import maps_path, read_maps, read_predictions

__all__ = ["figures"]


def figures(predictions: list[Path], *, out: Path) -> int:
    """Draw error curves, uncertainty against error, reliability and heatmaps.

    Args:
        predictions: Files of predictions with labels, each one system, named by its file's stem.
            Heatmaps are drawn from the files beside them that `kdn predict --maps` wrote.
        out: Folder of the figures.
    """
    from kdn.figures import write_figures  # matplotlib takes a second to import

    if len({path.stem for path in predictions}) < len(predictions):
        raise ValueError("predictions must be files of different names, which the figures bear")
    named = {path.stem: read_predictions(path) for path in predictions}
    maps = {p.stem: read_maps(maps_path(p)) for p in predictions if maps_path(p).is_file()}
    for path in write_figures(named, out, maps=maps or None):
        print(path)
    return 0
