"""The report of a study: one Markdown file beside its figures, and one HTML file that holds all."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from kdn.data.paths import replacing

__all__ = ["Picture", "write_report"]

_DPI = 130

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1080px; margin: 2em auto;
  padding: 0 1em; }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto; }
th, td { padding: 3px 9px; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { border-bottom: 2px solid #888; }
img { max-width: 100%; }
pre { background: #f5f5f5; padding: 0.8em; overflow-x: auto; font-size: 12px; }
code { background: #f5f5f5; }
"""


@dataclass(frozen=True)
class Picture:
    """A figure of a report.

    Args:
        name: Of its file, without ending.
        figure: What is drawn.
        text: What it shows.
    """

    name: str
    figure: Figure
    text: str


def write_report(folder: Path, title: str, parts: Sequence[str | Picture]) -> tuple[Path, Path]:
    """Write `report.md` with `figures/*.png` beside it, and `report.html` with all inside.

    The HTML file loads nothing from anywhere.

    Args:
        folder: Made if it does not exist.
        title: Of the report.
        parts: Markdown and pictures, in order.

    Returns:
        The Markdown and the HTML file.
    """
    for old in folder.glob("figures/*.png"):  # of a report with more in it
        old.unlink()
    inside: dict[str, str] = {}
    lines = [f"# {title}"]
    for part in parts:
        if isinstance(part, str):
            lines.append(part)
            continue
        file = f"figures/{part.name}.png"
        with replacing(folder / file) as temporary:
            part.figure.savefig(
                temporary,
                format="png",
                dpi=_DPI,
                facecolor="white",
                bbox_inches="tight",
                pad_inches=0.05,
            )
        inside[file] = _data_uri(folder / file)
        lines.append(f"![{part.text}]({file})\n\n*{part.text}*")
    markdown = "\n\n".join(lines) + "\n"
    paths = folder / "report.md", folder / "report.html"
    for path, text in zip(paths, (markdown, _page(title, markdown, inside)), strict=True):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return paths


def _page(title: str, markdown: str, inside: Mapping[str, str]) -> str:
    """Return the HTML page of a Markdown text, its pictures put in."""
    # Markdown alone, and no HTML out of it: names of users' files stand in the text.
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    for file, uri in inside.items():
        body = body.replace(f'src="{file}"', f'src="{uri}"')
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
