"""Pictures of every kind: each file and each array has its defined answer."""

import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from kdn.data import read_image
from kdn.data.images import BACKGROUND, as_rgb, image_size, write_image

ROWS, COLUMNS = 40, 60


@pytest.fixture
def rgb() -> np.ndarray:
    """Return a smooth picture, 40 × 60, whose colours and directions all differ."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    red, green, blue = 6 * y, 4 * x, 255 - 2 * y - 2 * x
    return np.stack([red, green, blue], axis=2).astype(np.uint8)


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def with_alpha(rgb: np.ndarray) -> np.ndarray:
    alpha = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS, 1) % 256
    return np.concatenate([rgb, alpha.astype(np.uint8)], axis=2)


def laid_down(rgba: np.ndarray) -> np.ndarray:
    """Return RGBA on the background in exact fractions, one value at a time."""
    flat = [
        [int(Fraction(c * a + BACKGROUND * (255 - a), 255) + Fraction(1, 2)) for c in (r, g, b)]
        for r, g, b, a in rgba.reshape(-1, 4).tolist()
    ]
    return np.array(flat, dtype=np.uint8).reshape(*rgba.shape[:2], 3)


# ---- files


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp"])
def test_a_lossless_file_gives_its_pixels(tmp_path, rgb, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path / name, Image.fromarray(rgb), **options)
    for given in (path, str(path)):
        read = as_rgb(given)
        assert read.dtype == np.uint8
        assert read.flags.c_contiguous
        np.testing.assert_array_equal(read, rgb)


@pytest.mark.parametrize("quality", [60, 97])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_ordinary_jpeg_is_read_as_opencv_decodes_it(tmp_path, rgb, quality, mode):
    """Bit for bit: trained networks have seen exactly these pixels."""
    path = saved(tmp_path / "a.jpg", Image.fromarray(rgb).convert(mode), quality=quality)
    expected = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    assert expected is not None
    np.testing.assert_array_equal(read_image(path), expected[..., ::-1])


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Return a stored picture upright by the words of EXIF: where row 0 and column 0 lie."""
    transposed = stored.transpose(1, 0, 2) if orientation >= 5 else stored
    rows = {3: -1, 4: -1, 7: -1, 8: -1}.get(orientation, 1)
    columns = {2: -1, 3: -1, 6: -1, 7: -1}.get(orientation, 1)
    return transposed[::rows, ::columns]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.jpg"])
def test_a_file_is_turned_upright(tmp_path, rgb, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name.endswith("webp") else {}
    options |= {"quality": 100, "subsampling": 0} if name.endswith("jpg") else {}
    path = saved(tmp_path / name, Image.fromarray(rgb), exif=exif, **options)
    expected = upright(rgb, orientation).astype(int)
    assert expected.shape == ((COLUMNS, ROWS, 3) if orientation >= 5 else (ROWS, COLUMNS, 3))
    assert image_size(path) == expected.shape[:2]
    with Image.open(path) as opened:
        for read in (as_rgb(path), as_rgb(opened)):
            assert read.shape == expected.shape
            assert np.abs(read - expected).max() <= (3 if name.endswith("jpg") else 0)


def with_chunk(png: bytes, kind: bytes, content: bytes, *, before: bytes) -> bytes:
    """Return a PNG file with one more chunk, before the first of another kind."""
    body = kind + content
    chunk = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    at = png.index(before) - 4
    return png[:at] + chunk + png[at:]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tag_counts_wherever_it_stands(tmp_path, rgb, dtype, before, orientation):
    """Programs write it before or behind the pixels; 16 bits of colour take another road."""
    deep = rgb.astype(dtype) * dtype(257 if dtype == np.uint16 else 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    png = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    path = tmp_path / "a.png"
    path.write_bytes(with_chunk(png, b"eXIf", exif.tobytes()[6:], before=before))
    expected = upright(rgb, orientation)
    np.testing.assert_array_equal(as_rgb(path), expected)
    assert image_size(path) == expected.shape[:2]


def test_a_transparent_file_is_turned_upright_with_its_alpha(tmp_path, rgb):
    exif = Image.Exif()
    exif[0x0112] = 6
    rgba = with_alpha(rgb)
    path = saved(tmp_path / "a.png", Image.fromarray(rgba), exif=exif)
    np.testing.assert_array_equal(as_rgb(path), upright(laid_down(rgba), 6))


def test_a_broken_tag_does_not_spoil_the_picture(tmp_path, rgb):
    path = saved(tmp_path / "a.png", Image.fromarray(rgb), exif=b"Exif\0\0nonsense")
    np.testing.assert_array_equal(as_rgb(path), rgb)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_alpha_is_laid_on_the_background(tmp_path, rgb, name):
    rgba = with_alpha(rgb)
    # `exact` keeps the colours below full transparency, as the others do.
    options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    path = saved(tmp_path / name, Image.fromarray(rgba), **options)
    expected = laid_down(rgba)
    assert len(np.unique(expected)) > 100
    # libtiff multiplies by alpha and rounds before we see the picture.
    assert np.abs(as_rgb(path) - expected.astype(int)).max() <= (1 if name.endswith("tif") else 0)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_rgb(opened), expected)


def test_grey_becomes_three_equal_colours(tmp_path, rgb):
    grey = rgb[..., 0]
    path = saved(tmp_path / "a.png", Image.fromarray(grey))
    np.testing.assert_array_equal(as_rgb(path), np.repeat(grey[..., None], 3, axis=2))
    path = saved(tmp_path / "b.png", Image.fromarray(np.dstack([grey, grey])))  # grey and alpha
    expected = laid_down(np.dstack([grey] * 4))
    np.testing.assert_array_equal(as_rgb(path), expected)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_rgb(opened), expected)


