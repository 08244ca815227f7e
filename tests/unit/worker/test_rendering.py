from __future__ import annotations

import io

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from shared.networks import NETWORKS
from shared.tables import Region
from shared.views import SENT, canvas_named, view_key
from tests.factories import batch_of, blank_png, drawing, encoded, png
from tests.unit.worker.conftest import Submit
from worker.context import Context
from worker.intake import take_in
from worker.rendering import render_view


def reddish() -> Image.Image:
    """A drawing on pink paper."""
    grey = drawing(2)
    return Image.merge("RGB", (grey, grey.point(lambda value: value // 2), grey.point(lambda value: value // 2)))


@pytest.fixture
def regions(sqlite_context: Context, submit: Submit) -> dict[str, int]:
    images = {"a.png": png(1), "blank.png": blank_png(), "text.png": b"no image", "red.png": encoded(reddish())}
    rows = [("1", "a.png", "blank.png"), ("2", "a.png", "text.png"), ("3", "a.png", "red.png")]
    take_in(sqlite_context, submit(sqlite_context, batch_of(*rows, images=images)).public_id)
    with sqlite_context.database.read() as session:
        return {region.entry: region.id for region in session.scalars(sa.select(Region))}


def picture(context: Context, region: int, view: str) -> Image.Image:
    with context.store.open(view_key(region, view)) as file:
        return Image.open(io.BytesIO(file.read()))


def test_as_it_was_sent(sqlite_context: Context, regions: dict[str, int]) -> None:
    render_view(sqlite_context, regions["a.png"], SENT)
    assert np.array_equal(np.asarray(picture(sqlite_context, regions["a.png"], SENT)), np.asarray(drawing(1)))


@pytest.mark.parametrize("view", [f"{name}{kind}" for name in NETWORKS for kind in ("", "-photo", "-colours")])
def test_as_a_network_sees_it(sqlite_context: Context, regions: dict[str, int], view: str) -> None:
    render_view(sqlite_context, regions["red.png"], view)
    shown = picture(sqlite_context, regions["red.png"], view)
    canvas = canvas_named(view)
    assert canvas is not None
    assert shown.size == (canvas.width, canvas.height)
    assert shown.mode == ("RGB" if view.endswith("-colours") else "L")


def test_at_the_scale_that_the_model_brings_scans_to(sqlite_context: Context, regions: dict[str, int]) -> None:
    widths = []
    for view in ("ink", "ink-scaled-2-1"):
        render_view(sqlite_context, regions["a.png"], view)
        left, _, right, _ = picture(sqlite_context, regions["a.png"], view).getbbox() or (0, 0, 0, 0)
        widths.append(right - left)
    assert widths[1] == pytest.approx(2 * widths[0], abs=4)


def test_colours_are_shown_as_they_were_sent(sqlite_context: Context, regions: dict[str, int]) -> None:
    render_view(sqlite_context, regions["red.png"], SENT)
    assert np.array_equal(np.asarray(picture(sqlite_context, regions["red.png"], SENT)), np.asarray(reddish()))


def test_what_cannot_be_shown_leaves_nothing(sqlite_context: Context, regions: dict[str, int]) -> None:
    render_view(sqlite_context, regions["text.png"], SENT)
    render_view(sqlite_context, regions["blank.png"], "compact")
    render_view(sqlite_context, regions["a.png"], "nothing")
    render_view(sqlite_context, 9999, SENT)
    assert not (sqlite_context.settings.home / "blobs" / "views").exists()
    render_view(sqlite_context, regions["blank.png"], SENT)
    assert picture(sqlite_context, regions["blank.png"], SENT).size == (120, 60)


def test_a_picture_that_was_removed_is_drawn_anew(sqlite_context: Context, regions: dict[str, int]) -> None:
    render_view(sqlite_context, regions["a.png"], SENT)
    first = picture(sqlite_context, regions["a.png"], SENT).tobytes()
    assert sqlite_context.store.expire("views", -60) == 1
    render_view(sqlite_context, regions["a.png"], SENT)
    assert picture(sqlite_context, regions["a.png"], SENT).tobytes() == first
