"""The command line: `kdn train`, `predict`, `evaluate`, `figures` and `study`.

Every flag is an argument of a command's function or a field of the recipe; the help texts are their
docstrings.
"""

from kdn.cli.main import build_parser, main

__all__ = ["build_parser", "main"]
