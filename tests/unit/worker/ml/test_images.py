from __future__ import annotations

import hashlib
import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from shared.errors import UnusableImage
from shared.specs import Preprocessing, canvas_of
from tests.factories import png
from worker.ml.images import ImageLimits, decode, estimate_scale, pixel_digest, prepare, view_png
from worker.ml.inkmask import binarise

BROKEN_EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\0"
COMPACT = Preprocessing(height=96, width=192)


def drawing(width: int = 120, height: int = 60, paper: int = 230, ink: int = 60) -> Image.Image:
    picture = Image.new("L", (width, height), paper)
    pen = ImageDraw.Draw(picture)
    pen.line([(20, 40), (50, 15), (70, 45), (100, 20)], fill=ink, width=3)
    return picture


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def code_of(data: bytes, page: int = 1, box: tuple[int, int, int, int] | None = None) -> str:
    with pytest.raises(UnusableImage) as caught:
        decode(data, page, box)
    assert len(caught.value.message) > 20
    return caught.value.code


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds a single byte of pixels."""
    body = b""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")):
        body += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return b"\x89PNG\r\n\x1a\n" + body


def pdf_of(pages: int) -> bytes:
    pictures = [drawing(600, 300).convert("RGB") for _ in range(pages)]
    return saved(pictures[0], "PDF", save_all=True, append_images=pictures[1:], resolution=150)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_lossless_formats_give_the_pixels_back(kind: str) -> None:
    picture = drawing()
    assert np.array_equal(decode(saved(picture, kind)), np.asarray(picture))


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_lossy_formats_come_close(kind: str, options: dict[str, object]) -> None:
    picture = drawing()
    error = np.abs(decode(saved(picture, kind, **options)).astype(int) - np.asarray(picture))
    assert error.mean() < 3


def test_fax_group_4_keeps_black_and_white() -> None:
    bilevel = drawing().convert("1", dither=Image.Dither.NONE)
    pixels = decode(saved(bilevel, "TIFF", compression="group4"))
    assert np.array_equal(pixels, np.where(np.asarray(bilevel), 255, 0))
    assert 0 < (pixels == 0).mean() < 0.2


def test_16_bit_grey_is_scaled_not_cut() -> None:
    deep = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    expected = np.rint(deep / 257).astype(np.uint8)
    assert np.array_equal(decode(saved(Image.fromarray(deep), "PNG")), expected)
    assert np.array_equal(decode(saved(Image.fromarray(deep), "TIFF")), expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_zero_is_white_in_a_tiff_that_says_so(bits: int) -> None:
    values = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)
    raw = values.astype("<u2") * 257 if bits == 16 else values
    entries = {256: 16, 257: 16, 258: bits, 259: 1, 262: 0, 273: 8, 277: 1, 278: 16, 279: raw.nbytes}
    ifd = struct.pack("<H", len(entries))
    ifd += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    data = b"II*\0" + struct.pack("<I", 8 + raw.nbytes) + raw.tobytes() + ifd + b"\0\0\0\0"
    assert np.array_equal(decode(data), 255 - values)


def test_transparency_is_laid_on_white() -> None:
    layer = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    layer.paste((10, 10, 10, 255), (5, 5, 15, 15))
    layer.paste((0, 0, 0, 128), (20, 5, 30, 15))
    pixels = decode(saved(layer, "PNG"))
    assert pixels[0, 0] == 255
    assert pixels[10, 10] == 10
    assert abs(int(pixels[10, 25]) - 127) <= 1


def test_palette_with_a_transparent_colour_is_laid_on_white() -> None:
    palette = Image.new("P", (30, 20), 0)
    palette.putpalette([0, 0, 0, 80, 80, 80])
    palette.paste(1, (10, 5, 20, 15))
    pixels = decode(saved(palette, "PNG", transparency=b"\x00\xff"))
    assert pixels[0, 0] == 255
    assert pixels[10, 15] == 80


def test_cmyk_jpeg_is_not_read_as_a_negative() -> None:
    cmyk = drawing(paper=250, ink=20).convert("RGB").convert("CMYK")
    pixels = decode(saved(cmyk, "JPEG", quality=95))
    assert np.median(pixels) > 200
    assert pixels.min() < 80


def test_colour_becomes_grey_by_luma() -> None:
    colour = Image.new("RGB", (16, 16), (200, 100, 50))
    assert decode(saved(colour, "PNG"))[0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_orientation_is_honoured_and_boxes_count_in_the_upright_page(kind: str) -> None:
    upright = np.full((40, 80), 255, np.uint8)
    upright[:16, 64:] = 0  # top right corner
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned 90 degrees clockwise
    data = saved(Image.fromarray(np.ascontiguousarray(np.rot90(upright))), kind, exif=exif)
    pixels = decode(data)
    assert pixels.shape == (40, 80)
    assert np.abs(pixels.astype(int) - upright).mean() < 3
    assert decode(data, box=(64, 0, 16, 16)).mean() < 30


def test_damaged_exif_costs_the_orientation_not_the_image() -> None:
    picture = drawing()
    assert np.array_equal(decode(saved(picture, "PNG", exif=BROKEN_EXIF)), np.asarray(picture))


def test_page_and_box_of_a_many_page_tiff() -> None:
    pages = [Image.new("L", (50, 40), 100 + index) for index in range(3)]
    pages[1].paste(7, (10, 20, 30, 35))
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert decode(data, page=3)[0, 0] == 102
    assert np.array_equal(decode(data, page=2, box=(10, 20, 20, 15)), np.full((15, 20), 7))
    assert code_of(data, page=4) == "page_missing"


def test_pdf_pages_are_drawn_at_300_dpi() -> None:
    data = pdf_of(2)
    pixels = decode(data, page=2)
    assert pixels.shape == (600, 1200)  # 600 x 300 pixels at 150 dpi are 4 x 2 inches
    assert np.array_equal(decode(data, page=2, box=(100, 50, 300, 200)), pixels[50:250, 100:400])
    assert code_of(data, page=3) == "page_missing"
    assert code_of(data, box=(1100, 0, 200, 100)) == "box_outside"


def test_pdf_is_drawn_by_many_threads_at_once() -> None:
    data = pdf_of(1)
    with ThreadPoolExecutor(4) as pool:
        digests = set(pool.map(lambda _: pixel_digest(decode(data)), range(12)))
    assert len(digests) == 1


@pytest.mark.parametrize("page", [0, -1, 2])
def test_a_page_that_is_not_there(page: int) -> None:
    assert code_of(saved(drawing(), "PNG"), page=page) == "page_missing"


@pytest.mark.parametrize("box", [(-1, 0, 20, 20), (0, 0, 121, 20), (100, 50, 20, 20), (0, 0, 0, 20)])
def test_a_box_that_leaves_the_page(box: tuple[int, int, int, int]) -> None:
    assert code_of(saved(drawing(), "PNG"), box=box) == "box_outside"


def test_what_is_no_image() -> None:
    assert code_of(b"") == "image_unreadable"
    assert code_of(b"id,questioned,reference\n") == "image_unreadable"
    assert code_of(saved(drawing(), "GIF")) == "image_unreadable"
    assert code_of(b"%PDF-1.7 but nothing else") == "image_unreadable"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_cut_short(kind: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (90, 120), dtype=np.uint8)
    data = saved(Image.fromarray(noise), kind)
    assert code_of(data[: int(len(data) * share)]) == "image_truncated"


def test_a_fax_cut_short_or_read_as_far_as_it_goes() -> None:
    data = saved(drawing().convert("1"), "TIFF", compression="group4")
    assert code_of(data[: len(data) // 3]) == "image_truncated"


def test_sizes_are_checked_before_pixels() -> None:
    assert code_of(png_header(40_000, 40_000)) == "image_too_large"
    assert code_of(png_header(20_001, 10)) == "image_too_large"
    assert code_of(png_header(10_000, 10_000)) == "image_too_large"  # Pillow only warns at this size
    assert code_of(png_header(5_000, 5_000)) == "image_truncated"


def test_a_large_page_behind_a_small_one() -> None:
    small, large = Image.new("L", (50, 40), 9), Image.new("L", (300, 200), 9)
    data = saved(small, "TIFF", save_all=True, append_images=[large])
    with pytest.raises(UnusableImage) as caught:
        decode(data, page=2, limits=ImageLimits(max_pixels=50_000))
    assert caught.value.code == "image_too_large"


@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": False}, {"exif": BROKEN_EXIF}])
def test_the_size_of_a_webp_is_read_from_its_header(options: dict[str, object]) -> None:
    data = saved(Image.new("RGB", (300, 200)), "WEBP", **options)
    with pytest.raises(UnusableImage, match="300 x 200"):
        decode(data, limits=ImageLimits(max_pixels=59_999))
    assert decode(data, limits=ImageLimits(max_pixels=60_000)).shape == (200, 300)


def test_a_large_pdf_page_is_refused() -> None:
    with pytest.raises(UnusableImage, match="1200 x 600"):
        decode(pdf_of(1), limits=ImageLimits(max_pixels=700_000))


def test_too_small_whole_or_boxed() -> None:
    assert code_of(saved(Image.new("L", (1, 1)), "PNG")) == "image_too_small"
    assert code_of(saved(drawing(), "PNG"), box=(0, 0, 20, 7)) == "image_too_small"


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_images_are_refused_with_advice(mode: str) -> None:
    assert code_of(saved(Image.new(mode, (20, 20)), "TIFF")) == "image_unreadable"


def test_damaged_files_never_raise_anything_else() -> None:
    rng = np.random.default_rng(3)
    refused = read = 0
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP"):
        whole = np.frombuffer(saved(drawing(), kind), np.uint8)
        for _ in range(60):
            data = whole.copy()
            places = rng.integers(0, len(data), 6)
            data[places] = rng.integers(0, 256, 6)
            try:
                pixels = decode(data.tobytes(), limits=ImageLimits(max_pixels=1_000_000))
            except UnusableImage:
                refused += 1
            else:
                read += pixels.dtype == np.uint8
    assert refused + read == 300
    assert refused
    assert read


def test_digest_is_the_documented_hash_and_knows_the_shape() -> None:
    pixels = np.arange(96, dtype=np.uint8).reshape(8, 12)
    assert pixel_digest(pixels) == "sha256:" + hashlib.sha256(b"8x12:" + pixels.tobytes()).hexdigest()
    assert pixel_digest(pixels) != pixel_digest(pixels.reshape(12, 8))
    assert pixel_digest(pixels.T) == pixel_digest(np.ascontiguousarray(pixels.T))


def test_digest_does_not_depend_on_the_format() -> None:
    picture = drawing()
    assert pixel_digest(decode(saved(picture, "PNG"))) == pixel_digest(decode(saved(picture, "BMP")))


def otsu(pixels: NDArray[np.uint8]) -> int:
    best, best_level = -1.0, 0
    for level in range(255):
        low, high = pixels[pixels <= level].astype(float), pixels[pixels > level].astype(float)
        if low.size and high.size:
            between = low.size * high.size * (low.mean() - high.mean()) ** 2
            if between > best * (1 + 1e-9):
                best, best_level = between, level
    return best_level


def test_prepare_recomputed_from_its_description() -> None:
    noise = np.random.default_rng(5).normal(0, 4, (165, 285))
    page = np.asarray(drawing(285, 165), float)
    page = np.clip(page + noise, 0, 255).astype(np.uint8)
    page[150:152, 270:272] = 10  # four pixels are a speck
    ink = np.where(page <= otsu(page), 255 - page, 0)
    ink[150:152, 270:272] = 0
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    crop = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8)
    scale = min(88 / crop.shape[0], 184 / crop.shape[1])
    size = (round(crop.shape[1] * scale), round(crop.shape[0] * scale))
    resized = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    expected = np.zeros((96, 192), np.uint8)
    top, left = (96 - size[1]) // 2, (192 - size[0]) // 2
    expected[top : top + size[1], left : left + size[0]] = resized
    assert np.array_equal(prepare(page, COMPACT), expected)


def test_prepare_ignores_where_and_on_what_paper_it_was_written() -> None:
    page = np.asarray(drawing())
    moved = np.full((200, 300), 255, np.uint8)
    moved[90:150, 130:250] = np.where(page < 200, page, 255)
    assert np.array_equal(prepare(page, COMPACT), prepare(moved, COMPACT))


def test_prepare_keeps_the_aspect_and_centres() -> None:
    page = np.full((300, 300), 240, np.uint8)
    page[40:240, 60:110] = 30  # 200 x 50
    canvas = prepare(page, COMPACT)
    rows, columns = np.flatnonzero(canvas.any(1)), np.flatnonzero(canvas.any(0))
    assert (rows[0], rows[-1]) == (4, 91)
    assert (columns[0], columns[-1]) == (85, 106)
    assert canvas[48, 96] == 225


def test_prepare_keeps_grey_ink_of_two_strengths() -> None:
    page = np.full((60, 160), 250, np.uint8)
    page[20:40, 20:80], page[20:40, 80:140] = 40, 90
    assert set(np.unique(prepare(page, Preprocessing(height=44, width=124)))) >= {0, 165, 215}


def test_blank_pages_are_told() -> None:
    rng = np.random.default_rng(2)
    noise = np.clip(rng.normal(200, 30, (100, 200)), 0, 255)
    gradient = np.tile(np.linspace(120, 250, 200), (100, 1))
    specks = np.full((100, 200), 240.0)
    specks[10:90:20, 10:190:20] = 20
    faint = np.where(np.asarray(drawing(200, 100)) < 200, 220.0, 235.0)
    for page in (np.full((50, 50), 255.0), np.zeros((50, 50)), noise, gradient, specks, faint):
        with pytest.raises(UnusableImage) as caught:
            prepare(page.astype(np.uint8), COMPACT)
        assert caught.value.code == "image_blank"


def test_binarised_ink_is_all_one_grey_and_is_prepared_to_white() -> None:
    page = np.asarray(drawing(paper=200, ink=90)).copy()
    page[14:17, 48:53] = 60  # where the pen pressed harder
    two = binarise(page)
    assert two.dtype == np.uint8
    assert np.array_equal(two == 0, page < 150)
    assert np.array_equal(two == 255, page >= 150)
    large = Preprocessing(height=60, width=120)
    assert np.array_equal(prepare(two, large) > 0, prepare(page, large) > 0)
    assert prepare(two, large).max() == 255


def test_noise_does_not_become_ink_by_binarising() -> None:
    noise = np.random.default_rng(4).normal(220, 6, (60, 120)).clip(0, 255).astype(np.uint8)
    with pytest.raises(UnusableImage) as caught:
        binarise(noise)
    assert caught.value.code == "image_blank"


def test_view_shrinks_only_what_is_too_large() -> None:
    pixels = np.asarray(drawing())
    assert np.array_equal(decode(view_png(pixels, max_side=120)), pixels)
    assert np.array_equal(decode(view_png(pixels)), pixels)
    assert decode(view_png(pixels, max_side=60)).shape == (30, 60)


def test_small_scans_are_enlarged_and_binarised_at_the_finer_scale() -> None:
    page = np.asarray(drawing(200, 100))
    keep = Preprocessing(height=400, width=800, scale="keep")
    once, twice = (prepare(page, keep.model_copy(update={"enlarge": factor})) for factor in (1, 2))
    ink = [np.ptp(np.nonzero(canvas), axis=1) + 1 for canvas in (once, twice)]
    assert np.abs(ink[1] - 2 * ink[0]).max() <= 2
    assert set(np.unique(prepare(page, keep.model_copy(update={"enlarge": 2}), binary=True))) == {0, 255}


def test_ink_that_just_fits_a_canvas_that_keeps_the_scale_is_not_shrunk() -> None:
    page = np.full((300, 200), 255, np.uint8)
    page[10:250, 50:60] = 0  # 240 high
    assert (prepare(page, Preprocessing(height=240, width=480, scale="keep")) > 0).sum() == 2400


def test_the_factors_bring_scans_of_any_resolution_to_one_scale() -> None:
    found = {width: estimate_scale([width, width, 10 * width]) for width in (60, 250, 630, 1000, 20_000)}
    assert [tuple(one.values()) for one in found.values()] == [(4, 1), (2, 1), (1, 1), (1, 2), (1, 16)]
    assert estimate_scale([]) == {"enlarge": 1, "reduce": 1}


@pytest.mark.parametrize("network", ["ink", "compact"])
def test_a_model_of_binary_ink_sees_what_the_protocol_leaves(network: str) -> None:
    """So pen and scanner are gone in verification as they were in training, whatever the protocol of an evaluation."""
    page = decode(png(5))
    canvas = canvas_of(network, ink="binary")
    seen = prepare(page, canvas)
    assert np.array_equal(seen, prepare(page, canvas_of(network), binary=True))
    assert np.array_equal(seen, prepare(page, canvas, binary=True))
    assert not np.array_equal(seen, prepare(page, canvas_of(network)))
    fainter = (255 - (255 - page.astype(np.int32)) * 3 // 4).astype(np.uint8)  # another pen, another scanner
    assert np.array_equal(prepare(fainter, canvas), seen)
    assert not np.array_equal(prepare(fainter, canvas_of(network)), prepare(page, canvas_of(network)))
