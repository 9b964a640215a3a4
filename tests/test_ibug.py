"""The reader of iBUG-style folders: what it reads, and what it says of files it cannot use."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdn.data import picture_names
from kdn.data.formats.ibug import read_ibug
from kdn.data.formats.pts import read_pts
from kdn.data.markup import FACE68, Markup
from kdn.data.sample import read_image

THREE = Markup(name="three", landmarks=3, flip=(1, 0, 2))
HEADER = "version: 1\nn_points: 3\n{\n1.5 2.5\n10 20\n7 1e1\n}\n"
POINTS = [[0.5, 1.5], [9.0, 19.0], [6.0, 9.0]]


def write_pair(folder: Path, name: str, text: str = HEADER, suffix: str = ".jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image = np.full((24, 31, 3), 90, dtype=np.uint8)
    cv2.imwrite(str(folder / "picture.png"), image)
    (folder / "picture.png").rename(folder / f"{name}{suffix}")
    (folder / f"{name}.pts").write_text(text)


@pytest.mark.parametrize(
    "text",
    [
        HEADER,
        "1.5 2.5\n10 20\n7 10\n",
        "\ufeffversion: 1\r\nn_points:  3\r\n\r\n{\r\n1.5\t2.5\r\n10 20 \r\n\r\n7 10\r\n}\r\n",
        "{\n1.5 2.5\n10 20\n7 10\n}",
    ],
)
def test_points_count_from_zero_with_and_without_header(tmp_path, text):
    path = tmp_path / "face.pts"
    path.write_bytes(text.encode())
    points = read_pts(path, landmarks=3)
    assert points.dtype == np.float64
    np.testing.assert_array_equal(points, POINTS)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("version: 1\nn_points: 3\n{\n1 2\n3 4\n}\n", 5, "2 points, but n_points says 3"),
        ("1 2\n3 4\n5 6\n7 8\n", 4, "4 points, but the mark-up has 3"),
        ("version: 1\nn_points: 3\n{\n1 2\n3 x\n5 6\n}\n", 5, "must be numbers, got 'x'"),
        ("1 2\n3\n5 6\n", 2, "two numbers, got '3'"),
        ("1 2\n3 4 5\n5 6\n", 2, "two numbers, got '3 4 5'"),
        ("1 2\n3 4_0\n5 6\n", 2, "must be numbers, got '4_0'"),
        ("1 2\n3,4\n5 6\n", 2, "two numbers, got '3,4'"),
        ("1 2\n\n3 nan\n5 6\n", 3, "finite, got nan"),
        ("1 2\n3 4\n-inf 6\n", 3, "finite, got -inf"),
        ("version: 1\nn_points: 3\n1 2\n3 4\n5 6\n}\n", 6, "not followed by a line '{'"),
        ("version: 1\nn_points: 3\n{\n1 2\n3 4\n5 6\n", 6, "no line '}'"),
        ("version: 1\nn_points: three\n{\n1 2\n3 4\n5 6\n}\n", 2, "whole number, got 'three'"),
        ("version: 1\nn_points: 4\n{\n1 2\n3 4\n5 6\n}\n", 6, "3 points, but n_points says 4"),
        ("version: 1\nn_points: 2\n{\n1 2\n3 4\n}\n", 5, "2 points, but the mark-up has 3"),
        ("", 1, "0 points"),
    ],
)
def test_errors_name_file_and_line(tmp_path, text, line, reason):
    path = tmp_path / "face.pts"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"face\.pts") as caught:
        read_pts(path, landmarks=3)
    assert f"{path}:{line}: " in str(caught.value)
    assert reason in str(caught.value)


def test_an_empty_file_is_an_error_without_a_known_number(tmp_path):
    path = tmp_path / "face.pts"
    path.write_text("{\n}\n")
    with pytest.raises(ValueError, match=r"face\.pts:1: no points"):
        read_pts(path)


def test_a_folder_gives_sorted_samples(tmp_path):
    folder = tmp_path / "helen" / "trainset"
    write_pair(folder, "12_2", suffix=".PNG")
    write_pair(folder, "12_1")
    write_pair(folder, "indoor_001", suffix=".jpeg")
    (folder / "notes.txt").write_text("neither picture nor label")
    samples = read_ibug(folder, THREE)
    assert [s.id for s in samples] == [
        "helen/trainset/12_1",
        "helen/trainset/12_2",
        "helen/trainset/indoor_001",
    ]
    assert [s.picture for s in samples] == [
        "helen/trainset/12",
        "helen/trainset/12",
        "helen/trainset/indoor_001",
    ]
    assert samples[1].image == folder / "12_2.PNG"
    assert samples[1].read().shape == (24, 31, 3)
    np.testing.assert_array_equal(samples[0].landmarks, POINTS)
    assert samples[0].bbox == (0.5, 1.5, 9.0, 19.0)
    assert samples[0].valid.all()
    assert samples[0].visible.all()
    assert samples[0].valid is not samples[0].visible
    assert samples[0].alternatives is None


@pytest.mark.parametrize("suffix", [".webp", ".TIF", ".bmp"])
def test_pictures_of_any_kind_that_can_be_read_count(tmp_path, suffix):
    write_pair(tmp_path, "a", suffix=suffix)
    (tmp_path / "b.svg").write_text("<svg/>")
    [sample] = read_ibug(tmp_path, THREE)
    assert sample.image == tmp_path / f"a{suffix}"
    assert sample.size() == sample.read().shape[:2] == (24, 31)


def test_bad_files_raise_or_are_collected(tmp_path):
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "b", "1 2\n3 oops\n5 6\n")
    write_pair(tmp_path, "c", "1 2\n3 2\n5 2\n")
    write_pair(tmp_path, "d")
    (tmp_path / "d.pts").unlink()
    (tmp_path / "e.pts").write_text(HEADER)
    (tmp_path / "a.png").write_bytes(b"")
    expected = [
        *("a.png: a.jpg is another", "d.jpg: no .pts", "e.pts: no picture"),
        *("b.pts:2:", "c.pts: the box must have an area"),
    ]
    with pytest.raises(ValueError, match="no picture beside it") as caught:
        read_ibug(tmp_path, THREE)
    problems: list[str] = []
    samples = read_ibug(tmp_path, THREE, problems=problems)
    assert [s.picture.split("/")[-1] for s in samples] == ["a"]
    assert "\n".join(problems) == str(caught.value)
    assert len(problems) == 5
    for part, problem in zip(expected, problems, strict=True):
        assert part in problem


def test_files_that_cannot_be_opened_are_left_out(tmp_path, monkeypatch):
    write_pair(tmp_path, "a")
    write_pair(tmp_path, "b")
    read = Path.read_text

    def locked(self: Path, *args, **kwargs) -> str:
        if self.name == "a.pts":
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", locked)
    problems: list[str] = []
    assert len(read_ibug(tmp_path, THREE, problems=problems)) == 1
    assert "Permission denied" in problems[0]
    assert "a.pts" in problems[0]


def test_the_error_of_many_bad_files_stays_short(tmp_path):
    write_pair(tmp_path, "good")
    for i in range(13):
        (tmp_path / f"{i:02d}.pts").write_text(HEADER)
    with pytest.raises(ValueError, match=r"00\.pts") as caught:
        read_ibug(tmp_path, THREE)
    assert str(caught.value).endswith("… and 3 more")
    assert len(str(caught.value).splitlines()) == 11


def test_folders_without_pairs_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing: no such folder"):
        read_ibug(tmp_path / "missing", THREE)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "lonely.jpg").write_bytes(b"")
    for problems in (None, []):
        with pytest.raises(ValueError, match="empty: no picture"):
            read_ibug(empty, THREE, problems=problems)


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "faces", "shared"),
    [("helen/trainset", 870, 74), ("afw", 337, 81), ("helen/testset", 330, 22)],
)
def test_the_real_sets_have_their_published_sizes(real_data, folder, faces, shared):
    samples = read_ibug(real_data / "300w" / folder)
    assert len(samples) == len({s.id for s in samples}) == faces
    assert sum(count > 1 for count in Counter(picture_names(samples)).values()) == shared


@pytest.mark.data
def test_real_labels_lie_in_their_pictures(real_data):
    samples = read_ibug(real_data / "300w" / "afw", FACE68)[::40]
    for sample in samples:
        height, width, _ = sample.read().shape
        x0, y0, x1, y1 = sample.bbox
        assert -2 < x0 < x1 < width + 1, sample.id
        assert -2 < y0 < y1 < height + 1, sample.id
        assert sample.landmarks[8, 1] > sample.landmarks[27, 1], sample.id


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_jpeg_that_ends_early_is_named(kept, tmp_path):
    """OpenCV would fill the rest with grey and warn on the terminal, without a name."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match=r"cut\.jpg: the file ends within the picture"):
        read_image(path)
    path.write_bytes(data + b"what some cameras add")
    assert read_image(path).shape == (60, 80, 3)


@pytest.mark.data
def test_every_real_picture_is_whole(real_data):
    paths = sorted((real_data / "300w").rglob("*.jpg"))
    assert len(paths) > 1500
    for path in paths[::25]:
        assert read_image(path).ndim == 3
