"""A look at labelled data before anything is done with them: what their names say, and samples as pictures. Torch-free.

The io worker does it, so that no image is decoded in the web process. What it finds lies in the store under the
archive's digest, and is made anew where it is missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from shared.archives import Archive
from shared.db import Database
from shared.errors import CountersignError, NotFound, Unavailable
from shared.jobs.submit import archive_limits
from shared.jobs.uploads import find_upload
from shared.views import MOST_SAMPLES, begun_key, look_key, sample_key
from worker.context import Context
from worker.dataset import find_layout, shown
from worker.ml.images import ImageLimits, Pixels, decode, view_png
from worker.ml.layouts import Layout, Sample, Skipped, count_writers

WRITERS, GENUINE, FORGED = 8, 2, 1  # writers on the contact sheet, and images of each
TRIED = 300  # images read, evenly over the archive, to see whether they can be
TRY_SECONDS = 8.0  # after which no more are read
DEAD_SECONDS = 45.0  # a look that began so long ago has ended its process
SAMPLE_SIDE = 320  # pixels


def look_at(context: Context, digest: str) -> None:
    """Store what there is in the archive with this digest; nothing to do if that is known, or being found out."""
    store = context.store
    if store.exists(look_key(digest)):
        return
    begun = _begun(context, digest)
    if begun is not None and time.time() - begun < DEAD_SECONDS:
        return
    store.put(begun_key(digest), [str(time.time()).encode()])
    try:
        found = _look(context, digest, pictures=begun is None)  # an image may have ended the process the first time
    except Unavailable:
        raise  # that is no word about the data, and must not be kept as one
    except CountersignError as error:
        found = {"error": {"code": error.code, "message": error.message}}
    store.put(look_key(digest), [json.dumps(found).encode()])
    store.delete(begun_key(digest))


def _begun(context: Context, digest: str) -> float | None:
    try:
        with context.store.open(begun_key(digest)) as file:
            return float(file.read())
    except NotFound:
        return None


def _look(context: Context, digest: str, pictures: bool) -> dict[str, Any]:
    """The report of the layout, with ``tried`` (images read), ``samples`` and what is skipped so far.

    Raises:
        NotFound: code ``file_unknown``. InvalidInput: the archive's faults.
        TrainingFailed: code ``no_images`` or ``layout_unknown``.
    """
    with context.store.open(_blob(context.database, digest)) as file:
        archive = Archive(file, archive_limits(context.settings))
        layout = find_layout(archive)
        reader = _Reader(archive, ImageLimits(max_pixels=context.settings.max_pixels))
        samples: list[dict[str, Any]] = []
        for sample, pixels in reader.usable(chosen(layout.samples)) if pictures else ():
            context.store.put(sample_key(digest, len(samples)), [view_png(pixels, SAMPLE_SIDE)])
            samples.append({"entry": sample.entry[:300], "writer": sample.writer[:100], "forged": sample.forged})
        tried = reader.tried(layout.samples) if pictures else 0
    return _report(layout, reader.faults) | {"tried": tried, "samples": samples}


def _blob(database: Database, digest: str) -> str:
    with database.read() as session:
        return find_upload(session, digest).blob


def _report(layout: Layout, faults: dict[str, Skipped]) -> dict[str, Any]:
    """As a training reports its data, as far as it can be known from names and from the images read."""
    skipped = [*faults.values(), *layout.skipped]
    return {
        "layout": layout.name,
        **count_writers(sample for sample in layout.samples if sample.entry not in faults),
        "skipped": len(skipped),
        "skipped_list": shown(skipped),
        "notes": list(layout.notes),
        "images": len(layout.samples),
    }


def chosen(samples: Iterable[Sample]) -> list[Sample]:
    """Those of the contact sheet: of writers evenly over all of them, the first genuine ones and forgeries."""
    of: dict[str, tuple[list[Sample], list[Sample]]] = {}
    for sample in samples:
        of.setdefault(sample.writer, ([], []))[sample.forged].append(sample)
    writers = list(of.values())
    some = writers[:: max(1, -(-len(writers) // WRITERS))]
    return [sample for genuine, forged in some for sample in (*genuine[:GENUINE], *forged[:FORGED])][:MOST_SAMPLES]


class _Reader:
    """Reads images, and keeps what is wrong with those that cannot be: by their entries."""

    def __init__(self, archive: Archive, limits: ImageLimits) -> None:
        self._archive, self._limits = archive, limits
        self._read: set[str] = set()
        self._end = time.monotonic() + TRY_SECONDS
        self.faults: dict[str, Skipped] = {}

    def usable(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Pixels]]:
        """Those that can be decoded, in colour."""
        for sample in samples:
            self._read.add(sample.entry)
            entry = self._archive.find(sample.entry)
            if entry is None:
                continue  # the layout takes its names from this very archive
            try:
                pixels = decode(self._archive.read(entry), limits=self._limits, channels=3)
            except CountersignError as error:
                self.faults[sample.entry] = Skipped(sample.entry, error.message, error.code)
            else:
                yield sample, pixels

    def tried(self, samples: tuple[Sample, ...]) -> int:
        """Read some of ``samples`` while there is time; how many were read in all."""
        some = samples[:: max(1, -(-len(samples) // TRIED))]
        for _ in self.usable(sample for sample in some if sample.entry not in self._read and self._in_time()):
            pass
        return len(self._read)

    def _in_time(self) -> bool:
        return time.monotonic() < self._end
