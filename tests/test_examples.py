"""What stands in `examples/` runs, learns, and is what `docs/in-your-code.md` shows."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "in-your-code.md"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Return what imports an example, as if it had been started in its own folder."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def imported(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield imported
    for name in NAMES:
        sys.modules.pop(name, None)


def fenced(language: str) -> list[str]:
    """Return the page's blocks of a language."""
    text = PAGE.read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def check(scores: dict[str, float]) -> None:
    """Check what every example says of itself."""
    error = scores.get("error", scores.get("error, kernel density"))
    assert error is not None
    assert error < 0.5 * scores["error of the mean place"]
    assert 0.8 <= scores["coverage of 90 % regions"] <= 1.0
    assert scores["NLL"] < 4.5  # an even density over the picture has log(48 · 64) = 8.0


@pytest.mark.slow
def test_the_plain_loop_learns(load) -> None:
    scores = load("plain_loop").main(steps=120, test=60)
    check(scores)
    assert scores["last loss"] < 0.6 * scores["first loss"]
    assert 0.3 < scores["mean uncertainty"] < 4.0  # pixels


@pytest.mark.slow
# Lightning looks at trees in a way that torch has given up, and wants more workers than are here.
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*", "ignore:.*does not have many workers.*")
def test_the_lightning_module_learns(load) -> None:
    scores = load("lightning_module").main(epochs=2, count=960, test=60)
    check(scores)
    assert scores["NLL"] < scores["NLL before"] - 2.0


@pytest.mark.slow
def test_the_foreign_network_learns_both_ways(load) -> None:
    scores = load("foreign_heatmaps").main(steps=60, test=60)
    check(scores)
    assert scores["last loss"] < 0.6 * scores["first loss"]
    assert scores["last MSE"] < 0.6 * scores["first MSE"]
    # A fair comparison: the squared error has learned where most landmarks are, too.
    assert scores["median error, squared error"] < 0.5 * scores["error of the mean place"]


def test_a_combination_beats_its_scores(load) -> None:
    areas = load("occlusion").main([])
    assert areas.pop("combination") > max(areas.values()) + 0.05


def test_the_page_shows_the_files() -> None:
    sources = [(EXAMPLES / f"{name}.py").read_text("utf-8") for name in NAMES]
    blocks = [block for block in fenced("python") if "# →" not in block]
    assert len(blocks) >= 4
    for block in blocks:
        assert any(block in source for source in sources), block
    (changed,) = fenced("diff")
    source = (EXAMPLES / "foreign_heatmaps.py").read_text("utf-8")
    for line in changed.splitlines():
        assert line[1:].strip() in source, line
    assert sum(line.startswith("+") for line in changed.splitlines()) == 3


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_named_with_its_command(name: str) -> None:
    assert f"python examples/{name}.py" in PAGE.read_text("utf-8")
    assert f"python examples/{name}.py" in (EXAMPLES / f"{name}.py").read_text("utf-8")
