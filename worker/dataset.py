"""A training archive as arrays: every usable image prepared once, into a memory-mapped file."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.archives import Archive
from shared.errors import CountersignError, TrainingFailed, UnusableImage
from shared.specs import Preprocessing
from worker.ahead import ahead
from worker.ml.images import ImageLimits, decode, pixel_digest, prepare
from worker.ml.layouts import Layout, Sample, detect

PREPARE_THREADS = 2
AHEAD = 256  # images prepared before they are asked for
SKIPPED_SHOWN = 50
TELL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Dataset:
    """``canvases`` uint8 (N, H, W); ``writers``, ``digests`` and ``entries`` are N each; ``forged`` bool (N,)."""

    canvases: NDArray[np.uint8]
    writers: list[str]
    forged: NDArray[np.bool_]
    digests: list[str]
    entries: list[str]
    summary: dict[str, Any]


def read_dataset(
    archive: Archive,
    preprocessing: Preprocessing,
    limits: ImageLimits,
    folder: Path,
    progress: Callable[[int, int], None],
) -> Dataset:
    """Detect the layout, and prepare every image it names; those that cannot be used are listed with the reason.

    ``progress(done, total)`` is called now and then; what it raises stops the reading.

    Raises:
        TrainingFailed: codes ``no_images``, ``layout_unknown``.
    """
    layout = detect(archive.names())
    samples = layout.samples
    shape = (len(samples), preprocessing.height, preprocessing.width)
    canvases = _map_canvases(folder / "canvases.u8", shape)
    reader = _SampleReader(archive, preprocessing, limits)
    kept: list[tuple[Sample, str]] = []
    skipped: list[dict[str, str]] = []
    told = 0.0
    with ahead(reader, samples, PREPARE_THREADS, AHEAD) as prepared:
        for done, (sample, outcome) in enumerate(prepared, 1):
            if isinstance(outcome, CountersignError):
                skipped.append({"entry": sample.entry, "code": outcome.code, "reason": outcome.message})
            else:
                canvases[len(kept)], digest = outcome
                kept.append((sample, digest))
            if time.monotonic() - told > TELL_SECONDS or done == len(samples):
                told = time.monotonic()
                progress(done, len(samples))
    if not kept:
        raise TrainingFailed(
            "no_images", f"None of the {len(samples)} images can be read. The first: {skipped[0]['reason']}"
        )
    return Dataset(
        canvases=canvases[: len(kept)],
        writers=[sample.writer for sample, _ in kept],
        forged=np.array([sample.forged for sample, _ in kept]),
        digests=[digest for _, digest in kept],
        entries=[sample.entry for sample, _ in kept],
        summary=_summary(layout, [sample for sample, _ in kept], skipped),
    )


def _map_canvases(path: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A writable array on the disk, its room taken at once: a sparse file on a full disk would end the process."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, math.prod(shape))
    return np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)


class _SampleReader:
    """Reads and prepares one sample; called from several threads."""

    def __init__(self, archive: Archive, preprocessing: Preprocessing, limits: ImageLimits) -> None:
        self._archive = archive
        self._preprocessing = preprocessing
        self._limits = limits
        self._lock = Lock()

    def __call__(self, sample: Sample) -> tuple[Sample, tuple[NDArray[np.uint8], str] | CountersignError]:
        try:
            pixels = decode(self._read(sample.entry), limits=self._limits)
            return sample, (prepare(pixels, self._preprocessing), pixel_digest(pixels))
        except CountersignError as error:
            return sample, error

    def _read(self, name: str) -> bytes:
        with self._lock:  # one position in the archive's file
            entry = self._archive.find(name)
            if entry is None:
                raise UnusableImage("image_missing", f"{name} is not in the archive.")
            return self._archive.read(entry)


def _summary(layout: Layout, kept: list[Sample], skipped: list[dict[str, str]]) -> dict[str, Any]:
    """What was detected, for people: layout, counts, and what was left out and why."""
    others = [{"entry": item.entry, "code": "not_a_sample", "reason": item.reason} for item in layout.skipped]
    forged = sum(sample.forged for sample in kept)
    return {
        "layout": layout.name,
        "writers": len({sample.writer for sample in kept}),
        "genuine": len(kept) - forged,
        "forged": forged,
        "skipped": len(skipped) + len(others),
        "skipped_list": (skipped + others)[:SKIPPED_SHOWN],
    }
