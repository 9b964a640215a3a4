"""What arguments of a command stand for."""

import io
import os

import pytest

from kdn.predict.inputs import expand_inputs


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        *("photo.jpg", "Scan.TIFF", "clip.MP4", "notes.txt", ".hidden.jpg", "data"),
        *("in/b.png", "in/a.jpeg", "in/a.pts", "in/clip.mov", "in/._a.jpeg", "in/deep/z.jpg"),
        *("up/deep/y.gif", "odd[1].jpg", "7"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def expanded(*arguments, stdin=None):
    found = expand_inputs(arguments, stdin=None if stdin is None else io.StringIO(stdin))
    return [(entry.kind, entry.name) for entry in found]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["photo.jpg", "clip.MP4"], [("image", "photo.jpg"), ("video", "clip.MP4")]),
        (["notes.txt", "data"], [("image", "notes.txt"), ("image", "data")]),
        (["in"], [("image", "in/a.jpeg"), ("image", "in/b.png")]),
        (["in/", "in/b.png"], [("image", "in/a.jpeg"), ("image", "in/b.png")]),
        (["in/*"], [("image", "in/a.jpeg"), ("image", "in/b.png"), ("video", "in/clip.mov")]),
        (["*/*/?.*"], [("image", "in/deep/z.jpg"), ("image", "up/deep/y.gif")]),
        (["up/**"], [("image", "up/deep/y.gif")]),
        (["odd[1].jpg"], [("image", "odd[1].jpg")]),
        (["[pS]*"], [("image", "Scan.TIFF"), ("image", "photo.jpg")]),
        (["b.jpg", "photo.jpg"], [("missing", "b.jpg"), ("image", "photo.jpg")]),
        (["./photo.jpg", "photo.jpg", "in/../photo.jpg"], [("image", "./photo.jpg")]),
        (["0", "camera:0", "camera:12"], [("camera", "camera:0"), ("camera", "camera:12")]),
        (["7", "camera:7"], [("image", "7"), ("camera", "camera:7")]),
    ],
)
def test_arguments(arguments, expected):
    assert expanded(*arguments) == expected


@pytest.mark.parametrize(
    "listed",
    [
        "in\nphoto.jpg\n\n0\nin/b.png\n",
        "in\r\nphoto.jpg\r\n0",
        "\ufeffin\0photo.jpg\0" + "0\0",
    ],
)
def test_standard_input(listed):
    assert expanded("clip.MP4", "-", "-", "data", stdin=listed) == [
        ("video", "clip.MP4"),
        ("image", "in/a.jpeg"),
        ("image", "in/b.png"),
        ("image", "photo.jpg"),
        ("missing", "0"),
        ("image", "data"),
    ]


def test_a_name_with_a_newline_between_zero_bytes(folder):
    (folder / "two\nlines .jpg").touch()
    assert expanded("-", stdin="two\nlines .jpg\0") == [("image", "two\nlines .jpg")]


def test_cameras_have_numbers():
    found = expand_inputs(["3", "camera:011"], stdin=None)
    assert [entry.camera for entry in found] == [3, 11]


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("b.jpg", "no such file"),
        ("https://example.org/b.jpg", "no such file; addresses are not fetched"),
        ("camera:front", "no such camera"),
        ("empty", "no picture in this folder"),
        ("up", "no picture in this folder; 'up/**' searches its sub-folders"),
        ("*.xyz", "matches no file"),
        ("in/*.pts", "no picture or video among what it matches"),
        ("x" * 5000, "no such file"),
    ],
)
def test_what_is_missing_has_a_reason(argument, reason):
    missing, there = expand_inputs([argument, "photo.jpg"], stdin=None)
    assert (missing.kind, missing.reason, there.reason) == ("missing", reason, "")
    with pytest.raises(ValueError, match="nothing") as error:
        expand_inputs([argument], stdin=None)
    assert str(error.value) == f"nothing to look at\n{argument}: {reason}"


def test_nothing_at_all():
    with pytest.raises(ValueError, match="nothing to look at: no file was named"):
        expand_inputs([], stdin=None)
    with pytest.raises(ValueError, match="no file was named"):
        expand_inputs(["-"], stdin=io.StringIO("\n"))
    with pytest.raises(ValueError, match="there is none"):
        expand_inputs(["-"], stdin=None)
    with pytest.raises(ValueError, match="… and 3 more"):
        expand_inputs([f"{i}.jpg" for i in range(13)], stdin=None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read(folder):
    (folder / "empty").chmod(0)
    assert expand_inputs(["empty", "photo.jpg"], stdin=None)[0].reason.startswith("cannot be read")
    (folder / "empty").chmod(0o700)
