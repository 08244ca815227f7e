"""The gallery of an identification: the images of its categories, each represented once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.archives import Archive
from shared.db import insert_ignore
from shared.errors import CountersignError, Fault, InvalidInput, UnusableImage
from shared.specs import Preprocessing
from shared.tables import Embedding, ModelVersion
from worker.ahead import ahead
from worker.context import Context
from worker.encoding import AHEAD, BATCH, PREPARE_THREADS, Floats, embedding_values, stored_embeddings
from worker.ml.embedder import Embedder
from worker.ml.images import ImageLimits, decode, pixel_digest, prepare
from worker.probing import Prober

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What preparation made of one entry: a canvas and the digest of its pixels, or what is wrong with it."""

    entry: str
    digest: str = ""
    canvas: NDArray[np.uint8] | None = None
    fault: Fault | None = None


class EntryReader:
    """Reads and prepares one entry of an archive; called from several threads.

    ``prober`` tries each image out first, so that one that kills its decoder is answered like any that is damaged.
    """

    def __init__(
        self, archive: Archive, preprocessing: Preprocessing, limits: ImageLimits, prober: Prober | None = None
    ) -> None:
        self._archive, self._prober = archive, prober
        self._preprocessing = preprocessing
        self._limits = limits
        self._lock = Lock()

    def __call__(self, entry: str) -> Prepared:
        try:
            data = self._read(entry)
            if self._prober is not None:
                self._prober.check(data)
            pixels = decode(data, limits=self._limits, channels=self._preprocessing.channels)
            return Prepared(entry, pixel_digest(pixels), prepare(pixels, self._preprocessing))
        except CountersignError as error:
            return Prepared(entry, fault=Fault(error.code, error.message, entry))

    def _read(self, name: str) -> bytes:
        with self._lock:  # one position in the archive's file
            entry = self._archive.find(name)
            if entry is None:
                raise UnusableImage("image_missing", f"{name} is not in the archive.")
            return self._archive.read(entry)


class Representer:
    """Representations of prepared images by one model version: those stored before, and the rest made anew."""

    def __init__(self, context: Context, model: ModelVersion, embedder: Embedder) -> None:
        self._context = context
        self._model_id = model.id
        self._embedder = embedder

    def represent(self, batch: Iterable[Prepared]) -> tuple[dict[str, Floats], Rows]:
        """Those of a batch by digest, and the new ones as rows of the table ``embeddings``, to be written."""
        canvases = {item.digest: item.canvas for item in batch if item.canvas is not None}
        vectors = stored_embeddings(self._context, self._model_id, set(canvases))
        missing = sorted(digest for digest in canvases if digest not in vectors)
        if missing:
            made = self._embedder.embed(np.stack([canvases[digest] for digest in missing]))
            vectors |= dict(zip(missing, made, strict=True))
        return vectors, [embedding_values(self._model_id, digest, vectors[digest]) for digest in missing]

    def keep(self, fresh: Rows) -> None:
        """Write new representations."""
        with self._context.database.write() as session:
            insert_ignore(session, Embedding, fresh)


@dataclass(frozen=True, slots=True)
class Gallery:
    """The categories in use, and their M images as the first M of ``rows``; the rest is room for one batch of tests.

    ``numbers`` counts the categories from 0 in the order of their names; ``owner`` is the category of each image.
    ``entries`` are by digest of the pixels. ``empty`` are the categories without a usable image.
    """

    numbers: dict[str, int]
    names: list[str]
    empty: list[str]
    owner: NDArray[np.int64]  # (M,)
    rows: Floats  # (M + BATCH at least, R)
    entries: dict[str, str]
    faults: list[Fault]


@dataclass(slots=True)
class _Growing:
    """A gallery while its images are read; ``most`` is how many there may come to be."""

    path: Path
    most: int
    rows: Floats | None = None
    kept: list[Prepared] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def add(self, item: Prepared, vectors: dict[str, Floats]) -> None:
        if item.fault:
            self.faults.append(item.fault)
            return
        vector = vectors[item.digest]
        if self.rows is None:
            self.rows = _map_rows(self.path, self.most + BATCH, len(vector))
        self.rows[len(self.kept)] = vector
        self.kept.append(Prepared(item.entry, item.digest))


def build_gallery(
    categories: dict[str, tuple[str, ...]],
    reader: EntryReader,
    representer: Representer,
    folder: Path,
    progress: Callable[[int, int], None],
) -> Gallery:
    """Read and represent the images of ``categories`` (entries by name); those that cannot be used are in ``faults``.

    ``progress(done, total)`` is called after each batch; what it raises stops the reading.

    Raises:
        InvalidInput: code ``no_categories``, when none of the images can be used.
    """
    owners = {entry: name for name, entries in categories.items() for entry in entries}
    growing = _Growing(folder / "rows.f4", len(owners))
    done = 0
    with ahead(reader, owners, PREPARE_THREADS, AHEAD) as prepared:
        while batch := list(islice(prepared, BATCH)):
            vectors, fresh = representer.represent(batch)
            representer.keep(fresh)
            for item in batch:
                growing.add(item, vectors)
            done += len(batch)
            progress(done, len(owners))
    if growing.rows is None:
        first = growing.faults[0]
        told = f"No image of a category can be used. The first of {len(owners)}, {first.where}: {first.message}"
        raise InvalidInput("no_categories", told, tuple(growing.faults))
    names = sorted({owners[item.entry] for item in growing.kept})
    numbers = {name: number for number, name in enumerate(names)}
    return Gallery(
        numbers=numbers,
        names=names,
        empty=[name for name in categories if name not in numbers],
        owner=np.array([numbers[owners[item.entry]] for item in growing.kept], np.int64),
        rows=growing.rows,
        entries={item.digest: item.entry for item in reversed(growing.kept)},
        faults=growing.faults,
    )


def _map_rows(path: Path, count: int, width: int) -> Floats:
    """A writable array (count, width) on the disk, its room taken at once: a full disk must say so here."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, math.prod((count, width, 4)))
    return np.memmap(path, dtype=np.float32, mode="r+", shape=(count, width))
