"""Networks that score the cells of a grid, or give one vector per picture."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from kdn.models.registry import Named, import_modules

__all__ = ["Network"]


class Network(Named, nn.Module):
    """Takes pictures `(batch, 3, height, width)` and returns a list of outputs, the last one last.

    Outputs are maps `(batch, channels, height / stride, width / stride)` or vectors
    `(batch, channels)`, several where each of several stages is to be trained. `channels` is the
    first argument; settings are keyword-only arguments, which a recipe sets by their name.

    Attributes:
        gives_maps: True if outputs are maps, False if they are vectors.
        stride: Pixels per cell of the maps; height and width of the pictures are multiples of it.
    """

    registry: ClassVar[dict[str, type]] = {}
    gives_maps: ClassVar[bool] = False
    stride: int

    @classmethod
    def stride_of(cls, **settings: Any) -> int:
        """Return the stride of a network with such settings."""
        return cls.stride


import_modules(__name__, __path__)  # they register themselves with that
