"""From the bytes of a file to the canvas a network sees: one code path for training and inference.

Three steps: :func:`decode` (a file to pixels, grey or in colour), :func:`prepare` (pixels to a canvas, as the
model version's preset says) and, for people, :func:`view_png`. Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from shared.errors import UnusableImage
from shared.specs import Preprocessing
from worker.ml.inkmask import binarise, cut_out
from worker.ml.photos import letterbox

if TYPE_CHECKING:  # it takes as long to load as all else here, and most signatures are no PDF
    import pypdfium2 as pdfium

Pixels = NDArray[np.uint8]  # (H, W) grey, or (H, W, 3) red, green, blue
Box = tuple[int, int, int, int]

# Sizes are checked here, against ImageLimits and before any pixel is decoded; Pillow's own guard would only
# add warnings, at a size of its own choosing.
Image.MAX_IMAGE_PIXELS = None

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM", b"RIFF")
_PDF_POINTS_PER_INCH = 72
_PDF_LOCK = threading.Lock()  # PDFium keeps global state and is not thread-safe
_CODEC_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError,
    RuntimeError, struct.error, zlib.error,
    Warning,  # Pillow warns of damaged metadata; under -W error that arrives as an exception
)  # fmt: skip

TYPICAL_WIDTH = 500  # of a signature at the scale that ``keep`` aims at, pixels


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What is accepted: sizes in pixels of the whole page, and the resolution PDF pages are drawn at."""

    max_pixels: int = 40_000_000
    max_side: int = 20_000
    min_side: int = 8
    pdf_dpi: int = 300


_LIMITS = ImageLimits()


def decode(
    data: bytes, page: int = 1, box: Box | None = None, limits: ImageLimits = _LIMITS, channels: int = 1
) -> Pixels:
    """Read one page, or one box of it, as grey pixels, or in colour with ``channels`` 3.

    ``data`` is a whole PNG, JPEG, TIFF, BMP, WebP or PDF file. ``page`` counts from 1. ``box`` is x, y,
    width, height in pixels of the page as it is shown (after its EXIF orientation; PDF at
    ``limits.pdf_dpi``). For grey, colours become ITU-R 601-2 luma; for colour, grey becomes three equal
    channels. Transparency is laid on white, 16-bit grey is scaled to 0..255.

    Returns a C-contiguous uint8 array of height x width, 0 black to 255 white, or of height x width x 3: red,
    green, blue. Thread-safe. Raises UnusableImage with code image_unreadable, image_truncated, image_too_large,
    image_too_small, page_missing or box_outside.
    """
    if page < 1:
        raise UnusableImage("page_missing", f"There is no page {page}: pages are counted from 1.")
    if b"%PDF-" in data[:1024]:
        pixels = _decode_pdf(data, page, box, limits, channels)
    else:
        pixels = _decode_picture(data, page, box, limits, channels)
    _check_small(pixels.shape[1], pixels.shape[0], limits)
    return np.ascontiguousarray(pixels)


def pixel_digest(pixels: Pixels) -> str:
    """Name decoded pixels: ``sha256:`` and 64 hexadecimal digits.

    The hash is SHA-256 over the ASCII text ``<height>x<width>:`` followed by the pixels row by row, one byte
    each; of pixels in colour ``<height>x<width>x3:`` and three bytes each. Two files that decode to the same
    pixels have the same digest, whatever their format.
    """
    shape = "x".join(map(str, pixels.shape))
    hasher = hashlib.sha256(f"{shape}:".encode("ascii"))
    hasher.update(np.ascontiguousarray(pixels).data)
    return f"sha256:{hasher.hexdigest()}"