def test_a_picture_of_two_tones(tmp_path):
    dots = np.random.default_rng(0).random((ROWS, COLUMNS)) < 0.3
    path = saved(tmp_path / "a.png", Image.fromarray(dots))
    expected = np.repeat(np.where(dots, 255, 0)[..., None], 3, axis=2)
    np.testing.assert_array_equal(as_rgb(path), expected)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_rgb(opened), expected)


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_a_palette_gives_its_colours_and_may_have_a_clear_one(tmp_path, name):
    colours = np.array([[200, 30, 40], [10, 220, 30], [70, 80, 90]], dtype=np.uint8)
    indices = np.random.default_rng(0).integers(0, 3, (ROWS, COLUMNS), dtype=np.uint8)
    image = Image.fromarray(indices, mode=None).convert("P")
    image.putpalette(colours.tobytes())
    image.putdata(indices.ravel().tolist())
    np.testing.assert_array_equal(as_rgb(saved(tmp_path / name, image)), colours[indices])
    np.testing.assert_array_equal(as_rgb(image), colours[indices])
    path = saved(tmp_path / f"clear_{name}", image, transparency=1)
    colours[1] = BACKGROUND
    np.testing.assert_array_equal(as_rgb(path), colours[indices])
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_rgb(opened), colours[indices])


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_of_colour_are_divided_by_257(tmp_path, name, channels):
    shape = (ROWS, COLUMNS, channels)
    deep = np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)
    if channels == 4:
        deep[..., 3] = 65535
    cv2.imwrite(str(tmp_path / name), deep[..., [2, 1, 0, 3][:channels]])
    expected = np.array([[[round(Fraction(v, 257)) for v in p] for p in r] for r in deep.tolist()])
    expected = np.broadcast_to(expected[..., :3], (ROWS, COLUMNS, 3))
    np.testing.assert_array_equal(as_rgb(tmp_path / name), expected)
    np.testing.assert_array_equal(as_rgb(deep), expected)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize(("low", "high"), [(0, 65535), (310, 4020), (900, 901)])
def test_sixteen_bits_of_grey_are_stretched(tmp_path, name, low, high):
    # 2400 pixels, of which two may lie below and two above: two dead ones and two bright ones do.
    rng = np.random.default_rng(0)
    deep = rng.integers(low, high + 1, (40, 60), dtype=np.uint16)
    deep.flat[:2], deep.flat[2:4], deep.flat[4:6] = 0, 65535, (low, high)
    cv2.imwrite(str(tmp_path / name), deep)
    ordered = sorted(deep.ravel().tolist())
    least, most = ordered[2], ordered[-3]
    grey = [
        round(Fraction(255 * (min(max(v, least), most) - least), most - least))
        for v in deep.ravel().tolist()
    ]
    expected = np.repeat(np.array(grey).reshape(40, 60, 1), 3, axis=2)
    with Image.open(tmp_path / name) as opened:
        for found in (
            as_rgb(tmp_path / name),
            as_rgb(deep),
            as_rgb(deep[..., None]),
            as_rgb(opened),
        ):
            np.testing.assert_array_equal(found, expected)
    assert (least, most) == (low, high) or high == 65535
    assert {0, 255} <= set(grey)


