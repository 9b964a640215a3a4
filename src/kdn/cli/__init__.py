"""The command line: `kdn train`, `kdn predict`, `kdn evaluate`, `kdn figures`.

Every flag is an argument of a command's function or a field of the recipe; the help texts are their
docstrings.
"""

from kdn.cli.main import build_parser, main

__all__ = ["build_parser", "main"]
