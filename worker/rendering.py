"""PNG views of regions for the browser. Torch-free: the io worker makes them, so that no decoder runs in the web."""

from __future__ import annotations

import sqlalchemy as sa

from shared.archives import Archive
from shared.categories import read_folders
from shared.errors import CountersignError, UnusableImage
from shared.jobs.submit import archive_limits
from shared.jobs.work import load_sources
from shared.tables import Identification, Job, Upload
from shared.views import NEAREST, SENT, answer_key, canvas_named, view_key
from worker.context import Context
from worker.ml.images import ImageLimits, decode, prepare, view_png
from worker.regions import RegionReader

ANSWER_SIDE = 640  # pixels
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


def render_answer(context: Context, job_id: str, ordinal: int, which: str) -> None:
    """Store a picture beside an answer of an identification: the test image, or the first of its nearest category.

    None of what cannot be decoded, or was removed.
    """
    key = answer_key(job_id, ordinal, which)
    if context.store.exists(key):
        return  # asked for twice
    query = (
        sa.select(Identification.entry, Identification.nearest, Upload.blob)
        .join(Job, Job.id == Identification.job_id)
        .join(Upload, Upload.id == Job.upload_id)
        .where(Job.public_id == job_id, Identification.ordinal == ordinal)
    )
    with context.database.read() as session:
        found = session.execute(query).one_or_none()
    if found is None:
        return
    try:
        with context.store.open(found.blob) as file:
            archive = Archive(file, archive_limits(context.settings))
            shown = found.entry
            if which == NEAREST:
                shown = read_folders(archive.names()).categories.get(found.nearest, ("",))[0]
            entry = archive.find(shown)
            if entry is None:
                return
            limits = ImageLimits(max_pixels=context.settings.max_pixels)
            pixels = decode(archive.read(entry), limits=limits, channels=3)
    except CountersignError:
        return  # the answer says what is wrong with the image
    context.store.put(key, [view_png(pixels, ANSWER_SIDE)])
