"""Other systems' landmarks: every format gives what the same numbers give as Parquet."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdn.cli import main
from kdn.data.formats.ibug import read_ibug
from kdn.evaluate import evaluate
from kdn.predictions import (
    Predictions,
    Targets,
    add_labels,
    read_predictions,
    read_published,
    write_predictions,
)
from kdn.predictions.labels import match_names, offset_note

# Tight boxes of 40 × 90, 90 × 160 and 50 × 200 px, so that √(w·h) is 60, 120 and 100 px.
BOXES = {"12_1": (31, 7, 40, 90), "12_2": (5, 22, 90, 160), "b.v2": (60, 11, 50, 200)}
# Errors of 2.05 %, 5 % (every other landmark by 12 px, in x) and 9 % (in y) of these.
NMES = (2.05, 5.0, 9.0)


def labels_of(name: str) -> np.ndarray:
    """Return 68 distinct points that fill the box of a face, no two axes alike."""
    x0, y0, width, height = BOXES[name]
    across = (np.arange(68) * 29 % 68) / 67
    return np.stack([x0 + width * across, y0 + height * np.arange(68) / 67], axis=1)


def predicted() -> dict[str, np.ndarray]:
    """Return points with the errors of `NMES`, image pixels counted from 0."""
    first, second, third = (labels_of(name) for name in BOXES)
    return {
        "12_1": first + 1.23 * np.array([-0.6, 0.8]),
        "12_2": second + np.where(np.arange(68) % 2, 12.0, 0.0)[:, None] * [1, 0],
        "b.v2": third - [0, 9.0],
    }


def write_pts(path: Path, points: np.ndarray, *, first_pixel: float = 1.0) -> None:
    rows = "\n".join(f"{x!r} {y!r}" for x, y in (points + first_pixel).tolist())
    path.write_text(f"version: 1\nn_points: {len(points)}\n{{\n{rows}\n}}\n")


def write_csv(path: Path, faces: dict[str, np.ndarray], *, name: str = "id") -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([name, *(f"{axis}{i}" for i in range(68) for axis in "xy")])
        writer.writerows([face, *points.ravel().tolist()] for face, points in faces.items())
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return a labelled folder of three faces in pictures of 170 × 230 px."""
    folder = tmp_path / "made" / "test"
    folder.mkdir(parents=True)
    for name in BOXES:
        cv2.imwrite(str(folder / f"{name}.png"), np.full((230, 170, 3), 90, np.uint8))
        write_pts(folder / f"{name}.pts", labels_of(name))
    return folder


@pytest.fixture
def joined(folder) -> Predictions:
    """Return the predictions with their labels, made without a reader of predictions."""
    faces = predicted()
    return Predictions(
        id=tuple(f"made/test/{name}" for name in faces),
        landmarks=np.stack(list(faces.values())),
        target=np.stack([labels_of(name) for name in faces]),
        metadata={"markup": "face68"},
    )


def as_csv(root: Path) -> Path:
    return write_csv(root / "p.csv", predicted())


def as_csv_of_paths(root: Path) -> Path:
    """Columns in another order, one more column, names as paths of another machine."""
    path = root / "paths.CSV"
    names = [f"{axis.upper()}{i}" for axis in "yx" for i in range(68)]
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["score", *names, "Image"])
        for name, points in reversed(predicted().items()):
            where = f"D:\\pictures\\test\\{name}.png"
            writer.writerow([0.5, *points[:, 1].tolist(), *points[:, 0].tolist(), where])
    return path


def as_json_mapping(root: Path) -> Path:
    path = root / "mapping.json"
    path.write_text(json.dumps({f"{k}.jpg": v.tolist() for k, v in predicted().items()}))
    return path


def as_json_list(root: Path) -> Path:
    path = root / "list.json"
    entries = [
        {"file": f"/data/{k}.png", "landmarks": v.ravel().tolist(), "score": 1}
        for k, v in predicted().items()
    ]
    path.write_text(json.dumps(entries))
    return path


def as_pts(root: Path) -> Path:
    (root / "pts").mkdir()
    for name, points in predicted().items():
        write_pts(root / "pts" / f"{name}.pts", points)
    return root / "pts"


def as_parquet(root: Path) -> Path:
    path = root / "bare.parquet"
    faces = predicted()
    ids = tuple(f"made/test/{name}" for name in faces)
    write_predictions(path, Predictions(id=ids, landmarks=np.stack(list(faces.values()))))
    return path


FORMATS = {
    function.__name__: function
    for function in (as_csv, as_csv_of_paths, as_json_mapping, as_json_list, as_pts, as_parquet)
}


