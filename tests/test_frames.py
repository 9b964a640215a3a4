"""Frames of videos, cameras and folders, and what becomes of broken ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from kdn.predict.track import frames as module
from kdn.predict.track.frames import CODECS, VideoWriter, read_frames

HEIGHT, WIDTH = 48, 80


def picture(index: int, *, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return a picture that is red, with a blue bar whose place tells its number."""
    image = np.full((height, width, 3), (200, 30, 20), dtype=np.uint8)
    image[:, 4 * index : 4 * index + 8] = (10, 20, 220)
    return image


def where(image: np.ndarray) -> int:
    """Return the number that a picture tells."""
    blue = (image[..., 2].astype(int) - image[..., 0]).sum(axis=0)
    return round((np.flatnonzero(blue > 0).mean() - 3.5) / 4)


def write(path: Path, pictures: list[np.ndarray], fps: float = 25.0) -> None:
    with VideoWriter(path, fps=fps) as video:
        for image in pictures:
            video.write(image)


def written(path: Path, count: int = 17, fps: float = 12.5) -> Path:
    write(path, [picture(index) for index in range(count)], fps)
    return path


@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_what_is_written_is_read(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / "new" / f"clip{suffix}")
    found = list(read_frames(path))
    assert [where(image) for _, image in found] == list(range(17))
    np.testing.assert_allclose([time for time, _ in found], np.arange(17) / 12.5, atol=1e-3)
    for index, (_, image) in enumerate(found):
        assert image.shape == (HEIGHT, WIDTH, 3)
        # Red stays red; the codecs may blur edges of colour.
        assert np.abs(image.astype(int) - picture(index)).mean() < 6
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_odd_sizes_are_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"odd{suffix}"
    write(path, [picture(index, height=33, width=51) for index in range(5)])
    found = [image for _, image in read_frames(path)]
    assert {image.shape for image in found} == {(32, 50, 3)}
    assert [where(image) for image in found] == list(range(5))


def test_a_video_cut_short_keeps_what_was_read(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.avi").read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) * 3 // 5])
    problems: list[str] = []
    found = list(read_frames(cut, problems=problems))
    assert 3 < len(found) < 17
    assert [where(image) for _, image in found[:3]] == [0, 1, 2]
    assert problems == [f"{cut}: ends after {len(found)} of 17 frames"]
    frames = read_frames(cut)
    assert len([next(frames) for _ in found]) == len(found)
    with pytest.raises(ValueError, match=r"cut\.avi: ends after"):
        next(frames)


@pytest.mark.parametrize("name", ["clip.mp4", "clip_01.avi", "clip"])
def test_what_is_no_video(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for content in (b"", b"hello", written(tmp_path / "whole.mp4").read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}: not a video that can be decoded"):
            list(read_frames(path))


def test_what_is_not_there(tmp_path: Path) -> None:
    for source in (tmp_path / "none.mp4", str(tmp_path / "*.png")):
        with pytest.raises(FileNotFoundError, match="no such file or folder"):
            read_frames(source)
    with pytest.raises(ValueError, match="has no pictures"):
        read_frames(tmp_path)
    with pytest.raises(ValueError, match=r"fps must be positive and finite, got 0\.0"):
        read_frames(tmp_path, fps=0.0)


def test_pictures_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for index in (0, 2, 10, 7):
        cv2.imwrite(str(tmp_path / f"shot{index}.png"), picture(index)[..., ::-1])
    (tmp_path / "notes.txt").write_text("no picture")
    for source in (tmp_path, str(tmp_path / "shot*.png")):
        found = list(read_frames(source, fps=4))
        assert [where(image) for _, image in found] == [0, 2, 7, 10]
        assert [time for time, _ in found] == [0, 0.25, 0.5, 0.75]
        np.testing.assert_array_equal(found[1][1], picture(2))


def test_a_broken_picture_keeps_its_time(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.jpg"), picture(index)[..., ::-1])
    broken = tmp_path / "1.jpg"
    broken.write_bytes(broken.read_bytes()[:400])
    problems: list[str] = []
    found = list(read_frames(tmp_path, fps=2, problems=problems))
    assert [time for time, _ in found] == [0, 1]
    assert len(problems) == 1
    assert "1.jpg" in problems[0]
    with pytest.raises(ValueError, match=r"1\.jpg"):
        list(read_frames(tmp_path))


class FakeCapture:
    """A camera, or a video without good time stamps, of four frames."""

    opened, left, stamp, counted = True, 4, 0.0, 4.0

    def __init__(self, source: object) -> None:
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802  (OpenCV's name)
        return self.opened

    def read(self) -> tuple[bool, np.ndarray | None]:
        if self.left == 0:
            return False, None
        self.left -= 1
        return True, picture(3 - self.left)[..., ::-1]

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_FPS: 8.0, cv2.CAP_PROP_FRAME_COUNT: self.counted}.get(what, self.stamp)

    def release(self) -> None:
        self.released = True


def test_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(module.time, "monotonic", lambda: 1234.5)  # a clock that stands
    found = list(read_frames(0))
    times = [time for time, _ in found]
    assert times[0] == 0
    assert (np.diff(times) > 0).all()
    assert times[-1] < 1e-9
    assert [where(image) for _, image in found] == [0, 1, 2, 3]
    monkeypatch.setattr(FakeCapture, "left", 0)
    with pytest.raises(OSError, match="camera 2: gives no picture"):
        list(read_frames(2))
    monkeypatch.setattr(FakeCapture, "opened", False)
    with pytest.raises(OSError, match="camera 3: cannot be opened"):
        list(read_frames(3))


def test_no_such_camera() -> None:
    with pytest.raises(OSError, match="camera 97: cannot be opened"):
        next(read_frames(97))


@pytest.mark.parametrize("stamp", [0.0, float("nan"), -1.0])
def test_times_without_good_stamps(
    stamp: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.avi"
    path.write_bytes(b"any")
    monkeypatch.setattr(module.cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(FakeCapture, "stamp", stamp)
    times = np.array([time for time, _ in read_frames(path)])
    np.testing.assert_allclose(times - times[0], [0, 0.125, 0.25, 0.375])


@pytest.mark.parametrize(
    ("counted", "left"), [(4.4, 4), (5.0, 4), (float("nan"), 4), (-1e9, 4), (0.0, 4), (6.0, 5)]
)
def test_counts_that_are_nearly_right_are_no_problem(
    counted: float, left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.avi"
    path.write_bytes(b"any")
    monkeypatch.setattr(module.cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(FakeCapture, "counted", counted)
    monkeypatch.setattr(FakeCapture, "left", left)
    problems: list[str] = []
    assert len(list(read_frames(path, problems=problems))) == left
    assert problems == []


def test_a_video_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"clip\.mov: a video to write must end in \.mp4 or \.avi"):
        VideoWriter(tmp_path / "clip.mov", fps=25)
    with pytest.raises(ValueError, match=r"fps must be positive and finite, got -1"):
        VideoWriter(tmp_path / "clip.avi", fps=-1.0)
    path = tmp_path / "clip.avi"
    turned = picture(0).transpose(1, 0, 2).copy()
    with pytest.raises(ValueError, match=r"must be \(48, 80, 3\), got \(80, 48, 3\)"):
        write(path, [picture(0), turned])
    assert list(tmp_path.iterdir()) == []  # neither the file nor a part of it
    monkeypatch.setitem(CODECS, ".avi", "NONE")
    with pytest.raises(OSError, match=r"no codec NONE here.*try \.mp4"):
        write(path, [picture(0)])
    write(path, [])
    assert list(tmp_path.iterdir()) == []