def prepare(pixels: Pixels, preprocessing: Preprocessing, *, binary: bool = False) -> Pixels:
    """Turn pixels into the canvas of a network: uint8, of the shape ``preprocessing.shape``.

    ``pixels`` are what :func:`decode` gives with ``preprocessing.channels``. The preset ``photo`` fits the whole
    picture in (:func:`worker.ml.photos.letterbox`). The preset ``signature`` makes bright ink, centred, on a zero
    background, step by step:

    1. t is Otsu's threshold of the 256-bin histogram: the lowest t that maximises the between-class variance
       of {pixel <= t} and {pixel > t} (Otsu 1979). Ink is every pixel <= t, paper the rest.
    2. The page is blank if it is constant, or if the mean of the paper exceeds the mean of the ink by less
       than MIN_CONTRAST, or by less than MIN_CLEARNESS standard deviations of the paper.
    3. Pieces of ink (8-connected) of fewer than max(MIN_SPECK, SPECK_SHARE x number of ink pixels) pixels are
       specks and erased. No ink left means blank.
    4. Ink becomes 255 - pixel, at least 1; all else 0. The result is cropped to the ink's bounding box, h x w.
    5. With m = min(H, W) // 24 of margin on the H x W canvas, s = min((H - 2m) / h, (W - 2m) / w). The crop is
       resized to max(1, round(h s)) x max(1, round(w s)), by INTER_AREA for s < 1 and INTER_LINEAR otherwise,
       and placed at row (H - height) // 2 and column (W - width) // 2.

    With the scale ``keep``, m is 0 and s is never above 1. Before step 1 the page is made ``enlarge`` times larger
    (INTER_CUBIC; not beyond 40 million pixels), and squares of ``reduce`` x ``reduce`` pixels become one.

    ``binary``, or where the preprocessing's ink is: the signature is binarised (:func:`binarise`) after it was enlarged
    and before it is reduced, so that the edges of the line are as fine as the scan can tell.

    Raises UnusableImage with code image_blank.
    """
    height, width = preprocessing.height, preprocessing.width
    if preprocessing.preset == "photo":
        return letterbox(pixels, height, width)
    pixels = _enlarged(pixels, preprocessing.enlarge)
    binary = binary or preprocessing.ink == "binary"
    crop = cut_out(_reduced(binarise(pixels) if binary else pixels, preprocessing.reduce))
    keep = preprocessing.scale == "keep"
    margin = 0 if keep else min(height, width) // 24
    scale = min((height - 2 * margin) / crop.shape[0], (width - 2 * margin) / crop.shape[1])
    scale = min(scale, 1.0) if keep else scale
    rows, columns = max(1, round(crop.shape[0] * scale)), max(1, round(crop.shape[1] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((height, width), np.uint8)
    top, left = (height - rows) // 2, (width - columns) // 2
    canvas[top : top + rows, left : left + columns] = cv2.resize(crop, (columns, rows), interpolation=method)
    return canvas


def ink_width(pixels: Pixels) -> int:
    """Width of the ink's bounding box, pixels. Raises UnusableImage with code image_blank."""
    return int(cut_out(pixels).shape[1])


def estimate_scale(widths: Sequence[int]) -> dict[str, int]:
    """The factors ``enlarge`` and ``reduce`` for scans of one resolution, from the widths of their ink in pixels.

    Whole numbers that bring the median signature near TYPICAL_WIDTH: signatures are some 45 millimetres wide, 530
    pixels at 300 dpi. ``reduce`` leaves it at least so wide. Both 1 where nothing is known.
    """
    median = float(np.median(widths)) if len(widths) else TYPICAL_WIDTH
    enlarge = min(4, max(1, round(TYPICAL_WIDTH / median)))
    return {"enlarge": enlarge, "reduce": min(16, max(1, int(median // TYPICAL_WIDTH)))}


def _enlarged(pixels: Pixels, factor: int) -> Pixels:
    """The whole page, whose Otsu threshold a part of it would not have; not enlarged where that would be too large."""
    if factor == 1 or pixels.size * factor**2 > _LIMITS.max_pixels:
        return pixels
    return np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)


def _reduced(pixels: Pixels, factor: int) -> Pixels:
    if factor == 1:
        return pixels
    size = (max(1, round(pixels.shape[1] / factor)), max(1, round(pixels.shape[0] / factor)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def view_png(pixels: Pixels, max_side: int | None = None) -> bytes:
    """Encode pixels as PNG for a browser, shrunk so that no side exceeds ``max_side`` pixels; grey where they are."""
    height, width = pixels.shape[:2]
    if pixels.ndim == 3:
        grey = (pixels == pixels[..., :1]).all()
        pixels = np.ascontiguousarray(pixels[..., 0] if grey else pixels[..., ::-1])  # OpenCV writes blue first
    if max_side is not None and max(height, width) > max_side:
        scale = max_side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def _decode_picture(data: bytes, page: int, box: Box | None, limits: ImageLimits, channels: int) -> Pixels:
    _check_webp(data, limits)  # Pillow's WebP reader allocates its canvas while opening
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise _unreadable(data) from error
    except _CODEC_ERRORS as error:
        raise _truncated() from error
    with picture:
        _seek(picture, page)
        _check_large(*picture.size, limits)
        upright = _upright(picture)
        if box is not None:
            x, y, width, height = _inside(box, *upright.size)
            upright = upright.crop((x, y, x + width, y + height))
        return _pixels(upright, picture, "L" if channels == 1 else "RGB")


def _upright(picture: Image.Image) -> Image.Image:
    try:
        picture.load()
    except _CODEC_ERRORS as error:
        raise _truncated() from error
    try:
        return ImageOps.exif_transpose(picture)
    except _CODEC_ERRORS:
        return picture  # damaged metadata says nothing about the orientation; the pixels are sound


def _seek(picture: Image.Image, page: int) -> None:
    pages = 1
    try:
        if picture.format == "TIFF":
            pages = getattr(picture, "n_frames", 1)
        if page <= pages:
            picture.seek(page - 1)
    except _CODEC_ERRORS as error:
        raise _truncated() from error
    if page > pages:
        raise _page_missing(page, pages)


def _pixels(picture: Image.Image, source: Image.Image, mode: str) -> Pixels:
    """Pixels of a loaded picture, L or RGB; ``source`` is the file it came from, asked for its TIFF tags."""
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray(_grey_of_16_bit(picture, source))
    if picture.mode in ("I", "F"):
        raise UnusableImage(
            "image_unreadable", "32-bit images are not read. Save the image with 8 or 16 bits a channel."
        )
    try:
        if picture.has_transparency_data:
            layer = picture.convert("RGBA")
            paper = Image.new(mode, layer.size, "white")
            paper.paste(layer.convert(mode), mask=layer.getchannel("A"))
            picture = paper
        elif picture.mode not in ("L", "1"):
            picture = picture.convert("RGB")
        return np.array(picture.convert(mode), np.uint8)
    except _CODEC_ERRORS as error:
        raise _truncated() from error


def _grey_of_16_bit(picture: Image.Image, source: Image.Image) -> Pixels:
    tags: Any = getattr(source, "tag_v2", {})
    bits = tags.get(258, (16,))  # BitsPerSample: 12-bit scans come in the same mode
    white = 2 ** int(bits[0] if isinstance(bits, tuple) else bits) - 1
    deep = np.asarray(picture).astype(np.float32)
    grey: Pixels = np.clip(np.rint(deep * (255 / white)), 0, 255).astype(np.uint8)
    return 255 - grey if tags.get(262) == 0 else grey  # PhotometricInterpretation 0: zero is white


def _decode_pdf(data: bytes, page: int, box: Box | None, limits: ImageLimits, channels: int) -> Pixels:
    import pypdfium2 as pdfium

    try:
        with _PDF_LOCK, pdfium.PdfDocument(data) as document:
            if page > len(document):
                raise _page_missing(page, len(document))
            return _render(document[page - 1], box, limits, channels)
    except pdfium.PdfiumError as error:
        raise UnusableImage(
            "image_unreadable", "The PDF cannot be opened: it is damaged or asks for a password. Export it again."
        ) from error


def _render(sheet: pdfium.PdfPage, box: Box | None, limits: ImageLimits, channels: int) -> Pixels:
    scale = limits.pdf_dpi / _PDF_POINTS_PER_INCH
    try:
        width, height = (side * scale for side in sheet.get_size())
        _check_large(round(width), round(height), limits)
        bitmap = sheet.render(scale=scale, grayscale=channels == 1, rev_byteorder=True)  # red first
        try:
            rows = np.array(bitmap.to_numpy(), np.uint8).reshape(bitmap.height, bitmap.width, -1)
            pixels: Pixels = rows[..., 0] if channels == 1 else rows[..., :3]
        finally:
            bitmap.close()
    finally:
        sheet.close()
    if box is None:
        return pixels
    x, y, box_width, box_height = _inside(box, pixels.shape[1], pixels.shape[0])
    return pixels[y : y + box_height, x : x + box_width]


def _inside(box: Box, width: int, height: int) -> Box:
    x, y, box_width, box_height = box
    if min(x, y) < 0 or min(box_width, box_height) < 1 or x + box_width > width or y + box_height > height:
        raise UnusableImage(
            "box_outside",
            f"The box {x} {y} {box_width} {box_height} (x y width height) is not within the page of "
            f"{width} x {height} pixels. Give a box that lies inside.",
        )
    return box


def _check_large(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise UnusableImage(
            "image_too_large",
            f"The image is {width} x {height} pixels; at most {limits.max_pixels} pixels and {limits.max_side} a "
            "side are read. Send it at a lower resolution or cut out the signature.",
        )


def _check_small(width: int, height: int, limits: ImageLimits) -> None:
    if min(width, height) < limits.min_side:
        raise UnusableImage(
            "image_too_small",
            f"The image is {width} x {height} pixels; each side needs {limits.min_side} at least. "
            "Send it at a higher resolution.",
        )


def _check_webp(data: bytes, limits: ImageLimits) -> None:
    """Read the canvas size from a WebP header (RFC 9649, sections 2.5 to 2.7)."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    else:
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    _check_large(width, height, limits)


def _unreadable(data: bytes) -> UnusableImage:
    if data.startswith(_MAGIC):
        return _truncated()
    return UnusableImage(
        "image_unreadable", "This is not an image that can be read. Send PNG, JPEG, TIFF, BMP, WebP or PDF."
    )


def _truncated() -> UnusableImage:
    return UnusableImage("image_truncated", "The image file is cut short or damaged. Send the whole file again.")


def _page_missing(page: int, pages: int) -> UnusableImage:
    has = "only 1 page" if pages == 1 else f"{pages} pages"
    return UnusableImage("page_missing", f"There is no page {page}: the file has {has}.")