def scores_of(path: Path) -> dict[str, float]:
    return {name: row["value"] for name, row in json.loads(path.read_text())["scores"].items()}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_scores_like_the_same_predictions_as_parquet(
    form, folder, joined, tmp_path, capsys
):
    source = FORMATS[form](tmp_path)
    out, scores = tmp_path / "joined.parquet", tmp_path / "s.json"
    flags = ["--labels", str(folder), "--json", str(scores), "--out", str(out)]
    assert main(["evaluate", str(source), *flags, "--bootstrap", "0"]) == 0
    assert capsys.readouterr().err == ""
    got = scores_of(scores)
    want = {score.name: score.value for score in evaluate(joined, bootstrap=0).scores}
    assert got == pytest.approx(want, rel=1e-9)
    # By hand. 999 · 0.0205 = 20.5, 999 · 0.05 = 49.95: 49 and 20 of 70 thresholds are above.
    assert got["NME box"] == pytest.approx(sum(NMES) / 3)
    assert got["AUC@7 box (exact)"] == pytest.approx(100 * (4.95 / 7 + 2 / 7) / 3)
    assert got["AUC@7 box (fan70)"] == pytest.approx(100 * (49 + 20) / 210)
    assert got["failure@7 box (exact)"] == pytest.approx(100 / 3)
    assert got["mean error"] == pytest.approx((1.23 + 6 + 9) / 3)
    again = read_predictions(out)
    assert again.id == ("made/test/12_1", "made/test/12_2", "made/test/b.v2")
    assert again.path is not None
    assert Path(again.path[2]) == folder / "b.v2.png"
    assert again.target is not None
    assert joined.target is not None
    np.testing.assert_allclose(again.prediction, joined.prediction, atol=1e-9)
    np.testing.assert_allclose(again.target, joined.target, atol=1e-9)


def test_what_was_joined_can_be_drawn_and_scored_again(folder, tmp_path, capsys):
    out = tmp_path / "joined.parquet"
    flags = ["--labels", str(folder), "--bootstrap", "0"]
    assert main(["evaluate", str(as_csv(tmp_path)), *flags, "--out", str(out)]) == 0
    first = capsys.readouterr().out
    assert main(["evaluate", str(out), "--bootstrap", "0"]) == 0
    assert capsys.readouterr().out == first
    assert main(["figures", str(out), "--out", str(tmp_path / "f")]) == 0
    assert (tmp_path / "f" / "ced.png").stat().st_size > 1000


@pytest.mark.parametrize("counted", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("said", [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("form", ["csv", "json", "pts"])
def test_a_wrong_origin_is_seen_and_the_right_one_leaves_nothing(
    form, said, counted, folder, tmp_path, capsys
):
    """Perfect predictions in a file that counts from `counted`: all errors are the mistake's."""
    faces = {name: labels_of(name) for name in BOXES}
    source = tmp_path / f"p.{form}"
    if form == "pts":
        source.mkdir()
        for name, points in faces.items():
            write_pts(source / f"{name}.pts", points, first_pixel=counted)
    elif form == "csv":
        write_csv(source, {name: points + counted for name, points in faces.items()})
    else:
        moved = {name: (points + counted).tolist() for name, points in faces.items()}
        source.write_text(json.dumps(moved))
    scores = tmp_path / "s.json"
    flags = ["--labels", str(folder), "--bootstrap", "0", "--json", str(scores)]
    flags += [] if said is None else ["--first-pixel", f"{said:g}"]
    assert main(["evaluate", str(source), *flags]) == 0
    taken = said if said is not None else {"pts": 1.0}.get(form, 0.0)
    off = abs(counted - taken)
    wanted = 100 * math.sqrt(2) * off * (1 / 60 + 1 / 120 + 1 / 100) / 3
    assert scores_of(scores)["NME box"] == pytest.approx(wanted, abs=1e-9)
    assert ("is --first-pixel right?" in capsys.readouterr().out) is (off > 0)


def test_an_offset_that_is_no_frame_is_not_warned_of():
    rng = np.random.default_rng(1)
    target = rng.uniform(20, 90, (40, 7, 2))
    target[3, 2] = np.nan
    target[5] = np.nan
    noise = rng.normal(size=target.shape)
    assert "+0.9" in offset_of(target + 0.3 * noise + 0.95, target)
    assert "-0.5" in offset_of(target + 0.1 * noise - 0.5, target)
    for shift in ([1.0, 0.0], [1.0, -1.0], [0.2, 0.2], [0.75, 0.75], [0.0, 0.0]):
        assert offset_of(target + 0.1 * noise + shift, target) == ""
    assert offset_of(target + 30 * noise + 1.0, target) == ""  # the mean itself is not known
    assert offset_of(target[:1] + 1, target[:1]) == ""


def offset_of(landmarks: np.ndarray, target: np.ndarray) -> str:
    ids = tuple(map(str, range(len(target))))
    return offset_note(Predictions(id=ids, landmarks=landmarks, target=target))


IDS = ("helen/train/7_1", "helen/test/7_1", "lfpw/test/x.v2", "lfpw/test/x", "lfpw/test/q")


@pytest.mark.parametrize(
    ("name", "face"),
    [
        ("helen/test/7_1", 1),
        ("/data/helen/train/7_1.jpg", 0),
        ("C:\\helen\\test\\7_1.jpg", 1),
        ("test/7_1.pts", 1),
        ("x", 3),
        ("x.v2", 2),
        ("x.v2.png", 2),
        ("x.jpg", 3),
        ("elsewhere/q.jpg", 4),
    ],
)
def test_names(name, face):
    problems: list[str] = []
    assert match_names([name], ["here"], IDS, problems) == [(0, face)]
    assert len(problems) == 4
    assert all("without a prediction" in line for line in problems)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["7_1"], "a: '7_1' could be any of 2 samples: 'helen/train/7_1', 'helen/test/7_1'"),
        (["val/7_1.jpg"], "a: 'val/7_1.jpg' could be any of 2 samples"),
        (["y"], "a: 'y' names no labelled sample"),
        (["..", "/"], "a: '..' names no labelled sample"),
        (["q.jpg", "lfpw/test/q"], "lfpw/test/q: 2 predictions of it (a, b)"),
    ],
)
def test_names_that_do_not_fit(names, said):
    problems: list[str] = []
    assert match_names(names, list("abc")[: len(names)], IDS, problems) == []
    assert sum(said in line for line in problems) == 1
    if "any of" in said:  # what was meant by an ambiguous name is not complained about again
        assert len(problems) == 4


