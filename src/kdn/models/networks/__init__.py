"""Networks that score the cells of a grid, or give one vector per picture."""

from __future__ import annotations

from kdn.models.networks.network import Network
from kdn.models.registry import import_modules

__all__ = ["Network"]

import_modules(__name__, __path__)
