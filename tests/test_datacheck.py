"""What a check of data finds, and what its sheet shows."""

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdn.cli import main
from kdn.data import Framing, Sample, SyntheticFaces, load_samples
from kdn.data.check import as_json, as_text, check_data, contact_sheet, pose_of, roll_and_yaw
from kdn.data.convert import convert
from kdn.data.images import read_image
from kdn.data.markup import FACE5, FACE68, Markup, markup_of_count

EYES = np.array([[20.0, 30], [40, 30], [30, 42], [23, 55], [37, 55]])


def face(
    folder: Path, name: str, points: np.ndarray, *, seed: int = 0, bbox: tuple | None = None
) -> Sample:
    path = folder / name
    if not path.exists():
        pixels = np.random.default_rng(seed).integers(0, 255, (70, 90, 3), dtype=np.uint8)
        cv2.imwrite(str(path), pixels)
    valid = np.asarray(np.isfinite(points).all(axis=1))
    return Sample(
        id=f"set/{name}",
        image=path,
        landmarks=points,
        bbox=bbox or (15, 25, 45, 60),
        valid=valid,
        visible=valid,
        picture=name,
    )


@pytest.mark.parametrize("angle", [-150, -30, 0, 20, 90])
def test_roll_is_the_angle_and_yaw_does_not_depend_on_it(angle):
    turn = math.radians(angle)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    right, left, nose = (3.0 * matrix @ point + (100, 7) for point in np.add(EYES[:3], (4, 0)))
    moved = nose + 3.0 * matrix @ (5.0, 9.0)
    assert roll_and_yaw(right, left, nose) == pytest.approx((angle, 0.0))
    assert roll_and_yaw(right, left, moved) == pytest.approx((angle, 0.25))
    assert all(map(math.isnan, roll_and_yaw(right, right, nose)))


def test_pose_needs_eyes_and_a_nose(tmp_path):
    sample = face(tmp_path, "a.png", EYES)
    assert pose_of(sample, FACE5) == (0.0, 0.0)
    assert all(map(math.isnan, pose_of(sample, markup_of_count(6))))
    blind = EYES.copy()
    blind[1] = np.nan
    assert all(map(math.isnan, pose_of(face(tmp_path, "a.png", blind), FACE5)))
    noseless = Markup(name="x", landmarks=5, flip=(1, 0, 2, 3, 4), eyes=((0,), (1,)))
    roll, yaw = pose_of(sample, noseless)
    assert roll == 0.0
    assert math.isnan(yaw)


def sources(folder: Path) -> tuple[str, str]:
    """Write two tables: one picture twice under two names, one in both, things outside, missing."""
    outside = EYES.copy()
    outside[2] = (30, -4.5)
    outside[4] = (97.5, 55)
    missing = EYES.copy()
    missing[3] = np.nan
    one = [
        face(folder, "a.png", EYES, seed=1),
        replace(face(folder, "a.png", outside, seed=1), id="set/far"),
        face(folder, "b.bmp", missing, seed=1),
        face(folder, "c.png", EYES, seed=2, bbox=(0, 0, 30, 36)),
        face(folder, "gone.png", EYES, seed=3),
        face(folder, "torn.png", EYES, seed=4),
    ]
    two = [face(folder, "d.png", EYES, seed=2, bbox=(0, 0, 30, 36))]
    (folder / "gone.png").unlink()
    (folder / "torn.png").write_bytes(b"torn")
    for name, given in (("one", one), ("two", two)):
        convert(given, str(folder / f"{name}.csv"), markup=FACE5)
    return f"table:{folder / 'one.csv'}", f"table:{folder / 'two.csv'}"


def test_a_check_finds_what_is_wrong(tmp_path):
    first, second = sources(tmp_path)
    report = check_data([first, second])
    one, two = report.sources
    assert (one.faces, one.pictures, two.faces, two.pictures) == (6, 5, 1, 1)
    assert one.markup is FACE5
    assert one.landmarks == (30, 29, 29)
    # The picture is 90 × 70 and ends at 89.5: the tip is 4 px above, the corner 8 px to the right.
    np.testing.assert_array_equal(one.faces_of["outside"][:4], [0, 2, 0, 0])
    np.testing.assert_allclose(one.faces_of["farthest"][:4], [0, 8, 0, 0])
    assert np.isnan(one.faces_of["outside"][4:]).all()
    assert one.worst == "set/far"
    np.testing.assert_allclose(one.faces_of["width"], [30] * 6)
    np.testing.assert_allclose(one.faces_of["height"], [35, 35, 35, 36, 35, 35])
    np.testing.assert_allclose(one.faces_of["share"][3], math.sqrt(30 * 36 / (90 * 70)))
    np.testing.assert_allclose(one.faces_of["missed"], [0, 0.4, 0, 0.8, 0, 0])
    assert len(one.problems) == 2
    assert [("gone.png" in p, "torn.png" in p) for p in one.problems] == [
        (True, False),
        (False, True),
    ]
    within, between = report.duplicates
    assert [Path(name).name for _, name in within.pictures] == ["a.png", "b.bmp"]
    assert not within.between
    assert set(within.same_faces) == {
        ("set/far", "set/a.png"),
        ("set/b.bmp", "set/a.png"),
        ("set/b.bmp", "set/far"),
    }
    assert between.between
    assert between.same_faces == (("set/d.png", "set/c.png"),)
    text = as_text(report)
    for said in (
        "6 faces of face5 in 5 pictures",
        "landmarks: 96.7 % have a position, 100.0 % of these can be seen",
        "outside their picture: 2 landmarks of 1 faces, the farthest by 8.0 px (set/far)",
        "boxes that miss over a fifth of their landmarks: 2",
        "cannot be used: 2",
        "pictures in several sources: 1, with 1 pairs of labels of one face",
        "pictures under several names: 1, with 3 pairs of labels of one face",
    ):
        assert said in text
    found = json.loads(json.dumps(as_json(report), allow_nan=False))
    assert found["sources"][0]["outside"] == {"landmarks": 2, "faces": 1, "worst": "set/far"}
    assert len(found["duplicates"]) == 2