def test_what_has_no_partner_is_left_out_and_counted(folder, tmp_path, capsys):
    faces = predicted()
    faces["stranger"] = faces.pop("12_2")
    source = write_csv(tmp_path / "p.csv", faces, name="path")
    scores = tmp_path / "s.json"
    flags = ["--labels", str(folder), "--bootstrap", "0", "--json", str(scores)]
    assert main(["evaluate", str(source), *flags]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        f"left out: {source}:4: 'stranger' names no labelled sample",
        "left out: made/test/12_2: labelled, but without a prediction that can be used",
    ]
    assert "Not scored for want of a prediction: 1 of 3 samples." in said.out
    assert scores_of(scores)["NME box"] == pytest.approx((NMES[0] + NMES[2]) / 2)


def test_several_sources_of_labels(folder, tmp_path, capsys):
    second = folder.parent / "more"
    second.mkdir()
    (folder / "12_2.png").rename(second / "12_2.png")
    (folder / "12_2.pts").rename(second / "12_2.pts")
    (second / "torn.pts").write_text("1 2\n")
    flags = ["--labels", str(folder), str(second), "--bootstrap", "0"]
    assert main(["evaluate", str(as_pts(tmp_path)), *flags]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("3 samples, 204 valid landmarks")
    assert said.err.count("\n") == 1
    assert "torn.pts: no picture beside it" in said.err


def broken(kind: str) -> tuple[str, str]:
    """Return a CSV file whose second row is wrong, and a JSON file with the same fault."""
    rows = {name: points.ravel().tolist() for name, points in predicted().items()}
    cells = {
        "nan": math.nan,
        "infinite": math.inf,
        "text": "1_0",
        "nothing": None,
        "yes": True,
    }
    if kind == "short":
        rows["12_2"] = rows["12_2"][:-2]
    elif kind == "long":
        rows["12_2"] = [*rows["12_2"], 1.0, 2.0]
    else:
        rows["12_2"][5] = cells[kind]
    head = ",".join(["id", *(f"{axis}{i}" for i in range(68) for axis in "xy")])
    lines = [
        ",".join([name, *("" if v is None else str(v) for v in r)]) for name, r in rows.items()
    ]
    return "\n".join([head, *lines, ""]), json.dumps(rows)


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize(
    ("kind", "in_csv", "in_json"),
    [
        ("short", "135 cells, the header has 137", "134 coordinates, but the mark-up has 68"),
        ("long", "139 cells, the header has 137", "138 coordinates, but the mark-up has 68"),
        ("nan", "coordinates must be finite, got nan", "coordinates must be finite, got nan"),
        ("infinite", "coordinates must be finite, got inf", "coordinates must be finite, got inf"),
        ("text", "coordinates must be numbers, got '1_0'", "must be numbers, got '1_0'"),
        ("nothing", "coordinates must be numbers, got ''", "must be numbers, got None"),
        ("yes", "coordinates must be numbers, got 'True'", "must be numbers, got True"),
    ],
)
def test_one_bad_entry_is_named_and_the_rest_is_scored(form, kind, in_csv, in_json, tmp_path):
    source = tmp_path / f"p.{form}"
    source.write_text(dict(zip(["csv", "json"], broken(kind), strict=True))[form])
    problems: list[str] = []
    got, places = read_published(source, problems=problems)
    assert got.id == ("12_1", "b.v2")
    assert len(places) == 2
    assert len(problems) == 1
    place = f"{source}:3: " if form == "csv" else f"{source}: entry '12_2': "
    assert problems[0].startswith(place)
    assert (in_csv if form == "csv" else in_json) in problems[0]
    with pytest.raises(ValueError, match="12_2" if form == "json" else ":3:"):
        read_published(source)


def test_bad_pts_files_are_named(tmp_path):
    source = as_pts(tmp_path)
    write_pts(source / "12_1.pts", labels_of("12_1")[:5])
    (source / "b.v2.pts").write_text("1 nan\n" * 68)
    (source / "notes.txt").write_text("not read")
    problems: list[str] = []
    got, _ = read_published(source, problems=problems)
    assert got.id == ("12_2.pts",)
    assert [line.split(": ")[0] for line in problems] == [
        f"{source / '12_1.pts'}:8",
        f"{source / 'b.v2.pts'}:1",
    ]


ROW = [[1, 2]] * 68


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"id": "a"}, "entry 1: 'landmarks' is missing"),
        ({"landmarks": ROW}, "entry 1: 'id' (or path, image, file) must be a name"),
        ({"id": 3, "landmarks": ROW}, "entry 1: 'id' (or path, image, file)"),
        ([1, 2], "entry 1: must be an object"),
        ({"id": "a", "landmarks": {"x": 1}}, "entry 1: landmarks must be a list"),
        ({"id": "a", "landmarks": [*ROW[1:], [1, 2, 3]]}, "entry 1: landmark 67 must be"),
        ({"id": "a", "landmarks": [*ROW[1:], 5]}, "entry 1: landmark 67 must be [x, y]"),
        ({"id": "a", "landmarks": [*ROW[1:], [[1], 2]]}, "coordinates must be numbers, got [1]"),
        ({"id": "a", "landmarks": [*ROW[1:], [10**400, 2]]}, "must be numbers, got 1000"),
    ],
)
def test_bad_entries_of_a_json_list(entry, said, tmp_path):
    source = tmp_path / "p.json"
    source.write_text(json.dumps([{"image": "fine", "landmarks": ROW}, entry]))
    problems: list[str] = []
    got, _ = read_published(source, problems=problems)
    assert got.id == ("fine",)
    assert len(problems) == 1
    assert said in problems[0]