def test_sixteen_bits_of_grey_by_hand():
    deep = np.array([[1000, 1500, 3000], [2000, 1001, 1000]], np.uint16)
    expected = np.array([[0, 64, 255], [128, 0, 0]])  # 255·500/2000 = 63.75, 255·1000/2000 = 127.5
    np.testing.assert_array_equal(as_rgb(deep), np.repeat(expected[..., None], 3, axis=2))
    np.testing.assert_array_equal(as_rgb(np.full((4, 5), 2570, np.uint16)), 10)


def test_cmyk_is_converted(tmp_path, rgb):
    cmyk = Image.fromarray(rgb).convert("CMYK")
    path = saved(tmp_path / "a.jpg", cmyk, quality=100, subsampling=0)
    assert np.abs(as_rgb(path) - rgb.astype(int)).max() <= 4
    with Image.open(path) as opened:
        assert opened.mode == "CMYK"
        assert np.abs(as_rgb(opened) - rgb.astype(int)).max() <= 4
    path = saved(tmp_path / "a.tif", cmyk)
    assert np.abs(as_rgb(path) - rgb.astype(int)).max() <= 4


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_the_first_frame_of_an_animation_counts(tmp_path, name):
    # Colours that every palette has: black and white.
    first = np.zeros((ROWS, COLUMNS, 3), dtype=np.uint8)
    first[5:20, 11:50] = 255
    later = [Image.fromarray(255 - first), Image.fromarray(first[::-1])]
    options: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
    path = tmp_path / name
    options |= {"save_all": True, "append_images": later, "duration": 40}
    saved(path, Image.fromarray(first), **options)
    with Image.open(path) as opened:
        assert getattr(opened, "n_frames", 1) == 3
        np.testing.assert_array_equal(as_rgb(opened), first)
    np.testing.assert_array_equal(as_rgb(path), first)


@pytest.mark.slow
def test_a_hundred_megapixels_are_read_without_a_word(tmp_path, capfd, recwarn):
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), np.full((9100, 11100), 77, dtype=np.uint8))
    read = as_rgb(path)
    assert read.shape == (9100, 11100, 3)
    assert (read[::997, ::991] == 77).all()
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


# ---- files that cannot be read


def one_line(error: BaseException, path: Path, reason: str) -> None:
    """Check that an error is one line, begins with the file and says why."""
    text = str(error)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert reason in text


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95])
@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("a.jpg", {}, "ends within the picture"),
        ("a.jpg", {"progressive": True}, "ends within the picture"),
        ("a.png", {}, "ends within the picture"),
        ("a.webp", {}, "not a picture"),
        ("a.gif", {}, "not a picture"),
        ("a.tif", {}, "not a picture"),
        ("a.bmp", {}, "ends within the picture"),
    ],
)
def test_a_truncated_file_is_named_and_nothing_is_printed(
    tmp_path, capfd, name, options, reason, kept
):
    noise = np.random.default_rng(0).integers(0, 255, (240, 300, 3), dtype=np.uint8)
    path = saved(tmp_path / name, Image.fromarray(noise), **options)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match=name) as caught:
        as_rgb(path)
    one_line(caught.value, path, reason)
    assert capfd.readouterr() == ("", "")


def test_what_telephones_append_is_no_truncation(tmp_path, rgb):
    """A film after the picture holds the bytes of every marker, ends and beginnings of scans."""
    path = saved(tmp_path / "a.jpg", Image.fromarray(rgb))
    whole = as_rgb(path)
    path.write_bytes(path.read_bytes() + b"film\xff\xd9\xff\xda\x00\x08more\xff\xda\x00")
    np.testing.assert_array_equal(as_rgb(path), whole)


def test_a_thumbnail_is_no_end_of_the_picture(tmp_path, rgb):
    noise = np.random.default_rng(0).integers(0, 255, (240, 300, 3), dtype=np.uint8)
    small = saved(tmp_path / "thumbnail.jpg", Image.fromarray(rgb)).read_bytes()
    path = saved(tmp_path / "a.jpg", Image.fromarray(noise), exif=b"Exif\0\0" + small)
    assert as_rgb(path).shape == (240, 300, 3)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(ValueError, match="ends within the picture"):
        as_rgb(path)


def test_what_is_no_picture_is_named(tmp_path, capfd):
    text, empty, folder = tmp_path / "text.jpg", tmp_path / "empty.png", tmp_path / "folder.jpg"
    text.write_text("Dear reader,\nthis is a letter.\n" * 20)
    empty.write_bytes(b"")
    folder.mkdir()
    marker = tmp_path / "marker.jpg"
    marker.write_bytes(b"\xff\xd8\xff\xe0")
    reasons = {text: "not a picture", empty: "empty", folder: "a folder", marker: "not a picture"}
    for path, reason in reasons.items():
        with pytest.raises(ValueError, match=path.name) as caught:
            as_rgb(str(path))
        one_line(caught.value, path, reason)
    missing = tmp_path / "missing.jpg"
    with pytest.raises(FileNotFoundError) as absent:
        as_rgb(missing)
    one_line(absent.value, missing, "no such file")
    assert capfd.readouterr() == ("", "")


