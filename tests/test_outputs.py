"""Found faces in files: what they say, what they leave alone, what a run that dies leaves."""

import csv
import json
import os
from contextlib import ExitStack

import numpy as np
import pytest

from found_faces import TRIO, hand_face, spoilt
from kdn.data import PointLabels
from kdn.data.formats.pts import read_pts
from kdn.predict.outputs import OutputNames, PictureObjects, open_output, refuse_inputs
from kdn.predict.outputs.rows import rounded, significant
from kdn.predictions import read_predictions

LABELS = PointLabels(TRIO)
FILES = ["a/x.jpg", "b/x.jpg", "c.png"]


def found(file, *faces, **more):
    return PictureObjects(file=file, width=64, height=48, faces=faces, **more)


def written(target, *entries, failed=(), **options):
    """Write pictures to a file."""
    inputs = options.pop("inputs", FILES)
    with open_output(target, model="small", labels=LABELS, inputs=inputs, **options) as output:
        for entry in entries:
            output.add(entry)
        for file, reason in failed:
            output.fail(file, reason)
    return target


def test_json_document(tmp_path):
    path = written(
        tmp_path / "new" / "faces.json",
        found("a/x.jpg", hand_face(), hand_face(100.0, 7.0)),
        found("b/x.jpg"),
        failed=[("c.png", "c.png: the file is\nempty")],
    )
    content = json.loads(path.read_text())
    faces = content["images"][0].pop("faces")
    assert content == {
        "format": 1,
        "model": "small",
        "markup": "trio",
        "frame": "image pixels, integer pixel centres, (x, y)",
        "images": [
            {"file": "a/x.jpg", "width": 64, "height": 48},
            {"file": "b/x.jpg", "width": 64, "height": 48, "faces": []},
        ],
        "failed": [{"file": "c.png", "reason": "the file is empty"}],
    }
    assert faces[0] == {
        "bbox": [10.0, 18.0, 41.0, 61.5],
        "score": 0.75,
        "landmarks": [[10.25, 20.5], [41.0, 18.123], [27.0, 61.0]],
        "covariances": [[4.0, 1.0, 2.0], [9.0, 0.0, 0.25], [0.001, 0.0, 123457.0]],
        "uncertainty": [1.62658, 1.22474, 3.33333],
    }
    assert faces[1]["landmarks"][1] == [141.0, 25.123]


def test_json_document_without_anything(tmp_path):
    content = json.loads(written(tmp_path / "faces.json").read_text())
    assert (content["images"], content["failed"]) == ([], [])


def test_json_lines_are_whole_after_each_picture(tmp_path):
    path = tmp_path / "faces.jsonl"
    with open_output(path, model="small", labels=LABELS) as output:
        for count, file in enumerate(FILES, 1):
            output.add(found(file, hand_face()))
            lines = path.read_text().splitlines(keepends=True)
            assert len(lines) == count
            assert lines[-1].endswith("\n")
        output.fail("d.png", "empty")
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry["file"] for entry in entries] == [*FILES, "d.png"]
    assert {entry["model"] for entry in entries} == {"small"}
    assert entries[0]["faces"][0]["landmarks"][0] == [10.25, 20.5]
    assert entries[3] == {"format": 1, "model": "small", "file": "d.png", "reason": "empty"}


def test_frames_of_a_video_say_when_and_who(tmp_path):
    entry = found("clip.mp4", hand_face(), hand_face(5.0), frame=12, time=0.4800001, tracks=(3, 1))
    path = written(tmp_path / "a.jsonl", entry)
    content = json.loads(path.read_text())
    assert (content["frame"], content["time"]) == (12, 0.48)
    assert [face["track"] for face in content["faces"]] == [3, 1]
    rows = read_csv(written(tmp_path / "a.csv", entry))
    assert [(row["frame"], row["face"], row["track"]) for row in rows[::3]] == [
        ("12", "0", "3"),
        ("12", "1", "1"),
    ]
    assert read_predictions(written(tmp_path / "a.parquet", entry)).id == (
        "clip.mp4@12#0",
        "clip.mp4@12#1",
    )


