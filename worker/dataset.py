"""A labelled archive as arrays: every usable image prepared once, into a memory-mapped file."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.archives import Archive
from shared.errors import CountersignError, InvalidInput, TrainingFailed, UnusableImage
from shared.specs import Preprocessing, ProtocolName
from worker.ahead import ahead
from worker.ml.images import (
    ImageLimits,
    Pixels,
    decode,
    estimate_scale,
    ink_width,
    pixel_digest,
    prepare,
)
from worker.ml.layouts import Layout, Pair, Sample, Skipped, count_writers, detect
from worker.probing import Prober

PREPARE_THREADS = 2
AHEAD = 256  # images prepared before they are asked for
AHEAD_DECODED = 16  # the same where whole pages are kept for an observer
SKIPPED_SHOWN = 50
TELL_SECONDS = 0.5
MEASURED = 150  # images whose ink is measured to find the scale of an archive
_NAMED = 10  # writers named in an error

Observer = Callable[[int, Pixels], None]
"""(row, pixels as decoded, grey or in colour) of each image kept, in the order of the rows."""


@dataclass(frozen=True, slots=True, eq=False)
class ListedPairs:
    """The comparisons that the archive itself lists: rows of a :class:`Dataset`, P of them; false when there are none.

    ``genuine``: one writer wrote both. Otherwise the pair is a skilled forgery where exactly one of its rows is
    ``forged`` and both bear the same writer's name, and a random one where the names differ.
    """

    first: NDArray[np.int64]  # (P,)
    second: NDArray[np.int64]  # (P,)
    genuine: NDArray[np.bool_]  # (P,)

    def __len__(self) -> int:
        return len(self.genuine)


def _no_pairs() -> ListedPairs:
    return _listed([])


@dataclass(frozen=True, slots=True)
class Dataset:
    """N images: ``canvases`` uint8 (N, H, W) or (N, H, W, 3), ``forged`` bool (N,), the others one of each.

    ``preprocessing`` is how they were prepared: as asked for, with the factors that fit the archive's scans.
    ``pairs`` are what a list in the archive asks to compare; mostly there is none.
    """

    canvases: NDArray[np.uint8]
    writers: list[str]
    forged: NDArray[np.bool_]
    digests: list[str]
    entries: list[str]
    summary: dict[str, Any]
    preprocessing: Preprocessing
    pairs: ListedPairs = field(default_factory=_no_pairs)


@dataclass(frozen=True, slots=True)
class Reading:
    """What of an archive is read, and how.

    ``protocol``: ``grey-ink`` keeps the greys of the ink, ``binary-ink`` binarises it before it is prepared.
    ``writers``: these alone; None: all. ``observe`` sees the pixels of each image kept, before they are binarised.
    ``prober`` tries each image out first, so that one that kills its decoder is left out like any that is damaged.
    """

    protocol: ProtocolName = "grey-ink"
    writers: frozenset[str] | None = None
    observe: Observer | None = None
    prober: Prober | None = None


def read_dataset(
    archive: Archive,
    preprocessing: Preprocessing,
    limits: ImageLimits,
    folder: Path,
    progress: Callable[[int, int], None],
    reading: Reading = Reading(),
) -> Dataset:
    """Detect the layout, and prepare every image it names; those that cannot be used are listed with the reason.

    An image that comes a second time under the same writer's name is left out, and pairs that name it mean the
    first. ``progress(done, total)`` is called now and then; what it raises stops the reading.

    Raises:
        TrainingFailed: codes ``no_images``, ``layout_unknown``.
        InvalidInput: codes ``writers_unknown``, ``protocol_unfit``.
    """
    if reading.protocol == "binary-ink" and preprocessing.preset != "signature":
        raise InvalidInput(
            "protocol_unfit", f"binary-ink is for signatures, not for the preset {preprocessing.preset}: use grey-ink."
        )
    layout = find_layout(archive)
    samples = _chosen(layout.samples, reading.writers)
    if preprocessing.scale == "keep":
        preprocessing = _scaled(archive, samples, preprocessing, limits, reading.prober)
    shape = (len(samples), *preprocessing.shape)
    canvases = _map_canvases(folder / "canvases.u8", shape)
    reader = _SampleReader(archive, preprocessing, limits, reading)
    kept = _Kept()
    told = 0.0
    with ahead(reader, samples, PREPARE_THREADS, AHEAD_DECODED if reading.observe else AHEAD) as prepared:
        for done, (sample, outcome) in enumerate(prepared, 1):
            if isinstance(outcome, CountersignError):
                kept.skipped.append(Skipped(sample.entry, outcome.message, outcome.code))
            elif (row := kept.take(sample, outcome.digest)) is not None:
                canvases[row] = outcome.canvas
                if reading.observe and outcome.pixels is not None:
                    reading.observe(row, outcome.pixels)
            if time.monotonic() - told > TELL_SECONDS or done == len(samples):
                told = time.monotonic()
                progress(done, len(samples))
    if not kept.samples:
        raise TrainingFailed(
            "no_images", f"None of the {len(samples)} images can be read. The first: {kept.skipped[0].reason}"
        )
    pairs = kept.pairs(layout.pairs)
    return Dataset(
        canvases=canvases[: len(kept.samples)],
        writers=[sample.writer for sample in kept.samples],
        forged=np.array([sample.forged for sample in kept.samples]),
        digests=kept.digests,
        entries=[sample.entry for sample in kept.samples],
        summary=_summary(layout, kept, pairs),
        preprocessing=preprocessing,
        pairs=pairs,
    )


def _scaled(
    archive: Archive,
    samples: tuple[Sample, ...],
    preprocessing: Preprocessing,
    limits: ImageLimits,
    prober: Prober | None,
) -> Preprocessing:
    """``preprocessing`` with the factors that bring this archive's scans to the common scale, by some of them."""
    reader = _SampleReader(archive, Preprocessing(height=16, width=16), limits, Reading(prober=prober))
    widths = []
    for sample in samples[:: max(1, len(samples) // MEASURED)]:
        with suppress(CountersignError):  # what is wrong with it is told when it is read
            widths.append(ink_width(reader.pixels(sample)))
    return preprocessing.model_copy(update=estimate_scale(widths))


def find_layout(archive: Archive) -> Layout:
    """The layout of an archive; its lists are read, no image is. Raises as :func:`worker.ml.layouts.detect` does."""
    return detect(archive.names(), lambda name, most: _read_table(archive, name, most))


def _read_table(archive: Archive, name: str, most: int) -> bytes:
    entry = archive.find(name)
    if entry is None:
        raise UnusableImage("table_missing", f"{name} is not in the archive.")
    if entry.size > most:
        raise UnusableImage("table_too_large", f"it has {entry.size:,} bytes; at most {most:,} are read")
    return archive.read(entry)


def _chosen(samples: tuple[Sample, ...], writers: frozenset[str] | None) -> tuple[Sample, ...]:
    if writers is None:
        return samples
    known = dict.fromkeys(sample.writer for sample in samples)
    unknown = sorted(writers - known.keys())
    if unknown:
        raise InvalidInput(
            "writers_unknown",
            f"The archive has no writer {_some(unknown)}. Name some of its {len(known):,}: {_some(list(known))}.",
        )
    return tuple(sample for sample in samples if sample.writer in writers)


def _some(writers: list[str]) -> str:
    return ", ".join(writers[:_NAMED]) + (", ..." if len(writers) > _NAMED else "")


def _map_canvases(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A writable array on the disk, its room taken at once: a sparse file on a full disk would end the process."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, math.prod(shape))
    return np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    canvas: Pixels
    digest: str
    pixels: Pixels | None  # only where somebody observes them


class _SampleReader:
    """Reads and prepares one sample; called from several threads."""

    def __init__(self, archive: Archive, preprocessing: Preprocessing, limits: ImageLimits, reading: Reading) -> None:
        self._archive = archive
        self._preprocessing = preprocessing
        self._limits = limits
        self._binary = reading.protocol == "binary-ink"
        self._observed = reading.observe is not None
        self._prober = reading.prober
        self._lock = Lock()

    def __call__(self, sample: Sample) -> tuple[Sample, _Prepared | CountersignError]:
        try:
            pixels = self.pixels(sample)
            canvas = prepare(pixels, self._preprocessing, binary=self._binary)
            return sample, _Prepared(canvas, pixel_digest(pixels), pixels if self._observed else None)
        except CountersignError as error:
            return sample, error

    def pixels(self, sample: Sample) -> Pixels:
        """The image as decoded."""
        data = self._read(sample.entry)
        if self._prober is not None:
            self._prober.check(data)
        return decode(data, limits=self._limits, channels=self._preprocessing.channels)

    def _read(self, name: str) -> bytes:
        with self._lock:  # one position in the archive's file
            entry = self._archive.find(name)
            if entry is None:
                raise UnusableImage("image_missing", f"{name} is not in the archive.")
            return self._archive.read(entry)


class _Kept:
    """The rows so far: samples and digests in their order, and what was left out."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.digests: list[str] = []
        self.skipped: list[Skipped] = []
        self._first: dict[tuple[str, str], int] = {}  # (writer, digest): row
        self._rows: dict[str, int] = {}  # entry: row

    def take(self, sample: Sample, digest: str) -> int | None:
        """The row of a new image; None for one that this writer has already."""
        row = self._first.setdefault((sample.writer, digest), len(self.samples))
        if row < len(self.samples):
            self._leave(sample, self.samples[row], row)
            return None
        self._rows[sample.entry] = row
        self.samples.append(sample)
        self.digests.append(digest)
        return row

    def _leave(self, sample: Sample, other: Sample, row: int) -> None:
        if sample.forged == other.forged:
            self._rows[sample.entry] = row
            self.skipped.append(Skipped(sample.entry, f"the same image as {other.entry}", "image_twice"))
        else:
            kinds = ("forged", "genuine") if sample.forged else ("genuine", "forged")
            reason = f"labelled {kinds[0]}, yet the same image as {other.entry}, labelled {kinds[1]}"
            self.skipped.append(Skipped(sample.entry, reason, "label_contradicts"))

    def pairs(self, listed: Iterable[Pair]) -> ListedPairs:
        """The pairs of which both images are kept, as rows, each once."""
        rows = ((self._rows.get(pair.first), self._rows.get(pair.second), pair.genuine) for pair in listed)
        both = ((a, b, genuine) for a, b, genuine in rows if a is not None and b is not None and a != b)
        return _listed(list(dict.fromkeys(both)))


def _listed(pairs: list[tuple[int, int, bool]]) -> ListedPairs:
    table = np.array(pairs, dtype=np.int64).reshape(-1, 3)
    return ListedPairs(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].astype(np.bool_))


def _summary(layout: Layout, kept: _Kept, pairs: ListedPairs) -> dict[str, Any]:
    """What was detected, for people: layout, counts, and what was left out and why."""
    skipped = kept.skipped + list(layout.skipped)
    summary = {
        "layout": layout.name,
        **count_writers(kept.samples),
        "skipped": len(skipped),
        "skipped_list": shown(skipped),
        "notes": list(layout.notes),
    }
    if layout.pairs:
        genuine = int(pairs.genuine.sum())
        listed = {"genuine": genuine, "forged": len(pairs) - genuine, "left_out": len(layout.pairs) - len(pairs)}
        summary["pairs"] = listed
    return summary


def shown(skipped: list[Skipped]) -> list[dict[str, Any]]:
    """The first of what was left out, as reports keep them."""
    return [
        replace(item, entry=item.entry[:300], reason=item.reason[:300]).as_dict() for item in skipped[:SKIPPED_SHOWN]
    ]