def test_a_file_out_of_range_is_named(tmp_path):
    path = tmp_path / "float.tif"
    cv2.imwrite(str(path), np.full((ROWS, COLUMNS, 3), 1.5, dtype=np.float32))
    with pytest.raises(ValueError, match=r"float\.tif") as caught:
        as_rgb(path)
    one_line(caught.value, path, "must lie in [0, 1]")


def test_a_truncated_pil_image_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (240, 300, 3), dtype=np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:60_000])
    with Image.open(path) as opened, pytest.raises(ValueError, match=r"a\.png: not a picture"):
        as_rgb(opened)


# ---- arrays


def test_an_array_of_bytes_is_itself(rgb):
    assert as_rgb(rgb) is rgb
    mirrored = as_rgb(rgb[:, ::-1])
    assert mirrored.flags.c_contiguous
    np.testing.assert_array_equal(mirrored, rgb[:, ::-1])


def test_grey_and_transparent_arrays(rgb):
    grey = np.repeat(rgb[..., :1], 3, axis=2)
    np.testing.assert_array_equal(as_rgb(rgb[..., 0]), grey)
    np.testing.assert_array_equal(as_rgb(rgb[..., :1]), grey)
    rgba = with_alpha(rgb)
    before = rgba.copy()
    np.testing.assert_array_equal(as_rgb(rgba), laid_down(rgba))
    np.testing.assert_array_equal(rgba, before)


def test_a_tall_transparent_array_is_laid_down_in_every_band():
    rgba = np.random.default_rng(0).integers(0, 256, (700, 3, 4), dtype=np.uint8)
    np.testing.assert_array_equal(as_rgb(rgba), laid_down(rgba))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1), (7, 5, 3), (7, 5, 4)])
def test_fractions_are_times_255(dtype, shape):
    values = np.random.default_rng(0).random(shape).astype(dtype)
    values.flat[:2] = 0, 1
    eight = np.rint(255 * values.astype(np.float64)).astype(np.uint8)
    expected = as_rgb(eight)  # checked above
    np.testing.assert_array_equal(as_rgb(values), expected)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_pil_image_of_numbers(mode):
    values = np.random.default_rng(0).integers(0, 65536, (ROWS, COLUMNS))
    values.flat[:2] = 0, 65535
    numbers = (values / 65535).astype(np.float32) if mode == "F" else values.astype(np.int32)
    given = values / 257 if mode == "F" else values
    expected = as_rgb(np.rint(given).astype(np.uint8 if mode == "F" else np.uint16))
    np.testing.assert_array_equal(as_rgb(Image.fromarray(numbers)), expected)
    with pytest.raises(ValueError, match="must lie in"):
        as_rgb(Image.fromarray(numbers + numbers.dtype.type(1)))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 5, 2), np.uint8), r"\(h, w, 4\).*got \(4, 5, 2\)"),
        (np.zeros((2, 4, 5, 3), np.uint8), r"got \(2, 4, 5, 3\)"),
        (np.zeros(7, np.uint8), r"got \(7,\)"),
        (np.zeros((0, 5, 3), np.uint8), r"at least one pixel, got \(0, 5, 3\)"),
        (np.zeros((4, 5, 3), np.int64), "uint8, uint16 or float, got int64"),
        (np.zeros((4, 5), bool), "got bool"),
        (np.full((4, 5, 3), 1.01), r"must lie in \[0, 1\].*float64, got 1\.01 to 1\.01"),
        (np.full((4, 5), -0.5, np.float32), "got -0.5"),
        (np.full((4, 5), np.nan), "nan"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(array, reason):
    with pytest.raises(ValueError, match=reason):
        as_rgb(array)


# ---- writing


def test_a_picture_is_written_in_the_format_of_its_ending(tmp_path, rgb):
    write_image(tmp_path / "new" / "a.png", rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "a.png"), rgb)
    write_image(tmp_path / "a.jpg", rgb)
    assert (tmp_path / "a.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert np.abs(read_image(tmp_path / "a.jpg") - rgb.astype(int)).mean() < 5
    with pytest.raises(ValueError, match=r"a\.odd: cannot be encoded as \.odd"):
        write_image(tmp_path / "a.odd", rgb)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "new"]