def test_tracks_must_fit_the_faces():
    with pytest.raises(ValueError, match=r"clip\.mp4: tracks must be one for each of 1 faces"):
        found("clip.mp4", hand_face(), tracks=(1, 2))


def read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_row_a_landmark(tmp_path):
    odd = 'a,"b"\n.jpg'
    path = written(
        tmp_path / "faces.csv",
        found(odd, hand_face(), hand_face(1.0, 2.0)),
        found("b/x.jpg"),
        failed=[("c.png", "empty")],
    )
    rows = read_csv(path)
    assert [(row["file"], row["face"], row["landmark"], row["name"]) for row in rows] == [
        (odd, face, landmark, name)
        for face in "01"
        for landmark, name in (("0", "right"), ("1", "left"), ("2", "chin"))
    ]
    assert rows[4] == {
        "file": odd,
        "frame": "",
        "face": "1",
        "track": "",
        "score": "0.75",
        "landmark": "1",
        "name": "left",
        "x": "42.0",
        "y": "20.123",
        "xx": "9.0",
        "xy": "0.0",
        "yy": "0.25",
        "uncertainty": "1.22474",
    }


def test_csv_grows_by_whole_pictures(tmp_path):
    path = tmp_path / "faces.csv"
    with open_output(path, model="small", labels=LABELS) as output:
        output.add(found("a/x.jpg", hand_face()))
        assert len(read_csv(path)) == 3
        output.add(found("b/x.jpg", hand_face()))
        assert len(read_csv(path)) == 6


def test_parquet_is_the_record_of_predictions(tmp_path):
    faces = [hand_face(), hand_face(3.0, -2.0), hand_face(0.1)]
    path = written(
        tmp_path / "faces.parquet",
        found("a/x.jpg", *faces[:2]),
        found("b/x.jpg"),
        found("c.png", faces[2]),
        failed=[("d.png", "empty")],
    )
    read = read_predictions(path)
    assert read.id == ("a/x.jpg#0", "a/x.jpg#1", "c.png#0")
    assert read.path == ("a/x.jpg", "a/x.jpg", "c.png")
    assert read.target is None
    np.testing.assert_array_equal(read.landmarks, [face.landmarks for face in faces])
    np.testing.assert_array_equal(read.bbox, [face.bbox for face in faces])
    np.testing.assert_array_equal(read.uncertainty, [face.uncertainty for face in faces])
    assert read.covariances is not None
    np.testing.assert_array_equal(read.covariances[1, 0], [4.0, 1.0, 2.0])
    assert read.markup == "trio"
    assert read.metadata["failed"] == [{"file": "d.png", "reason": "empty"}]


def test_parquet_without_a_face(tmp_path):
    assert len(read_predictions(written(tmp_path / "faces.parquet", found("c.png")))) == 0


def test_pts_files_are_read_back(tmp_path):
    written(tmp_path / "out", found("a/x.jpg", hand_face(), hand_face(9.0)), found("b/x.jpg"))
    text = (tmp_path / "out" / "a" / "x_0.pts").read_text()
    assert text == "version: 1\nn_points: 3\n{\n11.250 21.500\n42.000 19.123\n28.000 62.000\n}\n"
    again = read_pts(tmp_path / "out" / "a" / "x_1.pts", landmarks=3)
    np.testing.assert_allclose(again, hand_face(9.0).landmarks, atol=5e-4)
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.pts")) == ["x_0.pts", "x_1.pts"]


def test_a_face_that_pts_cannot_say_leaves_the_others(tmp_path):
    with (
        open_output(tmp_path, model="small", labels=LABELS, inputs=FILES) as output,
        pytest.raises(ValueError, match=r"c\.png: faces 0 have landmarks that are not finite"),
    ):
        output.add(found("c.png", spoilt(hand_face(), 1), hand_face()))
    assert [p.name for p in tmp_path.rglob("*.pts")] == ["c_1.pts"]