def test_a_face_that_is_labelled_twice_in_one_picture_is_found(tmp_path):
    given = [
        face(tmp_path, "a.png", EYES, seed=1),
        replace(face(tmp_path, "a.png", EYES, seed=1, bbox=(16, 25, 46, 61)), id="again"),
        replace(face(tmp_path, "a.png", EYES, seed=1, bbox=(25, 25, 55, 60)), id="beside"),
        replace(face(tmp_path, "a.png", EYES, seed=1, bbox=(60, 25, 80, 60)), id="apart"),
    ]
    convert(given, str(tmp_path / "faces.csv"), markup=FACE5)
    report = check_data([f"table:{tmp_path / 'faces.csv'}"])
    [group] = report.duplicates
    assert group.same_faces == (("again", "set/a.png"),)
    assert not group.between
    assert "pictures there once: 1, with 1 pairs of labels of one face" in as_text(report)


def test_drawn_faces_have_nothing_wrong():
    report = check_data(["synthetic:4:0"])
    [source] = report.sources
    assert source.faces == source.pictures == 4
    assert report.duplicates == ()
    assert source.problems == ()
    assert "no picture is there twice, no face is labelled twice" in as_text(report)


def test_the_sheet_shows_landmarks_where_they_are(tmp_path):
    """Each landmark's own colour is at its place in the tile, and a missing one's is not."""
    points = np.add(EYES, (0.0, 2.0))
    points[4] = np.nan
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.full((70, 90, 3), 90, np.uint8))
    sample = replace(face(tmp_path, "grey.png", points), visible=np.array([1, 0, 1, 1, 0], bool))
    sheet = contact_sheet([sample] * 3, FACE5, columns=2, side=160)
    assert sheet.shape == (320, 320, 3)
    to_image = Framing("face", height=160, width=160).crop_to_image(sample.bbox)
    scale, offset = to_image.linear[0, 0].item(), to_image.offset.numpy()
    for index, point in enumerate(points):
        if index == 4:
            continue
        x, y = np.round((point - offset) / scale).astype(int)
        red, green, _ = sheet[y, x].astype(int)
        assert (red > green) == (not sample.visible[index])
        np.testing.assert_array_equal(sheet[y, x], sheet[160 + y, x])
    assert (sheet[160:, 160:] == 32).all()
    problems: list[str] = []
    gone = replace(sample, image=tmp_path / "gone.png")
    assert contact_sheet([gone, sample], FACE5, side=64, problems=problems).shape == (64, 64, 3)
    assert len(problems) == 1
    with pytest.raises(ValueError, match="at least one face"):
        contact_sheet([gone], FACE5, problems=problems)


def test_the_sheet_takes_some_of_many():
    many = SyntheticFaces(7, seed=1)
    sheet = contact_sheet(many, FACE68, count=3, columns=8, side=48, seed=2)
    assert sheet.shape == (48, 144, 3)
    np.testing.assert_array_equal(sheet, contact_sheet(many, FACE68, count=3, side=48, seed=2))
    assert (sheet != contact_sheet(many, FACE68, count=3, side=48, seed=4)).any()


def test_the_command(tmp_path, capsys):
    first, second = sources(tmp_path)
    sheet, found = tmp_path / "sheet.jpg", tmp_path / "found.json"
    arguments = [first, second, "--sheet", str(sheet), "--json", str(found), "--quiet"]
    assert main(["check-data", *arguments]) == 1
    said = capsys.readouterr()
    assert "6 faces of face5 in 5 pictures" in said.out
    assert len(said.err.splitlines()) == 2
    assert read_image(sheet).shape == (192 + 8 + 192 + 8, 4 * 192, 3)
    assert len(json.loads(found.read_text())["sources"]) == 2
    assert main(["check-data", second, "--quiet"]) == 0
    assert main(["check-data", second, "--sheet", "sheet.txt"]) == 2
    assert "sheet must end in .jpg or .png" in capsys.readouterr().err
    assert main(["check-data", second, "--markup", "face68", "--quiet"]) == 1
    assert "5 points, but the mark-up face68 has 68" in capsys.readouterr().err


@pytest.mark.data
def test_a_check_of_real_faces(real_data):
    source = f"fgnet:{real_data / 'formats' / 'fgnet'}"
    [found] = check_data([source]).sources
    assert found.faces == found.pictures == 6
    assert (np.abs(found.faces_of["roll"]) < 10).all()
    assert (np.abs(found.faces_of["yaw"]) < 0.2).all()
    assert (found.faces_of["outside"] == 0).all()
    assert len(load_samples(source, None)) == 6
