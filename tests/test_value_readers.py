"""Readers of data sets with values and no landmarks, on hand-made files of each format."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

import kdn.data.images
from kdn.cli import main
from kdn.data import Sample, load_samples, picture_names, source_markup
from kdn.data.check import as_json, as_text, check_data, contact_sheet
from kdn.data.convert import convert
from kdn.data.formats.entries import labelled, read_entries
from kdn.data.formats.table import read_table
from kdn.data.formats.utkface import read_utkface
from kdn.data.markup import FACE68, markup_of_count
from labels_by_hand import picture

NOTHING = markup_of_count(0)


@pytest.fixture
def undecoded(monkeypatch):
    """Let no picture be decoded."""

    def refuse(*arguments):
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(kdn.data.images, "read_image", refuse)
    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)


# --- UTKFace


def utkface(folder: Path) -> Path:
    """Write three faces, one of them turned by its EXIF tag, and what is none."""
    picture(folder / "31_1_2_20170112213500903.jpg.chip.jpg")
    picture(folder / "4_0_0_20170110.PNG", shape=(40, 64))
    turned = Image.new("RGB", (31, 24))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "116_0_4_2017011 .jpg", exif=exif)
    (folder / "readme.txt").write_text("1_1_1_1")
    return folder


def test_faces_of_utkface(tmp_path, undecoded):
    old, woman, boy = load_samples(f"utkface:{utkface(tmp_path / 'faces')}", None)
    assert woman.attributes == {"age": 31.0, "gender": "female", "race": "asian"}
    assert boy.attributes == {"age": 4.0, "gender": "male", "race": "white"}
    assert old.attributes == {"age": 116.0, "gender": "male", "race": "other"}
    assert type(woman.attributes["age"]) is float
    assert woman.bbox == (-0.5, -0.5, 30.5, 23.5)
    assert boy.bbox == (-0.5, -0.5, 63.5, 39.5)
    assert old.bbox == (-0.5, -0.5, 23.5, 30.5)  # 31 × 24 as it lies, upright 24 × 31
    for sample in (woman, boy, old):
        assert sample.landmarks.shape == (0, 2)
        assert sample.valid.shape == sample.visible.shape == (0,)
    assert woman.id == woman.picture == "faces/31_1_2_20170112213500903.jpg.chip.jpg"
    assert len(set(picture_names([woman, boy, old]))) == 3


@pytest.mark.parametrize(
    ("race", "name"), list(enumerate(["white", "black", "asian", "indian", "other"]))
)
def test_races_of_utkface(race, name, tmp_path):
    picture(tmp_path / f"7_1_{race}_2017.jpg")
    [face] = read_utkface(tmp_path)
    assert face.attributes["race"] == name


def test_faces_of_utkface_lie_upright(tmp_path):
    for sample in load_samples(f"utkface:{utkface(tmp_path)}", None):
        height, width, _ = sample.read().shape
        assert sample.bbox == (-0.5, -0.5, width - 0.5, height - 0.5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("61_1_20170109.jpg.chip.jpg", "must be named AGE_GENDER_RACE_DATE, has 3 parts, not 4"),
        ("young_1_2_2017.jpg", "age must be a whole number of years, got 'young'"),
        ("-3_1_2_2017.jpg", "age must be a whole number of years, got '-3'"),
        ("²_1_2_2017.jpg", "age must be a whole number of years, got '²'"),
        ("53__0_2017.jpg", "gender must be 0 or 1, got ''"),
        ("53_2_0_2017.jpg", "gender must be 0 or 1, got '2'"),
        ("53_1_5_2017.jpg", "race must be 0 to 4, got '5'"),
    ],
)
def test_names_of_utkface_that_say_too_little(name, said, tmp_path):
    picture(utkface(tmp_path) / name)
    problems: list[str] = []
    assert len(read_utkface(tmp_path, problems=problems)) == 3
    assert problems == [f"{tmp_path / name}: {said}"]
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / name}: {said}")):
        read_utkface(tmp_path)


def test_pictures_of_utkface_that_are_none(tmp_path):
    broken = utkface(tmp_path) / "5_0_1_2017.jpg"
    broken.write_bytes(b"none")
    problems: list[str] = []
    assert len(load_samples(f"utkface:{tmp_path}", None, problems=problems)) == 3
    assert problems == [f"{broken}: not a picture that can be decoded"]
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        load_samples(f"utkface:{tmp_path / 'nowhere'}", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: holds no labels"):
        load_samples(f"utkface:{tmp_path / 'empty'}", None)


def test_there_are_no_landmarks_to_ask_for(tmp_path):
    source = f"utkface:{utkface(tmp_path)}"
    with pytest.raises(ValueError, match=f"{source}: has no landmarks, but the mark-up face68 has"):
        load_samples(source)
    samples = load_samples(source, NOTHING)
    assert len(samples) == 3
    assert source_markup(source, samples) == NOTHING


# --- tables


TABLE = "path,age,box_x0,box_y0,box_x1,box_y1,ward\na.png,31.5,,,,,west\na.png,4,1,2,9,17,\n"


def test_a_table_without_landmarks(tmp_path, undecoded):
    picture(tmp_path / "a.png", shape=(40, 64))
    file = tmp_path / "scans.csv"
    file.write_text(TABLE)
    whole, part = load_samples(f"table:{file}", None)
    assert whole.attributes == {"age": 31.5, "ward": "west"}
    assert part.attributes == {"age": 4.0}
    assert (whole.bbox, part.bbox) == ((-0.5, -0.5, 63.5, 39.5), (1, 2, 9, 17))
    for sample in (whole, part):
        assert sample.landmarks.shape == (0, 2)
        assert sample.valid.shape == sample.visible.shape == (0,)
    assert [whole.id, part.id] == [f"scans/a.png#{i}" for i in (0, 1)]
    assert whole.picture == part.picture
    file.write_text("path,age\na.png,31.5\n")
    [alone] = load_samples(f"table:{file}", NOTHING)
    assert alone.bbox == whole.bbox
    with pytest.raises(
        ValueError, match=r"scans\.csv:1: has no landmarks .*but the mark-up face68"
    ):
        load_samples(f"table:{file}", FACE68)


def test_rows_without_landmarks_that_cannot_be_used(tmp_path):
    picture(tmp_path / "a.png")
    file = tmp_path / "scans.csv"
    file.write_text("path,age\na.png,5\ngone.png,6\na.png,7,8\n")
    problems: list[str] = []
    [first] = load_samples(f"table:{file}", None, problems=problems)
    assert first.attributes == {"age": 5.0}
    assert problems == [
        f"{file}:3: {tmp_path / 'gone.png'}: no such file",
        f"{file}:4: 3 cells, the header has 2",
    ]
    file.write_text("path,visible0\na.png,1\n")
    with pytest.raises(ValueError, match=r"scans\.csv:1: has visible0, but not x0 and y0"):
        read_table(file)


def test_tables_that_lack_one_axis_are_no_tables_without_landmarks(tmp_path):
    file = tmp_path / "faces.csv"
    file.write_text("path,y0\na.png,5\n")
    with pytest.raises(ValueError, match="of which 'y0' is odd"):
        read_table(file)


# --- what stands below the readers


def test_a_sample_without_landmarks_needs_a_box():
    made = labelled("a", Path("a.png"), np.zeros((0, 2)), bbox=(0.0, 0.0, 3.0, 2.0))
    assert made.bbox == (0, 0, 3, 2)
    with pytest.raises(ValueError, match="no landmark has a position"):
        labelled("a", Path("a.png"), np.zeros((0, 2)))
    with pytest.raises(ValueError, match="no landmark has a position"):
        labelled(
            "a", Path("a.png"), np.full((3, 2), np.nan), valid=np.zeros(3, bool), bbox=made.bbox
        )
    with pytest.raises(ValueError, match="the box must have an area"):
        labelled("a", Path("a.png"), np.zeros((0, 2)), bbox=(0.0, 0.0, 3.0, 0.0))


def test_samples_with_and_without_landmarks_do_not_mix():
    def read(count: int) -> Sample:
        points = np.arange(2.0 * count).reshape(count, 2)
        return labelled("a", Path("a.png"), points, bbox=(0.0, 0.0, 3.0, 2.0))

    entries = [(f"line {i}", count) for i, count in enumerate((0, 2, 0))]
    problems: list[str] = []
    found = read_entries(Path("f"), iter(entries), read, markup=None, problems=problems)
    assert len(found) == 2
    assert problems == ["line 1: 2 points, but the first has 0"]


# --- checks and conversion


def test_a_check_of_values(tmp_path, capsys):
    train, test = utkface(tmp_path / "train"), utkface(tmp_path / "test")
    cv2.imwrite(str(train / "4_0_0_20170110.PNG"), np.full((40, 64, 3), 3, np.uint8))
    picture(train / "9_1_2017.jpg")
    report = check_data([f"utkface:{train}", f"utkface:{test}"])
    first, second = report.sources
    assert (first.faces, first.pictures, first.landmarks) == (3, 3, (0, 0, 0))
    assert sorted(first.numbers["age"].tolist()) == [4, 31, 116]
    assert list(first.numbers) == ["age"]
    np.testing.assert_array_equal(np.isnan(first.faces_of["missed"]), [True] * 3)
    assert len(first.problems) == 1
    assert second.problems == ()
    assert sorted(Path(group.pictures[0][1]).name for group in report.duplicates) == [
        "116_0_4_2017011 .jpg",
        "31_1_2_20170112213500903.jpg.chip.jpg",
    ]
    assert all(group.between for group in report.duplicates)
    text = as_text(report)
    assert f"utkface:{train}: 3 samples without landmarks in 3 pictures" in text
    assert "  age: 3 values from 4 to 116, median 31\n" in text
    for word in ("roll", "have a position", "nan", "miss"):
        assert word not in text
    assert as_json(report)["sources"][0]["attributes"] == {
        "age": {"values": 3, "min": 4.0, "median": 31.0, "max": 116.0}
    }
    sheet = tmp_path / "sheet.png"
    assert main(["check-data", f"utkface:{test}", "--quiet", "--sheet", str(sheet)]) == 0
    assert "age: 3 values" in capsys.readouterr().out
    assert sheet.is_file()
    assert main(["check-data", f"utkface:{train}", "--quiet"]) == 1
    assert "9_1_2017.jpg: must be named" in capsys.readouterr().err


def test_values_of_faces_with_landmarks_and_flags(tmp_path):
    picture(tmp_path / "a.png")
    file = tmp_path / "t.csv"
    rows = ["a.png,1,2,9,8,3,true,dim", "a.png,2,2,9,8,,false,4", "a.png,2,3,9,8,5,,"]
    file.write_text("\n".join(["path,x0,y0,x1,y1,pain,smiles,light", *rows]) + "\n")
    [found] = check_data([f"table:{file}"]).sources
    assert {name: values.tolist() for name, values in found.numbers.items()} == {
        "pain": [3, 5],
        "light": [4],
    }


def test_values_as_a_table_and_back(tmp_path):
    samples = load_samples(f"utkface:{utkface(tmp_path / 'faces')}", None)
    file = tmp_path / "table" / "faces.csv"
    file.parent.mkdir()
    convert(samples, str(file), markup=NOTHING)
    back = load_samples(f"table:{file}", None)
    for one, other in zip(samples, back, strict=True):
        assert (one.id, one.bbox, one.attributes) == (other.id, other.bbox, other.attributes)
        assert isinstance(one.image, Path)
        assert isinstance(other.image, Path)
        assert one.image.samefile(other.image)
    assert contact_sheet(samples, NOTHING, columns=2, side=64).shape == (128, 128, 3)


@pytest.mark.data
def test_real_faces_of_utkface(real_data, undecoded):
    folder = real_data / "utkface" / "test"
    if not folder.is_dir():
        pytest.skip("there is no utkface/test")
    problems: list[str] = []
    samples = load_samples(f"utkface:{folder}", None, problems=problems)
    assert len(samples) == 1500
    assert problems == []
    assert {sample.bbox for sample in samples} == {(-0.5, -0.5, 127.5, 127.5)}
    ages = np.array([sample.attributes["age"] for sample in samples])
    assert ((ages >= 1) & (ages <= 116)).all()
    assert 20 < np.median(ages) < 40
    female = np.mean([sample.attributes["gender"] == "female" for sample in samples])
    assert 0.4 < female < 0.6
    assert {sample.attributes["race"] for sample in samples} == {
        *("white", "black", "asian", "indian", "other")
    }