def test_what_is_not_finite_is_null_or_empty(tmp_path):
    entry = found("c.png", spoilt(hand_face(), 1))
    content = json.loads(
        written(tmp_path / "a.json", entry).read_text(), parse_constant=pytest.fail
    )
    face = content["images"][0]["faces"][0]
    assert face["score"] is None
    assert face["landmarks"][1] == [None, 18.123]
    assert face["covariances"][1] == [None, None, None]
    assert face["uncertainty"][1] is None
    row = read_csv(written(tmp_path / "a.csv", entry))[1]
    assert [row[key] for key in ("x", "y", "xx", "uncertainty", "score")] == [
        "",
        "18.123",
        "",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("value", "fixed", "digits"),
    [(1.23456789, 1.235, 1.23457), (-0.0001, 0.0, -0.0001), (98765432.1, 98765432.1, 98765400.0)],
)
def test_rounding(value, fixed, digits):
    assert (rounded(value), significant(value)) == (fixed, digits)
    assert str(rounded(value)) == str(fixed)  # which tells 0.0 from −0.0


def test_a_name_that_is_no_text_is_written_everywhere(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    entry = found(name, hand_face())
    content = json.loads(written(tmp_path / "a.json", entry).read_text())
    assert content["images"][0]["file"] == name
    assert read_csv(written(tmp_path / "a.csv", entry))[0]["file"] == "caf�.jpg"
    assert read_predictions(written(tmp_path / "a.parquet", entry)).id == ("caf�.jpg#0",)


def interrupted(target):
    """Write one picture and no more."""
    with open_output(target, model="small", labels=LABELS, inputs=FILES) as output:
        output.add(found("c.png", hand_face()))
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["faces.json", "faces.parquet"])
def test_a_run_that_dies_leaves_what_was_there(tmp_path, name):
    path = tmp_path / name
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["faces.jsonl", "faces.csv", "out"])
def test_a_run_that_dies_keeps_what_was_done(tmp_path, name):
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / name)
    left = tmp_path / name
    text = (left / "c_0.pts" if left.is_dir() else left).read_text()
    assert text.count("18.123") + text.count("19.123") == 1


@pytest.mark.parametrize("name", ["in.json", "in.jsonl", "in.csv", "in.parquet"])
def test_inputs_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("mine")
    os.link(tmp_path / name, tmp_path / "other")
    for options in ({"inputs": [str(tmp_path / "other")]}, {"keep": [str(tmp_path / name)]}):
        with pytest.raises(ValueError, match=rf"{name}: is one of the inputs"):
            written(tmp_path / name, found("c.png"), **options)
    assert (tmp_path / name).read_text() == "mine"


def test_refuse_inputs_lets_others_be(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    refuse_inputs(tmp_path / "a", [str(tmp_path / "b"), str(tmp_path / "gone")])
    refuse_inputs(tmp_path / "new", [str(tmp_path / "new")])
    with pytest.raises(ValueError, match="a: is one of the inputs"):
        refuse_inputs(tmp_path / ".." / tmp_path.name / "a", [str(tmp_path / "a")])


def test_standard_output(capsys):
    written("-", found("c.png", hand_face()))
    assert json.loads(capsys.readouterr().out)["file"] == "c.png"
    written("-", found("c.png", hand_face()), form="csv")
    assert capsys.readouterr().out.splitlines()[1].startswith("c.png,,0,,0.75,0,right,10.25,")


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("faces.xml", {}, r"faces\.xml: must end in one of \.json, \.jsonl, \.ndjson, \.csv"),
        ("faces.pts", {}, "name a folder for .pts files"),
        ("faces.json", {"form": "yaml"}, "form must be one of json, jsonl, csv, parquet, pts"),
        ("-", {"form": "parquet"}, "standard output takes jsonl or csv, got parquet"),
        ("taken", {"form": "csv"}, "taken: is a folder"),
        ("file", {}, "file: is a file, not a folder"),
    ],
)
def test_targets_that_cannot_be(tmp_path, monkeypatch, target, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=said):
        written(target, **options)


