"""`kdn train`."""

from __future__ import annotations

from pathlib import Path

from kdn.recipe import Recipe

__all__ = ["train"]


def train(
    *,
    out: Path,
    recipe: Recipe,
    resume: bool = False,
    quiet: bool = False,
    accelerator: str = "auto",
    devices: int = 1,
) -> int:
    """Train a model on labelled pictures.

    Args:
        out: Folder of the run; gets best.safetensors, last.safetensors, log.csv, recipe.json.
        recipe: A YAML file with the recipe; each of its settings has a flag that goes over it.
        resume: Go on with the run in the folder.
        quiet: No progress on screen.
        accelerator: Kind of device, as Lightning Fabric names it.
        devices: How many devices.
    """
    from kdn.train import train  # Fabric takes a second to import, which `--help` need not

    best = train(recipe, out, resume=resume, accelerator=accelerator, devices=devices, quiet=quiet)
    print(f"best checkpoint: {best}")
    return 0
