"""Readers of data sets, on hand-made files of each format."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.optimize import linear_sum_assignment

from kdn.data import load_samples, picture_names, source_forms, source_markup
from kdn.data.formats.coco import read_coco
from kdn.data.formats.dlib import read_dlib
from kdn.data.formats.fgnet import read_fgnet
from kdn.data.formats.table import read_table
from kdn.data.formats.wflw import read_wflw
from kdn.data.markup import FACE68, XM2VTS68, Markup
from labels_by_hand import picture, shape

FIVE = Markup(name="five", landmarks=5, flip=(1, 0, 2, 4, 3))


def text_of(points: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in points.ravel())


# --- WFLW


def wflw(folder: Path, lines: list[str]) -> Path:
    file = folder / "annotations" / "lists" / "list_98pt.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


def test_lists_of_wflw_long_and_short(tmp_path):
    one, two = shape(98, 1), shape(98, 2)
    picture(tmp_path / "WFLW_images" / "0--Parade" / "a.jpg")
    file = wflw(
        tmp_path,
        [
            f"{text_of(one)} 10 20 30 45 1 0 0 1 0 1 0--Parade/a.jpg",
            "",
            f"{text_of(two)} 0--Parade/a.jpg",
        ],
    )
    first, second = load_samples(f"wflw:{file}", None)
    np.testing.assert_array_equal(first.landmarks, one)
    assert first.bbox == (10, 20, 30, 45)
    assert first.attributes == {
        "pose": True,
        "expression": False,
        "illumination": False,
        "make-up": True,
        "occlusion": False,
        "blur": True,
    }
    np.testing.assert_array_equal(second.landmarks, two)
    assert second.bbox == (*two.min(axis=0), *two.max(axis=0))
    assert second.attributes == {}
    assert [first.id, second.id] == [f"list_98pt/0--Parade/a.jpg#{i}" for i in (0, 1)]
    assert set(picture_names([first, second])) == {"WFLW_images/0--Parade/a.jpg"}
    assert first.read().shape == (24, 31, 3)
    assert first.valid.all()
    assert first.visible.all()


def test_lines_of_wflw_that_cannot_be_used(tmp_path):
    good = text_of(shape(98))
    whole = f"{good} 10 20 30 45 0 0 0 0 0 0 a.jpg"
    lines = [
        f"{good.rsplit(' ', 1)[0]} a.jpg",
        good.replace(good.split()[3], "1_0", 1) + " a.jpg",
        whole.replace("0 a.jpg", "2 a.jpg"),
        whole.replace(" 30 45", " 10 45"),
        f"{good} missing.jpg",
        whole,
    ]
    picture(tmp_path / "a.jpg")
    file = wflw(tmp_path, lines)
    problems: list[str] = []
    [face] = load_samples(f"wflw:{file}@{tmp_path}", None, problems=problems)
    assert face.id == "list_98pt/a.jpg#4"
    said = [
        f"{file}:1: expected 196 or 206 numbers and a picture, got 195 numbers",
        f"{file}:2: coordinates must be numbers, got '1_0'",
        f"{file}:3: attributes must be 0 or 1, got '2'",
        f"{file}:4: the box must have an area",
        f"list_98pt/missing.jpg#0: no picture {tmp_path / 'missing.jpg'}",
    ]
    assert len(problems) == len(said)
    for line, part in zip(problems, said, strict=True):
        assert line.startswith(part)
    with pytest.raises(ValueError, match=r"list_98pt\.txt:1: expected 196"):
        read_wflw(file, pictures=tmp_path)
    with pytest.raises(ValueError, match="expected 136 or 146 numbers"):
        read_wflw(file, FACE68)
    file.write_text("\n")
    with pytest.raises(ValueError, match=r"list_98pt\.txt: holds no labels"):
        read_wflw(file)
    with pytest.raises(FileNotFoundError, match=r"none\.txt: no such file"):
        read_wflw(tmp_path / "none.txt")


# --- COCO


def coco(folder: Path, annotations: list, images: list | None = None) -> Path:
    picture(folder / "sub" / "a.png", shape=(40, 64))
    known = [{"id": 7, "file_name": "sub/a.png"}, {"id": 8, "file_name": "gone.png"}]
    file = folder / "people.json"
    content = {"images": images or known, "annotations": annotations}
    file.write_text(json.dumps(content))
    return file


def test_keypoints_of_coco(tmp_path):
    one = [3, 4, 2, 0, 0, 0, 10, 20, 1]
    two = [5.5, 6, 2, 7, 30, 2, 9, 1, 2]
    file = coco(
        tmp_path,
        [
            {"id": 31, "image_id": 7, "keypoints": one, "bbox": [2, 3, 10, 20.5], "iscrowd": 0},
            {"id": 32, "image_id": 7, "keypoints": two},
            {"id": 33, "image_id": 7, "keypoints": one, "iscrowd": 1},
            {"id": 34, "image_id": 7, "keypoints": [0] * 9, "bbox": [2, 3, 10, 20]},
            {"id": 35, "image_id": 7, "bbox": [2, 3, 10, 20]},
        ],
    )
    first, second = load_samples(f"coco:{file}", None)
    np.testing.assert_array_equal(first.landmarks, [[3, 4], [np.nan, np.nan], [10, 20]])
    assert first.valid.tolist() == [True, False, True]
    assert first.visible.tolist() == [True, False, False]
    assert first.bbox == (1.5, 2.5, 11.5, 23)  # covers the pixels 2 to 11 of x, edges included
    assert second.bbox == (5.5, 1, 9, 30)
    assert [first.id, second.id] == ["people/sub/a.png#31", "people/sub/a.png#32"]
    assert first.picture == second.picture == f"{tmp_path.name}/sub/a.png"
    assert first.read().shape == (40, 64, 3)
    elsewhere = tmp_path / "labels"
    elsewhere.mkdir()
    moved = file.rename(elsewhere / "people.json")
    assert len(load_samples(f"coco:{moved}@{tmp_path}", None)) == 2
    with pytest.raises(ValueError, match=r"people/sub/a\.png#31: no picture"):
        load_samples(f"coco:{moved}", None)
    assert len(load_samples(f"coco:{moved}", None, pictures=False)) == 2


def test_entries_of_coco_that_cannot_be_used(tmp_path):
    good = {"id": 5, "image_id": 7, "keypoints": [1, 2, 2, 5, 9, 2]}
    wrong = [
        ({"id": 1}, "keypoints", [1, 2, 2, 5], "keypoints must be a list of x, y, v, got 4"),
        ({"id": 2}, "keypoints", [1, 2, 3, 4, 5, 2], "v must be 0, 1 or 2, got 3"),
        ({"id": 3}, "image_id", 70, "image_id 70 is of no picture"),
        ({"id": 4}, "bbox", [1, 2, 3], "bbox must be [x, y, width, height], got [1, 2, 3]"),
        ({"id": 6}, "bbox", [1, 2, 0, 4], "the box must have an area"),
        ({"id": 7}, "keypoints", [1, None, 2, 4, 5, 2], "coordinates must be numbers, got None"),
        ({"id": 8}, "keypoints", [1, 2, 2], "the box must have an area"),
        ({"id": 9}, "keypoints", [1, 2, 2, 5, 9, 2, 6, 7, 2], "3 points, but the first has 2"),
        ({"id": 11}, "image_id", [7], "image_id None is of no picture"),
    ]
    entries = [good, *({**good, **number, key: value} for number, key, value, _ in wrong), "x"]
    file = coco(tmp_path, entries)
    problems: list[str] = []
    [face] = read_coco(file, None, problems=problems)
    assert face.id.endswith("#5")
    for (number, _, _, said), problem in zip(wrong, problems[:-1], strict=True):
        assert problem.startswith(f"{file}: annotation {number['id']}: {said}")
    assert problems[-1] == f"{file}: entry {len(wrong) + 1}: must be an object, got 'x'"
    with pytest.raises(ValueError, match="2 points, but the mark-up five has 5"):
        read_coco(coco(tmp_path, [good]), FIVE)
    for text, said in (("{", "not a JSON file"), ("[]", "'images' and 'annotations'")):
        file.write_text(text)
        with pytest.raises(ValueError, match=said):
            read_coco(file)


# --- dlib

XML = """<?xml version='1.0' encoding='ISO-8859-1'?>
<?xml-stylesheet type='text/xsl' href='image_metadata_stylesheet.xsl'?>
<dataset><name>faces</name><images>
  <image file='sub\\a.png'>
    <box top='10' left='20' width='30' height='16'>
      <part name='0' x='21' y='12'/><part name='2' x='40' y='25'/><part name='10' x='49' y='11'/>
    </box>
    <box top='1' left='2' width='3' height='4' ignore='1'/>
    <box top='1' left='2' width='9' height='8'>
      <part name='10' x='3' y='7'/><part name='0' x='4' y='2'/>
    </box>
  </image>
  <image file='gone.png'><box top='1' left='2' width='3' height='4'/></image>
