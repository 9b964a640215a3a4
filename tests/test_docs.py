"""What the documentation says is true: examples run, commands parse, links and names exist."""

import contextlib
import dataclasses
import importlib
import io
import re
import shlex
import tomllib
from argparse import ArgumentError
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from kdn.cli import COMMANDS, parse
from kdn.evaluate import SCORES
from kdn.predictions import COLUMNS
from kdn.recipe import Recipe

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_PRINTS = re.compile(r"^ *# → (.*)$", re.MULTILINE)
# Folders of one machine, which no reader has.
_MACHINE = re.compile(r"(?<![\w.…])/(?:work|root|farm|home|Users|tmp|mnt|opt)/|\.librar(?:y)\b")


def name_of(path: Path) -> str:
    """Return a file's name from the root of the repository on."""
    return path.relative_to(ROOT).as_posix()


def blocks(text: str, *languages: str) -> Iterator[tuple[int, str]]:
    """Yield the line where a fenced block's content begins, and the content."""
    for match in _FENCE.finditer(text):
        if match[1].strip() in languages:
            yield text[: match.start(2)].count("\n") + 1, match[2]


def prose(text: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", text)


def shell_lines(text: str) -> list[str]:
    """Return the commands of all shell blocks, continued lines joined."""
    joined = "\n".join(code.replace("\\\n", " ") for _, code in blocks(text, "sh"))
    return [line.strip() for line in joined.splitlines() if line.strip()]


def commands_in(path: Path) -> list[str]:
    """Return the `kdn …` commands of a page, a recipe's comments or the Makefile."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return [line for line in shell_lines(text) if line.startswith("kdn ")]
    bare = re.sub(r"^# ?", "", text, flags=re.MULTILINE).replace("$(BIN)/", "")
    lines = [line.strip() for line in bare.replace("\\\n", " ").splitlines()]
    words = tuple(f"kdn {command} " for command in COMMANDS)  # a sentence may begin with `kdn` too
    return [line for line in lines if line.startswith(words)]


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the built documentation make them."""
    titles = _HEADING.findall(prose(text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of all table rows."""
    lines = [line for line in prose(text).splitlines() if line.startswith("|")]
    return [
        [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    text = page.read_text(encoding="utf-8")
    for line, code in blocks(text, "python"):
        # Empty lines in front make the numbers in a traceback those of the page.
        program = compile("\n" * (line - 1) + code, str(page), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(program, namespace)
        assert printed.getvalue().splitlines() == _PRINTS.findall(code), f"{page}:{line}"


def test_most_of_the_pages_have_examples() -> None:
    with_examples = [
        name_of(page) for page in PAGES if list(blocks(page.read_text("utf-8"), "python"))
    ]
    assert {"README.md", "docs/coordinates.md", "docs/maths.md", "docs/python.md"} <= set(
        with_examples
    )


@pytest.mark.parametrize("page", [*PAGES, *RECIPES, ROOT / "Makefile"], ids=name_of)
def test_commands_parse(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    if page in RECIPES:
        assert commands_in(page), f"{page}: a recipe names its command"
    for command in commands_in(page):
        arguments = shlex.split(command)[1:]
        if "--help" in arguments:
            continue
        try:
            parse(arguments)
        except (ArgumentError, SystemExit):
            pytest.fail(f"{name_of(page)}: {command}\n{capsys.readouterr().err}")


def test_the_readme_shows_every_command() -> None:
    shown = {command.split()[1] for command in commands_in(ROOT / "README.md")}
    assert shown == set(COMMANDS)


@pytest.fixture
def flags(capsys: pytest.CaptureFixture[str]) -> dict[str, set[str]]:
    """Return the flags of every command, as its help lists them."""
    known = {}
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            parse([command, "--help"])
        known[command] = set(re.findall(r"--[\w.-]+", capsys.readouterr().out))
    return known


def test_flags_named_in_sentences_exist(flags: dict[str, set[str]]) -> None:
    every = set().union(*flags.values())
    wrong = []
    for page in PAGES:
        for code in _INLINE.findall(prose(page.read_text("utf-8"))):
            words = code.split()
            if words[0] == "kdn" and len(words) > 1:
                known = flags.get(words[1])
                wrong += [f"{name_of(page)}: {code}"] if known is None else []
            elif words[0].startswith("--"):
                known = every
            else:
                continue
            named = [word for word in words if word.startswith("--")]
            wrong += [f"{name_of(page)}: {word}" for word in named if word not in (known or ())]
    assert wrong == []


def test_make_targets_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in PAGES:
        text = page.read_text("utf-8")
        lines = [*shell_lines(text), *_INLINE.findall(prose(text))]
        named = {line.split()[1] for line in lines if re.match(r"make [a-z]", line)}
        assert named <= targets, name_of(page)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for link in _LINK.findall(prose(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            wrong.append(link)
    assert wrong == []


def test_every_page_is_in_the_contents() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    listed = next(code for _, code in blocks(index, "{toctree}")).split()[1:]
    assert sorted(listed) == sorted(p.stem for p in PAGES if p.parent != ROOT and p.stem != "index")
    linked = _LINK.findall((ROOT / "README.md").read_text("utf-8"))
    assert {f"docs/{name}.md" for name in listed} <= set(linked)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_names_of_the_package_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    named = {c for c in _INLINE.findall(prose(text)) if re.fullmatch(r"kdn(\.\w+)+", c)}
    assert sorted(name for name in named if not _exists(name)) == []


def _exists(name: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of one."""
    parts = name.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_recipe_tables_are_the_recipe() -> None:
    rows = rows_of((ROOT / "docs" / "training.md").read_text("utf-8"))
    said = {row[0]: row[1] for row in rows if re.fullmatch(r"[a-z]+\.[a-z_]+", row[0])}
    said = {name: value for name, value in said.items() if name.split(".")[0] in _PARTS}
    true = {
        f"{part}.{field.name}": _as_written(getattr(getattr(Recipe(), part), field.name))
        for part, kind in _PARTS.items()
        for field in dataclasses.fields(kind)
    }
    assert said == true


_PARTS = get_type_hints(Recipe)


def _as_written(value: object) -> str:
    """Return a default as YAML has it."""
    if value is None:
        return "null"
    return str(list(value)) if isinstance(value, tuple) else str(value)


def test_column_table_is_the_columns() -> None:
    text = (ROOT / "docs" / "predictions.md").read_text("utf-8")
    section = text.split("## Columns")[1].split("\n## ")[0]
    rows = rows_of(section)[2:]
    assert [row[0] for row in rows[:2]] == ["id", "path"]
    wanted = []
    for name, column in COLUMNS.items():
        size = " × ".join(column.shape.split()) + (" (boolean)" if column.boolean else "")
        about = column.about.replace("|", r"\|")
        wanted.append([name, column.kind or "both", size, column.unit, about])
    assert rows[2:] == wanted


def test_score_table_is_the_code() -> None:
    """Every definition is the docstring of the code that computes the score."""
    text = (ROOT / "docs" / "predictions.md").read_text("utf-8")
    rows = rows_of(text.split("### Scores")[1].split("\n### ")[0].split("The lengths")[0])[2:]
    wanted = [
        [x.name, x.kind or "both", " and ".join(x.tables), x.about.replace("|", r"\|")]
        for x in SCORES
    ]
    assert [[cell.strip("`") for cell in row] for row in rows] == [
        [cell.strip("`") for cell in row] for row in wanted
    ]


def test_changelog_names_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    needed = " ".join(line for lines in lists for line in lines)
    names = set(re.findall(r"(?:^| )([\w-]+)", needed))
    rows = rows_of((ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert {row[0] for row in rows[2:]} == names


def test_no_text_names_a_folder_of_one_machine() -> None:
    files = [*PAGES, *RECIPES, ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
    for folder in ("src/kdn", "tests", "benchmarks", "docs"):
        files += sorted((ROOT / folder).rglob("*.py"))
    wrong = [name_of(file) for file in files if _MACHINE.search(file.read_text("utf-8"))]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see /{}/me/x", True),
        ("`/{}/x`", True),
        ("docs/{}/x", False),
        ("a/{}", False),
    ],
)
def test_a_machine_path_is_found(text: str, found: bool) -> None:
    for folder in ("home", "tmp"):  # put in here, lest this file names one
        assert bool(_MACHINE.search(text.format(folder))) is found
