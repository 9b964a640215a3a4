"""A format is one file: in the package's folder of formats, or in a module of somebody's own."""

import sys
from pathlib import Path

import numpy as np
import pytest

import kdn.data.formats
from kdn.cli import main
from kdn.data import load_samples, source_forms, source_markup, source_place
from kdn.data.formats.format import known_formats
from kdn.data.formats.table import read_table
from kdn.data.markup import Markup

THREE = Markup(name="three", landmarks=3, flip=(1, 0, 2))

# A picture a line, y before x, both counted from 1; with what writes such a file.
MOUSE = """
import numpy as np

from kdn.data.formats import Format, Writer, labelled, read_entries


def _read(file, markup, *, problems):
    def read(line):
        picture, *numbers = line.split()
        points = np.array(numbers, np.float64).reshape(-1, 2)[:, ::-1] - 1.0
        return labelled(picture, file.parent / picture, points)

    lines = enumerate(file.read_text().splitlines(), 1)
    entries = [(f"{file}:{number}", line) for number, line in lines]
    return read_entries(file, entries, read, markup=markup, problems=problems)


class MouseFile(Writer):
    title = "files of mice have"

    def __init__(self, *args):
        super().__init__(*args)
        self.lines = []

    def add(self, sample):
        numbers = (sample.landmarks[:, ::-1] + 1.0).ravel().tolist()
        self.lines.append(" ".join([self.picture_name(sample), *map(repr, numbers)]))
        self.lost.add("boxes")

    def finish(self):
        self.path.write_text("\\n".join(self.lines))
        return super().finish()


MOUSE = Format("mouse", "FILE.mouse", _read, writer=MouseFile, suffixes=(".mouse",))
"""

LINES = "a.png 11 21 31.5 42 52 63\nb.png 1 2 3 4 5 oops\nb.png 61 52 43.25 34 25 17\n"
FIRST = [[20, 10], [41, 30.5], [62, 51]]


@pytest.fixture
def labels(tmp_path) -> Path:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"never opened")
    file = tmp_path / "labels.txt"
    file.write_text(LINES)
    return file


@pytest.fixture(params=["outside", "inside"])
def word(request, tmp_path, monkeypatch) -> str:
    """Return what names the format: its module elsewhere, or its name where ours are."""
    folder = tmp_path / "code"
    folder.mkdir()
    if request.param == "outside":
        (folder / "lab_mice.py").write_text(MOUSE)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "lab_mice", raising=False)
        return "lab_mice:MOUSE"
    (folder / "mouse.py").write_text(MOUSE)
    monkeypatch.setattr(kdn.data.formats, "__path__", [*kdn.data.formats.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "kdn.data.formats.mouse", raising=False)
    return "mouse"


def test_a_format_is_one_file(word, labels, tmp_path, capsys):
    source = f"{word}:{labels}"
    problems: list[str] = []
    first, last = load_samples(source, THREE, problems=problems)
    np.testing.assert_array_equal(first.landmarks, FIRST)
    assert first.bbox == (20, 10, 62, 51)
    assert (last.id, last.image) == ("b.png", tmp_path / "b.png")
    assert len(problems) == 1
    assert problems[0].startswith(f"{labels}:2: ")
    assert ("mouse:FILE.mouse" in source_forms()) == (word == "mouse")
    assert source_place(source) == labels
    assert main(["convert", source, "--out", str(tmp_path / "mice.csv"), "--markup", "face5"]) == 2
    assert "3 points, but the mark-up face5 has 5" in capsys.readouterr().err
    markup = tmp_path / "three.yaml"
    markup.write_text("name: three\nlandmarks: 3\nflip: [1, 0, 2]\n")
    order = ["convert", source, "--markup", str(markup), "--out"]
    assert main([*order, str(tmp_path / "mice.csv")]) == 1
    assert f"{labels}:2: " in capsys.readouterr().err
    np.testing.assert_array_equal(read_table(tmp_path / "mice.csv")[0].landmarks, FIRST)


def test_a_format_of_ones_own_is_written_too(word, labels, tmp_path, capsys):
    table = tmp_path / "mice.csv"
    table.write_text("path,x0,y0,x1,y1,x2,y2\na.png,20,10,41,30.5,62,51\n")
    target = tmp_path / "again.mouse"
    outs = [f"{word}:{target}", *([str(target)] if word == "mouse" else [])]
    markup = tmp_path / "three.yaml"
    markup.write_text("name: three\nlandmarks: 3\nflip: [1, 0, 2]\n")
    for out in outs:
        assert main(["convert", f"table:{table}", "--markup", str(markup), "--out", out]) == 0
        assert "files of mice have no place for boxes" in capsys.readouterr().out
        assert target.read_text() == "a.png 11.0 21.0 31.5 42.0 52.0 63.0"
        target.unlink()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("no_such_module_here:MOUSE:x", "no_such_module_here cannot be imported"),
        ("os.path:join:x", "with the name of a Format"),
        ("json:NOTHING:x", "with the name of a Format"),
        ("kdn.data.formats.coco:COCO:", "with the name of a Format"),
    ],
)
def test_a_module_without_such_a_format_is_named(source, said):
    with pytest.raises(ValueError, match=said) as caught:
        load_samples(source)
    assert source in str(caught.value)


def test_our_formats_by_their_module_and_by_their_word_are_the_same(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("path,x0,y0,x1,y1,x2,y2\na.png,20,10,41,30.5,62,51\n")
    one, other = (
        load_samples(f"{word}:{file}", THREE, pictures=False)[0]
        for word in ("table", "kdn.data.formats.table:TABLE")
    )
    np.testing.assert_array_equal(one.landmarks, other.landmarks)
    wflw = "kdn.data.formats.wflw:WFLW:nowhere"
    faces = load_samples("synthetic:2:0")
    assert source_markup(wflw, faces).name == "face68"
    assert known_formats()["wflw"].markup is not None


def test_two_formats_of_one_name_are_refused(tmp_path, monkeypatch):
    (tmp_path / "again.py").write_text(MOUSE.replace('"mouse"', '"coco"'))
    monkeypatch.setattr(kdn.data.formats, "__path__", [*kdn.data.formats.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "kdn.data.formats.again", raising=False)
    with pytest.raises(ValueError, match=r"the format 'coco' is there twice"):
        known_formats()
