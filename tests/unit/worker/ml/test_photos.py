from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shared.errors import UnusableImage
from shared.specs import Preprocessing
from tests.factories import encoded
from worker.ml.images import decode, pixel_digest, prepare, view_png

GREY = Preprocessing(preset="photo", height=32, width=48)
COLOURS = Preprocessing(preset="photo", height=32, width=48, channels=3)


def picture(width: int = 96, height: int = 64) -> Image.Image:
    """Red grows to the right, green downwards, blue is even."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 40)], 2).astype(np.uint8))


def test_colours_come_in_the_order_red_green_blue() -> None:
    pixels = decode(encoded(picture()), channels=3)
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, np.asarray(picture()))


def test_a_box_is_cut_out_in_colour() -> None:
    pixels = decode(encoded(picture()), box=(10, 20, 30, 15), channels=3)
    assert np.array_equal(pixels, np.asarray(picture())[20:35, 10:40])


def test_pdf_pages_come_in_colour() -> None:
    content = encoded(picture(300, 200), "PDF", resolution=300)
    pixels = decode(content, channels=3)
    assert pixels.shape == (200, 300, 3)
    assert np.abs(pixels.astype(int) - np.asarray(picture(300, 200))).mean() < 4
    assert decode(content).shape == (200, 300)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "I;16"])
def test_grey_files_have_three_equal_channels_in_colour(mode: str) -> None:
    values = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (20, 1))
    deep = Image.fromarray(values.astype(np.uint16) * 257)
    content = encoded(deep if mode == "I;16" else Image.fromarray(values).convert(mode))
    colours = decode(content, channels=3)
    assert colours.shape == (20, 48, 3)
    assert (colours == decode(content)[..., None]).all()


def test_transparent_colours_are_laid_on_white() -> None:
    layer = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    layer.paste((200, 0, 0, 255), (0, 0, 10, 20))
    pixels = decode(encoded(layer), channels=3)
    assert pixels[5, 5].tolist() == [200, 0, 0]
    assert pixels[5, 15].tolist() == [255, 255, 255]


def test_digests_tell_colours_apart_that_are_equal_in_grey() -> None:
    red, green = (Image.new("RGB", (10, 10), colour) for colour in ((100, 0, 0), (0, 51, 0)))
    digests = [pixel_digest(decode(encoded(one), channels=channels)) for one in (red, green) for channels in (1, 3)]
    assert digests[0] == digests[2]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("canvas", [GREY, COLOURS])
@pytest.mark.parametrize("size", [(96, 64), (24, 16), (12, 90), (90, 12), (300, 8)])
def test_a_photo_fills_the_canvas_and_keeps_its_shape(canvas: Preprocessing, size: tuple[int, int]) -> None:
    made = prepare(decode(encoded(picture(*size)), channels=canvas.channels), canvas)
    assert made.shape == canvas.shape
    assert made.dtype == np.uint8
    scale = min(32 / size[1], 48 / size[0])
    rows, columns = max(1, round(size[1] * scale)), max(1, round(size[0] * scale))
    top, left = (32 - rows) // 2, (48 - columns) // 2
    assert (made[: top + 1] == made[:1]).all(), "above the picture its first row goes on"
    assert (made[:, : left + 1] == made[:, :1]).all()
    assert (made[top + rows - 1 :] == made[-1:]).all()
    assert (made[:, left + columns - 1 :] == made[:, -1:]).all()
    assert int(made.max()) - int(made.min()) > 60, "brightness is kept, not only edges"


def test_a_photo_of_the_canvas_size_is_left_as_it_is() -> None:
    pixels = decode(encoded(picture(48, 32)), channels=3)
    assert np.array_equal(prepare(pixels, COLOURS), pixels)


def test_dark_photos_stay_dark() -> None:
    pixels = decode(encoded(picture(48, 32)))
    assert prepare(pixels // 4, GREY).max() == pixels.max() // 4


@pytest.mark.parametrize("canvas", [GREY, COLOURS])
def test_a_photo_of_one_colour_is_blank(canvas: Preprocessing) -> None:
    content = encoded(Image.new("RGB", (20, 20), (10, 200, 30)))
    with pytest.raises(UnusableImage, match="single colour") as caught:
        prepare(decode(content, channels=canvas.channels), canvas)
    assert caught.value.code == "image_blank"


def test_faint_photos_are_used_where_a_signature_would_be_blank() -> None:
    faint = np.full((32, 48), 120, np.uint8)
    faint[10:20, 10:20] = 121
    assert set(np.unique(prepare(faint, GREY))) == {120, 121}
    with pytest.raises(UnusableImage):
        prepare(faint, Preprocessing(height=32, width=48))


def test_a_picture_in_colour_is_shown_in_colour_and_a_grey_one_in_grey() -> None:
    pixels = np.asarray(picture())
    assert np.array_equal(decode(view_png(pixels), channels=3), pixels)
    grey = np.repeat(pixels[..., :1], 3, 2)
    assert view_png(grey) == view_png(pixels[..., 0])
    assert decode(view_png(pixels, max_side=48), channels=3).shape == (32, 48, 3)