def test_several_outputs_at_once(tmp_path):
    names = ["a.json", "b.csv", "c.parquet", "d.jsonl", "e"]
    with ExitStack() as stack:
        outputs = [
            stack.enter_context(open_output(tmp_path / n, model="m", labels=LABELS, inputs=FILES))
            for n in names
        ]
        for output in outputs:
            output.add(found("c.png", hand_face()))
            output.fail("a/x.jpg", "empty")
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def names_of(inputs, tmp_path, **options):
    names = OutputNames(tmp_path / "out", inputs, suffix=".png", **options)
    return [names.path(file).relative_to(tmp_path / "out").as_posix() for file in inputs]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["a/x.jpg", "b/x.jpg"], ["a/x.png", "b/x.png"]),
        (["in/a/x.jpg", "in/a/y.jpg"], ["x.png", "y.png"]),
        (["in/x.jpg", "in/a/x.jpg"], ["x.png", "a/x.png"]),
        (["../x.jpg", "x.jpg"], None),
        (["a/x.jpg", "a/x.png"], ["x.jpg.png", "x.png.png"]),
        (["a/x.jpg", "a/X.jpg"], ["x.jpg.png", "X.jpg-2.png"]),
        (["a/x.jpg", "a/x.png", "a/x.jpg.tif"], ["x.jpg.png", "x.png.png", "x.jpg-2.png"]),
        (["camera:0", "q?.jpg"], ["camera_0.png", "q_.png"]),
    ],
)
def test_names_never_collide(tmp_path, inputs, expected):
    names = names_of(inputs, tmp_path)
    assert len({name.casefold() for name in names}) == len(names)
    assert not any(name.startswith(("/", "..")) for name in names)
    if expected is not None:
        assert names == expected


def test_faces_and_frames_never_collide(tmp_path):
    names = OutputNames(tmp_path, ["a.mp4", "a_000003.jpg", "a.jpg"], suffix=".pts")
    given = [
        names.path(file, frame=frame, face=face).name
        for file, frame in (("a.mp4", 3), ("a_000003.jpg", None), ("a.jpg", None))
        for face in (0, 1)
    ]
    assert given[:2] == ["a.mp4_000003_0.pts", "a.mp4_000003_1.pts"]
    assert given[4:] == ["a.jpg_0.pts", "a.jpg_1.pts"]
    alone = OutputNames(tmp_path, ["a.mp4", "a_000003.jpg"], suffix=".pts")
    given += [alone.path("a.mp4", frame=3, face=0).name, alone.path("a_000003.jpg", face=0).name]
    assert given[6:] == ["a_000003_0.pts", "a_000003_0-2.pts"]
    with pytest.raises(ValueError, match=r"file must be one of the inputs, got 'b\.jpg'"):
        names.path("b.jpg")


@pytest.mark.parametrize("there", ["x_0.pts", "X_12.PTS", "x_000003_1.pts", "x_0-2.pts", "x.pts"])
def test_files_that_are_there_stay(tmp_path, there):
    (tmp_path / there).write_text("mine")
    with pytest.raises(ValueError, match="is there already; name another folder, or --overwrite"):
        OutputNames(tmp_path, ["in/x.jpg"], suffix=".pts")
    OutputNames(tmp_path, ["in/x.jpg"], suffix=".pts", overwrite=True)
    OutputNames(tmp_path, ["in/y.jpg", "in/x_0_a.jpg"], suffix=".pts")
    (tmp_path / there).with_suffix(".png").touch()
    with pytest.raises(ValueError, match="is the label of the picture beside it"):
        OutputNames(tmp_path, ["in/x.jpg"], suffix=".pts", overwrite=True)
    assert (tmp_path / there).read_text() == "mine"


def test_overlays_do_not_overwrite_their_pictures(tmp_path):
    (tmp_path / "x.png").write_text("mine")
    with pytest.raises(ValueError, match=r"x\.png: is one of the inputs"):
        OutputNames(tmp_path, [str(tmp_path / "x.png")], suffix=".png", overwrite=True)
