"""`kdn export`."""

from __future__ import annotations

from pathlib import Path

from kdn.models import model_path
from kdn.models.checkpoint import load_model, save_model

__all__ = ["export"]


def export(
    *,
    model: str,
    out: Path,
    half: bool = False,
    licence: str | None = None,
    card: Path | None = None,
    trust: list[str] | None = None,
) -> int:
    """Write a model for others to use: smaller, with its licence and a model card inside.

    Args:
        model: A checkpoint of kdn train, or the name of a packaged model.
        out: File to write, .safetensors.
        half: Round the weights to 16 bits, for half the size.
        licence: Under which terms others may use it.
        card: A text file that says what it was trained on, how good it is and where it fails.
        trust: Packages of yours whose code the model may run.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"out must end in .safetensors, got {out}")
    if out.exists() and out.samefile(model_path(model)):
        raise ValueError(f"out must be another file than the model, got {out}")
    loaded, metadata = load_model(model, trust=trust or ())
    if licence is not None:
        metadata["licence"] = licence
    if card is not None:
        metadata["card"] = card.read_text(encoding="utf-8")
    save_model(out, loaded, metadata, half=half)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 0
