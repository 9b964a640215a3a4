"""Pictures of every kind a user may hand over, as one kind: upright 8-bit RGB."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from kdn.data.paths import replacing

__all__ = ["BACKGROUND", "PICTURE_SUFFIXES", "as_rgb", "image_size", "read_image", "write_image"]

BACKGROUND = 255
"""What shows through transparent parts of a picture: this value in all three colours, white."""

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".jp2", ".avif", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Endings, in small letters, by which pictures are known in folders and by patterns."""

Rgb = UInt8[np.ndarray, "height width 3"]

# What each orientation of EXIF asks for, to be shown upright.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}
_ORIENTATION = 0x0112
# A marker of a JPEG file: not a byte 255 of the data (followed by 0), a restart or a filler.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SCAN, _END = 0xDA, 0xD9


def as_rgb(image: str | Path | Image.Image | Shaped[np.ndarray, "..."]) -> Rgb:
    """Return a picture as 8-bit RGB, upright.

    What becomes of it:

    * a path is read as `read_image` does;
    * a PIL image is turned upright by its EXIF tag, then treated as an array of its pixels; of an
      animation the current frame counts;
    * `(h, w)` and `(h, w, 1)` are grey: the value stands for all three colours;
    * `(h, w, 3)` is RGB (what OpenCV itself reads is BGR: turn it round first);
    * `(h, w, 4)` is RGB and alpha, laid on `BACKGROUND`: `α·colour + (1 − α)·BACKGROUND`;
    * `uint8` stays as it is, and an RGB array in C order is returned itself, not copied;
    * `uint16` in colour is divided by 257 and rounded, so that 65535 becomes 255; in grey, where
      scanners and X-ray detectors use as much of the 16 bits as they please, it is stretched from
      the picture's own range: with `low` and `high` the values that at most a thousandth of the
      pixels lie below and above, `255·(v − low)/(high − low)`, cut to 0 and 255 and rounded (a
      picture of one value is divided by 257);
    * `float16`, `float32` and `float64` must lie in [0, 1], are multiplied by 255 and rounded.

    Args:
        image: The picture: a path, a PIL image or an array as above.

    Raises:
        FileNotFoundError: If there is no such file; the message names it.
        ValueError: If a file cannot be read whole as a picture (the message names it), or if the
            shape, the type or the range of an array is none of the above.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if not isinstance(image, Image.Image):
        return _of_array(image)
    try:
        return _of_array(_of_pil(image))
    except ValueError as error:
        name = getattr(image, "filename", "")
        raise ValueError(f"{name}: {error}" if name else str(error)) from None


def read_image(path: Path) -> Rgb:
    """Return a picture from a file as 8-bit RGB, turned upright by its EXIF tag.

    Grey, palette, 16-bit, CMYK and transparent pictures become RGB as in `as_rgb`; of an animation
    the first frame counts. The content decides what a file is, not its name: JPEG, PNG, WebP,
    GIF, TIFF, BMP, JPEG 2000 and whatever else the installed Pillow or OpenCV decodes. The limit
    is 2³⁰ pixels.

    A file that ends within the picture is an error; errors within the compressed data of a JPEG
    file are not seen, and show as grey or shifted blocks.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not hold a picture that can be decoded, or ends within one.
    """
    if path.is_dir():
        raise ValueError(f"{path}: a folder, not a picture")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    data = path.read_bytes()
    if not data:
        raise ValueError(f"{path}: the file is empty")
    if _ends_early(data):
        raise ValueError(f"{path}: the file ends within the picture")
    try:
        return _of_array(_decoded(data))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of a picture from a file, upright, as `read_image` would give it.

    The pixels are not decoded where the header says enough.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not hold a picture.
    """
    image = _opened(path) if path.is_file() else None
    if image is None:
        height, width = read_image(path).shape[:2]
        return height, width
    with image:
        width, height = image.size
        # Pillow decodes a PNG file to look for a tag behind its pixels, where hardly any has one.
        bare = image.format == "PNG" and b"eXIf" not in path.read_bytes()
        turned = not bare and _orientation(image) >= 5
        return (width, height) if turned else (height, width)


