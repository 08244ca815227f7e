"""The bytes and pixels of regions, read from the uploads they lie in."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Lock
from typing import BinaryIO

from numpy import uint8
from numpy.typing import NDArray

from shared.archives import Entry, read_entry
from shared.config import Settings
from shared.errors import CountersignError, Unavailable, UnusableImage
from shared.jobs.work import RegionSource
from shared.storage import BlobStore
from worker.ml.images import ImageLimits, decode
from worker.probing import Prober


class RegionReader:
    """Reads regions; keeps the uploads open meanwhile. Safe to use from several threads."""

    def __init__(self, settings: Settings, store: BlobStore) -> None:
        self._settings = settings
        self._limits = ImageLimits(max_pixels=settings.max_pixels)
        self._store = store
        self._stack = ExitStack()
        self._files: dict[str, BinaryIO] = {}
        self._lock = Lock()

    def __enter__(self) -> RegionReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def pixels(self, source: RegionSource, channels: int = 1) -> NDArray[uint8]:
        """The decoded pixels of a region: grey, H x W, or with 3 channels in colour, H x W x 3.

        Raises:
            UnusableImage: the entry or the image in it cannot be used.
        """
        return decode(self._bytes(source), source.page, _box(source), self._limits, channels)

    def is_deadly(self, source: RegionSource) -> bool:
        """Whether decoding a region ends the process that does it; asked of another process, which takes a second."""
        try:
            data = self._bytes(source)
        except Unavailable:
            raise
        except CountersignError:
            return False
        with Prober(self._limits.max_pixels) as prober:
            return prober.is_deadly(data, source.page, _box(source))

    def _bytes(self, source: RegionSource) -> bytes:
        with self._lock:  # one position in each file: seek and read belong together
            file = self._files.get(source.blob)
            if file is None:
                file = self._files[source.blob] = self._stack.enter_context(self._store.open(source.blob))
            if source.offset is None:
                file.seek(0)
                data = file.read(self._settings.max_entry + 1)
                if len(data) > self._settings.max_entry:
                    raise UnusableImage(
                        "entry_too_large", f"{source.entry} is over {self._settings.max_entry:,} bytes."
                    )
                return data
            return read_entry(file, _entry(source, source.offset), self._settings.max_entry)


def _entry(source: RegionSource, offset: int) -> Entry:
    return Entry(
        name=source.entry,
        offset=offset,
        packed_size=source.packed_size or 0,
        size=source.size or 0,
        method=source.method or 0,
        crc=source.crc or 0,
    )


def _box(source: RegionSource) -> tuple[int, int, int, int] | None:
    if not source.box:
        return None
    x, y, w, h = map(int, source.box.split())
    return x, y, w, h
