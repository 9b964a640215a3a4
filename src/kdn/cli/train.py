"""`kdn train`."""

from __future__ import annotations

from pathlib import Path

from kdn.cli.command import Command
from kdn.recipe import (
    AugmentRecipe,
    DataRecipe,
    HeadRecipe,
    LabelsRecipe,
    NetworkRecipe,
    OptimiseRecipe,
    Recipe,
)

__all__ = ["TRAIN"]


def _train(
    out: Path,
    data: DataRecipe,
    labels: LabelsRecipe,
    augment: AugmentRecipe,
    network: NetworkRecipe,
    head: HeadRecipe,
    optimise: OptimiseRecipe,
    resume: bool,
    quiet: bool,
    accelerator: str = "auto",
    devices: int = 1,
) -> int:
    """Train a model on labelled pictures.

    Args:
        out: Folder of the run; gets best.safetensors, last.safetensors, log.csv, recipe.json.
        data: What is learned from.
        labels: Which scalars are learned instead of landmarks.
        augment: How training pictures are varied.
        network: What scores the cells.
        head: How outputs become a density, and what the loss is.
        optimise: How the loss is driven down.
        resume: Go on with the run in the folder.
        quiet: No progress on screen.
        accelerator: Kind of device, as Lightning Fabric names it.
        devices: How many devices.
    """
    from kdn.train import train  # Fabric takes a second to import, which other commands need not

    recipe = Recipe(
        data=data, labels=labels, augment=augment, network=network, head=head, optimise=optimise
    )
    best = train(recipe, out, resume=resume, accelerator=accelerator, devices=devices, quiet=quiet)
    print(f"best checkpoint: {best}")
    return 0


TRAIN = Command(
    _train,
    "train a model on labelled pictures",
    {
        "--recipe": {"action": "config", "help": "A YAML file with the recipe."},
        "--resume": {"action": "store_true", "help": "Go on with the run in the folder --out."},
        "--quiet": {"action": "store_true", "help": "No progress on screen."},
    },
)
"""The command as the parser of `kdn` takes it in."""
