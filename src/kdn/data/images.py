"""Pictures of every kind a user may hand over, as one kind: upright 8-bit RGB."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps

__all__ = ["BACKGROUND", "PICTURE_SUFFIXES", "as_rgb", "image_size", "read_image"]

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
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}
_ORIENTATION = 0x0112
_TIFF = (b"II*\0", b"MM\0*")
_PNG = b"\x89PNG\r\n\x1a\n"
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
    if isinstance(image, Image.Image):
        return _of_pil(image)
    return _of_array(image)


def read_image(path: Path) -> Rgb:
    """Return a picture from a file as 8-bit RGB, turned upright by its EXIF tag.

    Grey, palette, 16-bit, CMYK and transparent pictures become RGB as in `as_rgb`; of an animation
    the first frame counts. The content decides what a file is, not its name: JPEG, PNG, WebP,
    GIF, TIFF, BMP, JPEG 2000 and whatever else the installed OpenCV decodes. Its limit is 2³⁰
    pixels.

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
    image = _decoded(data)
    if image is None:
        raise ValueError(f"{path}: not a picture that can be decoded")
    try:
        return _of_array(image)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of a picture from a file, upright, as `read_image` would give it.

    The pixels are not decoded where the header says enough.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not hold a picture.
    """
    if path.is_file():
        with warnings.catch_warnings(), contextlib.suppress(Exception):  # Pillow's own are many
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                width, height = image.size
                # Pillow decodes a PNG file to look for a tag behind its pixels.
                png = image.format == "PNG"
                tag = _orientation(path.read_bytes()) if png else image.getexif().get(_ORIENTATION)
                turned = tag in (5, 6, 7, 8)
                return (width, height) if turned else (height, width)
    height, width = read_image(path).shape[:2]
    return height, width


def _decoded(data: bytes) -> np.ndarray | None:
    """Return what a file holds, upright, in RGB order, of its own depth; None if it cannot be."""
    jpeg = data[:2] == b"\xff\xd8"
    # The flags for colour drop alpha and the lower bits, `IMREAD_UNCHANGED` keeps them and leaves
    # the picture as it lies. A JPEG file has neither.
    flags = cv2.IMREAD_COLOR_RGB if jpeg else cv2.IMREAD_UNCHANGED
    with _silent():
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:  # larger than OpenCV's limit
            return None
    if image is None or jpeg:
        return image
    image = np.ascontiguousarray(_UPRIGHT.get(_orientation(data), _as_it_is)(image))
    if image.ndim == 3 and image.shape[2] in (3, 4):
        swap = cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        image = cv2.cvtColor(image, swap)
    if data[:4] in _TIFF and image.dtype == np.uint8 and image.shape[2:] == (4,):
        # libtiff has multiplied the colours of such files by alpha already.
        clear = cv2.cvtColor(255 - image[:, :, 3], cv2.COLOR_GRAY2RGB)
        return cv2.scaleAdd(clear, BACKGROUND / 255, np.ascontiguousarray(image[:, :, :3]))
    return image


def _as_it_is(image: np.ndarray) -> np.ndarray:
    """Return the picture that lies upright."""
    return image


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
    """Return True if a JPEG or PNG file breaks off.

    OpenCV fills the rest of a JPEG picture with grey. Cameras and telephones append data of their
    own after the end (films even), so the markers are followed from the start on.
    """
    if data.startswith(_PNG):
        return all(kind != b"IEND" for kind, _ in _chunks(data))
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


def _orientation(data: bytes) -> int:
    """Return the EXIF orientation of a PNG or WebP file, 1 if it has none.

    OpenCV turns TIFF pictures by itself, and those of other formats have no such tag.
    """
    if not data.startswith(_PNG) and (data[:4], data[8:12]) != (b"RIFF", b"WEBP"):
        return 1
    found = next((block for kind, block in _chunks(data) if kind in (b"eXIf", b"EXIF")), b"")
    exif = Image.Exif()
    try:
        exif.load(found)
    except Exception:  # a block that is no EXIF; the picture is none the worse
        return 1
    return exif.get(_ORIENTATION, 1)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each whole chunk of a PNG or WebP file."""
    png = data.startswith(_PNG)
    position = 8 if png else 12
    while position + 8 <= len(data):
        first, second = data[position : position + 4], data[position + 4 : position + 8]
        kind, size = (second, first) if png else (first, second)
        length = int.from_bytes(size, "big" if png else "little")
        begin, end = position + 8, position + 8 + length
        # PNG has four bytes of checksum after the content, WebP fills up to an even size.
        position = end + (4 if png else length % 2)
        if position > len(data):
            return
        yield kind, data[begin:end]


def _of_pil(image: Image.Image) -> Rgb:
    """Return a PIL image as 8-bit RGB, upright."""
    name = getattr(image, "filename", "") or "image"
    try:
        image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError) as error:  # PIL reads a file only now
        raise ValueError(f"{name}: not a picture that can be decoded ({error})") from None
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _of_array(_of_integers(np.asarray(image), name))
    if image.mode == "F":
        return _of_array(np.asarray(image))
    clear = image.has_transparency_data
    return _of_array(np.asarray(image.convert("RGBA" if clear else "RGB")))


def _of_integers(values: np.ndarray, name: str) -> np.ndarray:
    """Return 16-bit values, which PIL may hold in 32 bits."""
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"{name}: values must lie in 0 to 65535, got {values.min()} to {values.max()}"
        )
    return values.astype(np.uint16)


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
        part = slice(rows, rows + 256)
        clear = np.uint16(255) - alpha[part]
        # At most 255·255 + 127, which fits 16 bits.
        mixed = colours[part] * alpha[part].astype(np.uint16) + BACKGROUND * clear + 127
        colours[part] = mixed // 255
    return colours
