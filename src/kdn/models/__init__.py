"""Trained models that come with the package, each with its model card in the file."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MODELS", "model_path"]

MODELS = ("face68",)
"""Names of the models that come with the package."""


def model_path(model: str | Path) -> Path:
    """Return the file of a model: one of the package's by its name, else the path itself.

    A file of yours that bears the name of a packaged model is `./face68`.

    Example:
        >>> model_path("face68").name, model_path("runs/mine/best.safetensors").name
        ('face68.safetensors', 'best.safetensors')
    """
    if str(model) in MODELS and not isinstance(model, Path):
        return Path(__file__).with_name(f"{model}.safetensors")
    return Path(model)