</images></dataset>
"""


def test_boxes_and_parts_of_dlib(tmp_path):
    picture(tmp_path / "sub" / "a.png", shape=(40, 64))
    file = tmp_path / "faces.xml"
    file.write_text(XML)
    first, second = load_samples(f"dlib:{file}", None)
    np.testing.assert_array_equal(first.landmarks, [[21, 12], [40, 25], [49, 11]])
    np.testing.assert_array_equal(second.landmarks, [[4, 2], [np.nan, np.nan], [3, 7]])
    assert first.bbox == (19.5, 9.5, 49.5, 25.5)
    assert second.valid.tolist() == second.visible.tolist() == [True, False, True]
    assert [first.id, second.id] == ["faces/sub/a.png#0", "faces/sub/a.png#2"]
    assert first.read().shape == (40, 64, 3)


def test_boxes_of_dlib_that_cannot_be_used(tmp_path):
    file = tmp_path / "faces.xml"
    wrong = XML.replace("x='21'", "x='2l'").replace("name='10' x='3'", "name='0' x='3'")
    file.write_text(wrong.replace("name='0' x='4'", "name='0' x='4'"))
    problems: list[str] = []
    assert read_dlib(file, None, problems=problems) == []
    assert problems == [
        f"{file}: sub/a.png, box 0: coordinates must be numbers, got '2l'",
        f"{file}: sub/a.png, box 2: part '0' is there twice",
    ]
    file.write_text("<dataset><image>")
    with pytest.raises(ValueError, match="not an XML file"):
        read_dlib(file)
    file.write_text("<!DOCTYPE x [<!ENTITY a 'b'>]><dataset/>")
    with pytest.raises(ValueError, match="must not define entities"):
        read_dlib(file)
    file.write_text("<dataset/>")
    with pytest.raises(ValueError, match="holds no labels"):
        read_dlib(file)


# --- FG-NET


def test_faces_of_fgnet(tmp_path):
    def points(path: Path, seed: int) -> None:
        path.parent.mkdir(exist_ok=True)
        rows = "\n".join(f"{x} {y}" for x, y in shape(68, seed))
        path.write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")

    for name, seed in (("001A02", 1), ("078A11b", 2)):
        picture(tmp_path / "images" / f"{name}.JPG")
        points(tmp_path / "points" / f"{name.lower()}.pts", seed)
    first, second = load_samples(f"fgnet:{tmp_path}", XM2VTS68)
    np.testing.assert_array_equal(first.landmarks, shape(68, 1))
    assert first.attributes == {"age": 2.0, "person": "001"}
    assert second.attributes == {"age": 11.0, "person": "078"}
    assert source_markup(f"fgnet:{tmp_path}", [first]) is XM2VTS68
    with pytest.raises(ValueError, match="has the mark-up xm2vts68, not face68"):
        load_samples(f"fgnet:{tmp_path}")  # as many landmarks, but others
    own = Markup(name="mine", landmarks=68, flip=XM2VTS68.flip)
    assert len(load_samples(f"fgnet:{tmp_path}", own)) == 2
    picture(tmp_path / "images" / "001A03.JPG")
    picture(tmp_path / "images" / "face.JPG")
    problems: list[str] = []
    assert len(read_fgnet(tmp_path, problems=problems)) == 2
    assert problems[0].endswith("001A03.JPG: no .pts file of that name")
    assert problems[1].endswith("face.JPG: must be named PERSONaAGE, such as 001A02")
    picture(tmp_path / "flat" / "001A02.jpg")
    points(tmp_path / "flat" / "001a02.pts", 4)
    assert len(read_fgnet(tmp_path / "flat")) == 1


# --- tables

TABLE = """\
path,x0,y0,x1,y1,x2,y2,box_x0,box_y0,box_x1,box_y1,visible0,visible1,visible2,age,light,id
sub/a.png,1.25,2,30,4.5,,,0,1,40,9,1,0,,31.5,dim,
sub/a.png,5,6,7,8.75,9,1,,,,,true,no,1,,bright,mine
"""


def test_tables(tmp_path):
    picture(tmp_path / "sub" / "a.png", shape=(40, 64))
    file = tmp_path / "faces.csv"
    file.write_text(TABLE)
    first, second = load_samples(f"table:{file}", None)
    np.testing.assert_array_equal(first.landmarks, [[1.25, 2], [30, 4.5], [np.nan, np.nan]])
    assert first.visible.tolist() == [True, False, False]
    assert first.bbox == (0, 1, 40, 9)
    assert second.bbox == (5, 1, 9, 8.75)
    assert first.attributes == {"age": 31.5, "light": "dim"}
    assert second.attributes == {"light": "bright"}
    assert [first.id, second.id] == ["faces/sub/a.png#0", "mine"]
    assert first.picture == second.picture == f"{tmp_path.name}/sub/a.png"
    parquet = tmp_path / "faces.parquet"
    columns = {
        "image": ["sub/a.png"],
        **{f"{axis}{i}": [float(3 * i + j)] for i in range(3) for j, axis in enumerate("xy")},
        "y3": pa.array([None], pa.float64()),
        "x3": pa.array([float("nan")], pa.float64()),
        **{f"visible{i}": [i == 1] for i in range(4)},
        "smiles": [True],
    }
    columns["y1"] = [60.0]
    pq.write_table(pa.table(columns), parquet)
    [face] = load_samples(f"table:{parquet}", None)
    np.testing.assert_array_equal(face.landmarks[:3], [[0, 1], [3, 60], [6, 7]])
    assert face.valid.tolist() == [True, True, True, False]
    assert face.visible.tolist() == [False, True, False, False]
    assert face.attributes == {"smiles": True}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("path,", "name,", ":1: must have a column path, file or image"),
        (",x2,", ",x3,", ":1: must have x0, y0, x1, y1 …, of which 'x2' is odd"),
        (",age,", ",path,", ":1: column 'path' is there twice"),
        (",box_y1,", ",box_y2,", ":1: column 'box_y1' is missing"),
        (",visible1,", ",seen1,", ":1: column 'visible1' is missing"),
        ("mine\n", "mine,4\n", ":3: 18 cells, the header has 17"),
        ("5,6,7", "5,,7", ":3: landmark 0 has only one coordinate"),
        ("5,6,7", "5,six,7", ":3: coordinates must be numbers, got 'six'"),
        ("true,no", "true,maybe", ":3: visible must be 1 or 0, got 'maybe'"),
        ("9,1,,,,,", "9,1,,4,,,", ":3: the box lacks a side"),
        ("9,1,,,,,", "9,1,4,4,4,9,", ":3: the box must have an area, got [4.0, 4.0, 4.0, 9.0]"),
        ("\nsub/a.png,5", "\n,5", ":3: path is empty"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(old, new, said, tmp_path):
    assert old in TABLE
    file = tmp_path / "faces.csv"
    file.write_text(TABLE.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(f"{file}{said}")):
        read_table(file)
    problems: list[str] = []
    if ":3" in said:
        assert len(read_table(file, problems=problems)) == 1
        assert len(problems) == 1


def test_sources_that_are_none(tmp_path):
    for source in ("lfpw:somewhere", "wflw:", "synthetic:many", "COCO:x.json"):
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            load_samples(source)
        if source == "lfpw:somewhere":
            assert all(form in str(caught.value) for form in source_forms())
    with pytest.raises(FileNotFoundError, match=r"none\.txt: no such file"):
        load_samples(f"wflw:{tmp_path / 'none.txt'}", None)
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        load_samples(f"coco:{coco(tmp_path, [])}@{tmp_path / 'nowhere'}", None)


@pytest.mark.data
@pytest.mark.parametrize(
    ("source", "faces", "markup"),
    [
        ("300wlp:300w-lp", 2, "face68"),
        ("300wlp-3d:300w-lp", 2, "face68"),
        ("aflw2000:aflw2000-3d", 4, "face68"),
        ("cofw68:cofw68", 5, "face68"),
        ("fgnet:fgnet", 6, "xm2vts68"),
        ("wflw:wflw/list_98pt_test_occlusion.txt", 5, "face98"),
        ("dlib:dlib/testing_with_face_landmarks.xml", 25, "face68"),
        ("coco:coco-keypoints/test_coco.json", 12, "body17"),
        ("coco:coco-keypoints/test_wflw.json", 4, "face98"),
    ],
)
def test_real_files(real_data, source, faces, markup):
    kind, _, place = source.partition(":")
    whole = f"{kind}:{real_data / 'formats' / place}"
    samples = load_samples(whole, None, pictures=kind != "cofw68")  # which come without pictures
    assert len(samples) == len({sample.id for sample in samples}) == faces
    found = source_markup(whole, samples)
    assert found.name == markup
    for sample in samples:
        x0, y0, x1, y1 = sample.bbox
        if kind != "cofw68":
            height, width, _ = sample.read().shape
            assert -0.1 * width < x0 < x1 < 1.1 * width
            assert -0.1 * height < y0 < y1 < 1.1 * height
        if found.eye_corners is not None:  # the person's right eye is on the left, above the chin
            right, left = sample.landmarks[list(found.eye_corners)]
            assert right[0] < left[0]
            assert sample.landmarks[list(found.groups["mouth"])][:, 1].mean() > right[1]


@pytest.mark.data
@pytest.mark.parametrize("source", ["wflw:wflw/list_98pt_test_occlusion.txt", "fgnet:fgnet"])
def test_flips_are_the_best_match_of_real_faces_with_their_mirror_images(real_data, source):
    kind, _, place = source.partition(":")
    whole = f"{kind}:{real_data / 'formats' / place}"
    samples = load_samples(whole, None)
    flip = np.array(source_markup(whole, samples).flip)
    cost = np.zeros((len(flip), len(flip)))
    for sample in samples:
        points = (sample.landmarks - sample.landmarks.mean(axis=0)) @ [1, 1j]
        mirrored = -points.conj()
        factor = np.vdot(mirrored[flip], points) / np.vdot(mirrored, mirrored)
        apart = np.abs(points[:, None] - factor * mirrored) ** 2
        cost += apart / np.mean(np.abs(points) ** 2)
    rows, columns = linear_sum_assignment(cost)
    assert columns[np.argsort(rows)].tolist() == flip.tolist()