def test_a_json_list_may_have_the_columns_of_a_table(tmp_path):
    points = labels_of("12_1")
    names = [f"{axis}{i}" for i in range(68) for axis in "xy"]
    row = {"path": "12_1", **dict(zip(names, points.ravel().tolist(), strict=True))}
    source = tmp_path / "p.json"
    source.write_text(json.dumps([row, {**row, "path": "short", "y67": None}]))
    problems: list[str] = []
    got, _ = read_published(source, problems=problems)
    assert got.id == ("12_1",)
    np.testing.assert_array_equal(got.prediction[0], points)
    assert problems == [f"{source}: entry 1: coordinates must be numbers, got None"]


def test_a_name_twice_in_a_json_object_is_not_the_last_one(folder, tmp_path, capsys):
    once = json.dumps({name: points.tolist() for name, points in predicted().items()})
    other = json.dumps({"12_2": labels_of("12_2").tolist()})
    source = tmp_path / "p.json"
    source.write_text(once[:-1] + ", " + other[1:])
    assert main(["evaluate", str(source), "--labels", str(folder), "--bootstrap", "0"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("2 samples")
    assert "made/test/12_2: 2 predictions of it" in said.err


HEAD = ",".join(f"x{i},y{i}" for i in range(68))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.csv", b"", "p.csv:1: the header must have a column id, path, image or file"),
        ("p.csv", b"id,x0,y0,x1\n", "p.csv:1: the header must have x0, y0 … y67"),
        ("p.csv", b"id,x0,y0,x1\n", "'y1' is missing"),
        ("p.csv", f"id,{HEAD},x68,y68\n".encode(), "'x68' is one too many"),
        ("p.csv", f"id,{HEAD},x7\n".encode(), "column 'x7' is there 2 times"),
        ("p.csv", f"id,{HEAD}\n".encode(), "p.csv: no predictions in it"),
        ("p.csv", b"\xff\xfe\x00i", "not a CSV file in UTF-8"),
        ("p.csv", b'id,"' + b"a" * 200_000, "not a CSV file in UTF-8"),
        ("p.json", b"{", "p.json: not a JSON file in UTF-8"),
        ("p.json", b"3", "p.json: must be an object of names and points, or a list of objects"),
        ("p.json", b"[]", "p.json: no predictions in it"),
        ("p.json", b"[" * 100_000, "p.json: not a JSON file"),
        ("p.json", b'{"a": [' + b"1" * 5000 + b"]}", "p.json: not a JSON file"),
        ("p.pkl", b"", "p.pkl: must be a .csv or .json file or a folder of .pts files"),
    ],
)
def test_files_that_are_not_read(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r".") as caught:
        read_published(tmp_path / name, problems=[])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.csv", "--labels", "made/test"], "none.csv: no such file"),
        (["p.csv"], "p.csv: has no labels, name them with --labels"),
        (["pts"], "pts: has no labels, name them with --labels"),
        (["bare.parquet"], "bare.parquet: has no labels, name them with --labels"),
        (["made", "--labels", "made/test"], "made: no .pts file in it"),
        (["p.csv", "--labels", "nowhere"], "nowhere: no such folder"),
        (
            ["p.csv", "--labels", "synthetic:3:0"],
            "no prediction is of a labelled sample: the first",
        ),
        (["full.parquet", "--labels", "made/test"], "must have no labels of their own"),
        (["full.parquet", "--first-pixel", "1"], "which count from 0"),
        (["bare.parquet", "--labels", "made/test", "--first-pixel", "1"], "which count from 0"),
        (["p.csv", "--labels", "made/test", "--first-pixel", "2"], "must be 0, 0.5 or 1, got 2"),
        (
            ["p.csv", "--labels", "made/test", "--out", "x.csv"],
            "points are written to .parquet, not .csv",
        ),
        (["p.csv", "--labels", "made/test", "--decoder", "mode"], "column 'mode' is missing"),
        (["five.parquet", "--labels", "made/test"], "must have 68 landmarks as the labels have"),
    ],
)
def test_bad_arguments(arguments, said, folder, joined, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for function in (as_csv, as_pts, as_parquet):
        function(tmp_path)
    write_predictions("full.parquet", joined)
    write_predictions("five.parquet", Predictions(id=("a",), landmarks=np.ones((1, 5, 2))))
    assert main(["evaluate", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not Path("x.parquet").exists()


def test_a_parquet_file_keeps_its_columns_and_loses_what_is_not_finite(folder, joined):
    """The rows of uncertainty follow their faces when the order changes."""
    sure = np.arange(3.0)[:, None] + np.arange(68) / 100
    order = [2, 0, 1]
    bare = replace(joined, target=None, valid=None, uncertainty=sure, metadata={"head": "x"})
    bare = bare.take(np.array(order))
    bare.prediction[1, 4, 0] = np.nan  # 12_1
    problems: list[str] = []
    labels = Targets.of_samples(read_ibug(folder), bare)
    got = add_labels(bare, labels, places=[f"row {i}" for i in range(3)], problems=problems)
    assert got.id == ("made/test/12_2", "made/test/b.v2")
    np.testing.assert_array_equal(got.uncertainty, sure[[1, 2]])
    np.testing.assert_array_equal(got.prediction, joined.prediction[[1, 2]])
    assert got.target is not None
    np.testing.assert_allclose(got.target[0], labels_of("12_2"))
    assert got.metadata == {"head": "x", "markup": "face68"}
    assert problems[0] == "row 1: landmarks must be finite"
    assert len(problems) == 2


def test_labels_that_are_not_valid_do_not_count(folder, joined):
    samples = read_ibug(folder)
    valid = samples[1].valid.copy()
    valid[::2] = False  # leaves the landmarks that are 12 px off
    samples[1] = replace(samples[1], valid=valid)
    bare = replace(joined, target=None, valid=None)
    labels = Targets.of_samples(samples, bare)
    got = add_labels(bare, labels, places=["", "", ""], problems=[])
    assert got.target is not None
    assert np.isnan(got.target[1, ::2]).all()
    assert evaluate(got, bootstrap=0)["mean error"].value == pytest.approx(
        (68 * 1.23 + 34 * 12 + 68 * 9) / (68 + 34 + 68)
    )
