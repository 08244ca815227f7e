"""PNG views of regions for the browser. Torch-free: the io worker makes them, so that no decoder runs in the web."""

from __future__ import annotations

from shared.errors import UnusableImage
from shared.jobs.work import load_sources
from shared.views import SENT, canvas_named, view_key
from worker.context import Context
from worker.ml.images import prepare, view_png
from worker.regions import RegionReader

MAX_SIDE = 1600  # pixels; more than any screen shows side by side


def render_view(context: Context, region_id: int, view: str) -> None:
    """Store the view of a region: ``sent``, or a canvas as networks see it; none of what cannot be decoded."""
    if context.store.exists(view_key(region_id, view)):
        return  # asked for twice
    with context.database.read() as session:
        source = load_sources(session, {region_id}).get(region_id)
    canvas = canvas_named(view)
    if source is None or (view != SENT and canvas is None):
        return
    try:
        with RegionReader(context.settings, context.store) as reader:
            pixels = reader.pixels(source, canvas.channels if canvas else 3)
        if canvas:
            pixels = prepare(pixels, canvas)
    except UnusableImage:
        return  # the comparison's answer says what is wrong with it
    context.store.put(view_key(region_id, view), [view_png(pixels, MAX_SIDE)])
