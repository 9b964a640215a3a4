"""Labels from one format into another and back."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdn.cli import main
from kdn.data import Sample, SyntheticFaces, load_samples, picture_names, tight_box
from kdn.data.convert import convert
from kdn.data.formats.table import read_table
from kdn.data.images import image_size
from kdn.data.markup import FACE68, Markup

FIVE = Markup(
    name="five",
    landmarks=5,
    flip=(1, 0, 2, 4, 3),
    edges=((0, 1), (3, 4)),
    names=("one", "two", "three", "four", "five"),
)
WHOLE = np.ones(5, bool)


def faces(folder: Path, *, whole: bool = False) -> list[Sample]:
    """Return three faces of two pictures; unless `whole`, some landmarks are hidden or missing."""
    rng = np.random.default_rng(5)
    found = []
    for index, name in enumerate(("a.png", "a.png", "b.jpg")):
        path = folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, (40 + index, 64, 3), dtype=np.uint8))
        points = rng.uniform((3, 1), (60, 38), (5, 2))
        valid = WHOLE.copy()
        valid[index] = whole
        visible = valid.copy()
        visible[index + 1] = whole
        points[~valid] = np.nan
        x0, y0, x1, y1 = tight_box(points, valid)
        found.append(
            Sample(
                id=f"set/{name}#{index}",
                image=path,
                landmarks=points,
                bbox=(x0 - 1.75, y0, x1 + 0.3, y1 + 2.2),
                valid=valid,
                visible=visible,
                picture=f"pictures/{name}",
                attributes={} if whole else {"age": 3.5 + index, "blur": index == 1, "who": "x"},
            )
        )
    return found


def same(one: Sample, other: Sample, *, exactly: bool = True, box: bool = True) -> None:
    """Check that two faces are labelled alike; to the sixth digit unless `exactly`."""
    close = 0 if exactly else 1e-6
    np.testing.assert_allclose(other.landmarks, one.landmarks, rtol=0, atol=close)
    assert other.valid.tolist() == one.valid.tolist()
    assert other.visible.tolist() == one.visible.tolist()
    if box:
        np.testing.assert_allclose(other.bbox, one.bbox, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(other.read(), one.read())


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_keep_everything(suffix, tmp_path):
    given = faces(tmp_path)
    out = tmp_path / "labels" / f"faces.{suffix}"
    written = convert(given, str(out), markup=FIVE)
    assert (written.faces, written.notes, written.problems) == (3, (), ())
    again = load_samples(f"table:{out}", FIVE)
    for one, other in zip(given, again, strict=True):
        same(one, other)
        assert other.bbox == one.bbox
        assert (other.id, other.picture, other.attributes) == (one.id, one.picture, one.attributes)


def test_coco_keypoints_keep_labels_and_boxes(tmp_path):
    given = faces(tmp_path)
    out = tmp_path / "labels" / "faces.json"
    written = convert(given, str(out), markup=FIVE)
    assert written.notes == ("COCO keypoints have no place for attributes",)
    again = load_samples(f"coco:{out}", FIVE)
    for one, other in zip(given, again, strict=True):
        same(one, other)
    assert len(set(picture_names(again))) == 2
    content = json.loads(out.read_text())
    assert [entry["file_name"] for entry in content["images"]] == [
        *("../pictures/a.png", "../pictures/b.jpg")
    ]
    assert [(e["width"], e["height"]) for e in content["images"]] == [(64, 41), (64, 42)]
    [category] = content["categories"]
    assert category["keypoints"] == list(FIVE.names)
    assert category["skeleton"] == [[1, 2], [4, 5]]
    first = content["annotations"][0]
    assert first["num_keypoints"] == 4
    assert first["keypoints"][:6] == [0, 0, 0, *given[0].landmarks[1], 1]
    x0, y0, x1, y1 = given[0].bbox
    assert first["bbox"] == [x0 + 0.5, y0 + 0.5, x1 - x0, y1 - y0]
    assert first["area"] == pytest.approx((x1 - x0) * (y1 - y0))


def test_dlib_has_whole_pixels(tmp_path):
    given = faces(tmp_path)
    out = tmp_path / "faces.xml"
    written = convert(given, str(out), markup=FIVE)
    said = re.search(r"by up to (0\.\d\d) px", written.notes[0])
    assert said is not None
    moved = float(said[1])
    assert len(written.notes) == 3
    again = load_samples(f"dlib:{out}", FIVE)
    largest = 0.0
    for one, other in zip(given, again, strict=True):
        largest = max(largest, float(np.nanmax(np.abs(other.landmarks - one.landmarks))))
        np.testing.assert_array_equal(other.landmarks, np.round(one.landmarks))
        assert other.valid.tolist() == one.valid.tolist()
        assert np.abs(np.subtract(other.bbox, one.bbox)).max() <= 0.5
    assert moved == pytest.approx(largest, abs=0.005)
    whole = [
        replace(face, landmarks=np.round(face.landmarks), bbox=(1.5, 2.5, 9.5, 30.5))
        for face in given
    ]
    written = convert(whole, str(out), markup=FIVE)
    assert all("whole pixels" not in note for note in written.notes)
    assert [face.bbox for face in load_samples(f"dlib:{out}", FIVE)] == [(1.5, 2.5, 9.5, 30.5)] * 3


@pytest.mark.parametrize("how", ["copy", "link"])
def test_folders_of_pts_files(how, tmp_path):
    given = faces(tmp_path, whole=True)
    out = tmp_path / "folder"
    written = convert(given, str(out), markup=FIVE, pictures=how)
    assert written.notes == (".pts files have no place for boxes",)
    assert {path.is_symlink() for path in out.glob("*.[pj][np]g")} == {how == "link"}
    again = load_samples(str(out), FIVE)
    for one, other in zip(given, again, strict=True):
        same(one, other, exactly=False, box=False)
    assert len(set(picture_names(again))) == 2  # faces of one picture stay together
    with pytest.raises(ValueError, match="must be a new or an empty folder"):
        convert(given, str(out), markup=FIVE)
    alone = tmp_path / "alone"
    convert(given[1:], str(alone), markup=FIVE, pictures="none")
    assert sorted(path.name for path in alone.iterdir()) == ["a.pts", "b.pts"]


def test_folders_of_pts_files_that_say_what_is_hidden(tmp_path):
    given = faces(tmp_path)
    plain = convert
    with pytest.raises(ValueError, match=r"no face can be written\nset/a\.png#0: 1 landmarks have"):
        plain(given, str(tmp_path / "plain"), markup=FIVE)
    out = f"merl_rav:{tmp_path / 'signs'}"
    written = convert(given, out, markup=FIVE)
    assert written.faces == 3
    for one, other in zip(given, load_samples(out, FIVE), strict=True):
        same(one, other, exactly=False, box=False)
    above = given[2].landmarks.copy()
    above[0, 1] = -4.0
    corner = given[2].landmarks.copy()
    corner[3] = 0.0
    wrong = [replace(given[2], landmarks=above), replace(given[2], landmarks=corner)]
    written = convert([given[0], *wrong], f"merl_rav:{tmp_path / 'again'}", markup=FIVE)
    assert written.faces == 1
    assert "above the picture" in written.problems[0]
    assert "hidden landmark at the first pixel" in written.problems[1]


def test_pictures_that_lie_in_no_file_are_written(tmp_path):
    given = SyntheticFaces(3, seed=4)
    for out, source in (
        ("faces.json", "coco:{}"),
        ("faces.csv", "table:{}"),
        ("folder/", "{}"),
    ):
        written = convert(given, f"{tmp_path}/{out}", markup=FACE68)
        assert written.faces == 3
        again = load_samples(source.format(tmp_path / out), FACE68)
        for one, other in zip((given[i] for i in range(3)), again, strict=True):
            np.testing.assert_array_equal(other.read(), one.read())
            np.testing.assert_allclose(other.landmarks, one.landmarks, rtol=0, atol=1e-6)
    assert len(list((tmp_path / "faces_pictures").glob("*.png"))) == 3


def test_boxes_of_the_landmarks(tmp_path):
    given = faces(tmp_path)
    convert(given, f"{tmp_path}/faces.csv", markup=FIVE, boxes="landmarks")
    for one, other in zip(given, read_table(tmp_path / "faces.csv", FIVE), strict=True):
        assert other.bbox == tight_box(one.landmarks, one.valid)


def test_what_cannot_be_written_is_said(tmp_path):
    given = faces(tmp_path)
    with pytest.raises(ValueError, match=r"out must be one of FOLDER, .* got 'faces\.txt'"):
        convert(given, "faces.txt", markup=FIVE)
    with pytest.raises(ValueError, match="at least one face"):
        convert([], f"{tmp_path}/faces.csv", markup=FIVE)
    odd = replace(given[0], attributes={"x0": 1.0})
    written = convert([odd, given[1]], f"{tmp_path}/faces.csv", markup=FIVE)
    assert written.problems == ("set/a.png#0: attribute 'x0' has the name of a column",)
    assert len(read_table(tmp_path / "faces.csv")) == 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_of_a_picture_is_that_of_the_upright_one(orientation, tmp_path):
    from PIL import Image

    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((20, 33, 3), np.uint8)).save(path, exif=exif)
    assert image_size(path) == ((33, 20) if orientation in (6, 8) else (20, 33))
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a picture"):
        image_size(path)


def test_the_command(tmp_path, capsys):
    given = faces(tmp_path)
    convert(given, f"{tmp_path}/faces.csv", markup=FIVE)
    (tmp_path / "pictures" / "b.jpg").unlink()
    source = f"table:{tmp_path / 'faces.csv'}"
    assert main(["convert", source, "--out", str(tmp_path / "faces.json")]) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"2 faces of face5: {tmp_path / 'faces.json'}",
        "COCO keypoints have no place for attributes",
    ]
    assert re.fullmatch(r"left out: set/b\.jpg#2: no picture .*b\.jpg\n", said.err)
    out = str(tmp_path / "all.json")
    assert main(["convert", source, "--out", out, "--labels-only"]) == 0
    assert len(load_samples(f"coco:{out}", None, pictures=False)) == 3
    assert main(["convert", source, "--out", f"table:{tmp_path / 'faces.csv'}"]) == 2
    assert main(["convert", source, "--out", str(tmp_path / "faces.csv")]) == 2
    assert "out must be another file" in capsys.readouterr().err
    assert main(["convert", source, "--out", out, "--markup", "face68"]) == 2
    assert "5 points, but the mark-up face68 has 68" in capsys.readouterr().err


@pytest.mark.data
@pytest.mark.parametrize(
    "source",
    [
        "wflw:wflw/list_98pt_test_occlusion.txt",
        "coco:coco-keypoints/test_coco.json",
        "dlib:dlib/testing_with_face_landmarks.xml",
        "aflw2000:aflw2000-3d",
    ],
)
def test_real_files_and_back(real_data, source, tmp_path):
    kind, _, place = source.partition(":")
    given = load_samples(f"{kind}:{real_data / 'formats' / place}", None)
    markup = Markup(
        name="any",
        landmarks=len(given[0].landmarks),
        flip=tuple(range(len(given[0].landmarks))),
    )
    for name, form in (("x.csv", "table"), ("x.parquet", "table"), ("x.json", "coco")):
        convert(given, str(tmp_path / name), markup=markup)
        again = load_samples(f"{form}:{tmp_path / name}", markup)
        for one, other in zip(given, again, strict=True):
            np.testing.assert_array_equal(other.landmarks, one.landmarks)
            np.testing.assert_array_equal(other.visible, one.visible)
            np.testing.assert_allclose(other.bbox, one.bbox, rtol=0, atol=1e-12)


@pytest.mark.data
def test_sources_of_two_mark_ups_with_as_many_landmarks_are_not_mixed(real_data, tmp_path, capsys):
    fgnet = next((real_data / "formats").rglob("*.pts")).parent
    listed = next((real_data / "formats").rglob("*landmarks*.xml"))
    sources = [f"dlib:{listed}", f"fgnet:{fgnet}"]
    out = tmp_path / "both.csv"
    for order in (sources, sources[::-1]):
        assert main(["convert", *order, "--out", str(out), "--labels-only"]) == 2
        assert "of one mark-up, got" in capsys.readouterr().err
        assert not out.exists()