def write_image(path: Path, rgb: Rgb) -> None:
    """Write a picture, whole or not at all, in the format of its ending; PNG loses nothing.

    Raises:
        ValueError: If there is no such format.
    """
    try:
        data = cv2.imencode(path.suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
    except cv2.error:
        raise ValueError(f"{path}: cannot be encoded as {path.suffix}") from None
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _opened(file: Path | io.BytesIO) -> Image.Image | None:
    """Return what Pillow knows of a file before it decodes it; None if it takes it for none."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # its own are many
        warnings.simplefilter("ignore")
        return Image.open(file)
    return None


def _orientation(image: Image.Image) -> int:
    """Return the orientation that a picture's tags ask for, 1 if they say nothing."""
    if image.format == "TIFF":  # which Pillow turns by itself, as OpenCV does
        return 1
    with contextlib.suppress(Exception):  # a tag that is none; the picture is none the worse
        tag = image.getexif().get(_ORIENTATION)
        return tag if tag in _UPRIGHT else 1
    return 1


def _decoded(data: bytes) -> np.ndarray:
    """Return what a file holds, upright, in RGB order, of its own depth.

    Raises:
        ValueError: If it cannot be decoded, or ends too early.
    """
    image = _opened(io.BytesIO(data))
    jpeg = data[:2] == b"\xff\xd8"
    if image is not None and not jpeg:
        # Pillow cuts 16 bits of colour to 8.
        deep = image.mode[0] != "I" and ";16" in str(getattr(image, "tile", ""))
        array = _of_pil(image)
        if not deep:
            return array
    array = _of_opencv(data, jpeg)
    return array if image is None else _upright(array, _orientation(image))


def _of_opencv(data: bytes, jpeg: bool) -> np.ndarray:
    """Return what OpenCV decodes, as it lies, in RGB order."""
    # The flags for colour drop alpha and the lower bits, which a JPEG file has not.
    colour = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    with _silent():
        try:
            flags = colour if jpeg else cv2.IMREAD_UNCHANGED
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:  # larger than OpenCV's limit
            image = None
    if image is None:
        raise ValueError("not a picture that can be decoded")
    if jpeg or image.shape[2:] not in ((3,), (4,)):
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return a picture as its orientation asks for."""
    return np.ascontiguousarray(_UPRIGHT[orientation](image))


@contextmanager
def _silent() -> Iterator[None]:
    """Keep OpenCV from printing what this file says in one line with the file's name."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def _ends_early(data: bytes) -> bool:
    """Return True if a JPEG file breaks off, of which OpenCV would fill the rest with grey.

    Cameras and telephones append data of their own after the end (films even), so the markers are
    followed from the start on.
    """
    if data[:2] != b"\xff\xd8":
        return False
    position, scanned = 2, False
    while marker := _JPEG_MARKER.search(data, position):
        kind = data[marker.start() + 1]
        if kind == _END:
            return False
        scanned = scanned or kind == _SCAN
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scanned  # without a scan there was no picture to end within


def _of_pil(image: Image.Image) -> np.ndarray:
    """Return a PIL image upright, of its own depth, in RGB order.

    Raises:
        ValueError: If its file is broken, or its values are no 16 bits.
    """
    try:
        image.load()
    except Exception as error:  # PIL reads a file only now, and raises what it runs into
        why = "the file ends within the picture" if "truncated" in str(error) else str(error)
        raise ValueError(f"not a picture that can be decoded ({why})") from None
    if image.mode[0] == "I":
        array = np.asarray(image)
        if array.min() < 0 or array.max() > 65535:
            raise ValueError(f"values must lie in 0 to 65535, got {array.min()} to {array.max()}")
        array = array.astype(np.uint16)
    elif image.mode == "F":
        array = np.asarray(image)
    else:
        array = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    return _upright(array, _orientation(image))


def _of_array(image: np.ndarray) -> Rgb:
    """Return an array as 8-bit RGB by the table of `as_rgb`."""
    if (
        image.ndim not in (2, 3)
        or 0 in image.shape
        or image.shape[2:] not in ((), (1,), (3,), (4,))
    ):
        raise ValueError(
            "image must have shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) and at least one "
            f"pixel, got {image.shape}"
        )
    if image.ndim == 2 or image.shape[2] == 1:
        grey = _stretched(image) if image.dtype == np.uint16 else _eight_bits(image)
        return cv2.cvtColor(np.ascontiguousarray(grey), cv2.COLOR_GRAY2RGB)
    eight = np.ascontiguousarray(_eight_bits(image))
    return _laid_on_background(eight) if eight.shape[2] == 4 else eight


def _eight_bits(image: np.ndarray) -> np.ndarray:
    """Return an array of 8-bit values, rounded."""
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        scale = 1.0 / 257.0
    elif np.issubdtype(image.dtype, np.floating):
        low, high = float(image.min()), float(image.max())
        if not (low >= 0.0 and high <= 1.0):  # also when there is a NaN
            raise ValueError(
                f"image must lie in [0, 1] where its type is {image.dtype}, got {low:g} to {high:g}"
            )
        image = image if image.dtype in (np.float32, np.float64) else image.astype(np.float32)
        scale = 255.0
    else:
        raise ValueError(f"image must have type uint8, uint16 or float, got {image.dtype}")
    # OpenCV rounds as it goes; NumPy would hold a 100-megapixel picture in float64 on the way.
    return cv2.convertScaleAbs(np.ascontiguousarray(image), alpha=scale).reshape(image.shape)


def _stretched(image: np.ndarray) -> np.ndarray:
    """Return a grey picture of 16 bits with its own range stretched over 8."""
    below = np.cumsum(np.bincount(image.ravel(), minlength=65536))  # pixels up to each value
    spared = image.size // 1000
    low = int(np.searchsorted(below, spared, side="right"))
    high = int(np.searchsorted(below, image.size - spared))
    if low == high:
        return _eight_bits(image)
    values = 255.0 * (np.arange(65536) - low) / (high - low)
    return np.rint(np.clip(values, 0.0, 255.0)).astype(np.uint8)[image]


def _laid_on_background(image: UInt8[np.ndarray, "height width 4"]) -> Rgb:
    """Return what an RGBA picture looks like on `BACKGROUND`, rounded."""
    colours, alpha = np.ascontiguousarray(image[:, :, :3]), image[:, :, 3:]
    if alpha.min() == 255:
        return colours
    for rows in range(0, len(image), 256):  # in bands, so that 16 bits are held of one band only
        band = slice(rows, rows + 256)
        clear = np.uint16(255) - alpha[band]
        # At most 255·255 + 127, which fits 16 bits.
        mixed = colours[band] * alpha[band].astype(np.uint16) + BACKGROUND * clear + 127
        colours[band] = mixed // 255
    return colours
