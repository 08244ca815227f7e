"""Regions to embeddings: each distinct image once, preparation in threads while the network works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import CountersignError, Fault, Unavailable, UnusableImage
from shared.jobs.chunks import Scored, region_values
from shared.jobs.work import RegionSource, Work, load_embeddings, load_sources
from shared.specs import Preprocessing
from worker.ahead import ahead
from worker.context import Context
from worker.ml.embedder import Embedder
from worker.ml.images import pixel_digest, prepare
from worker.regions import RegionReader

PREPARE_THREADS = 2
BATCH = 64  # canvases handed to the network's streams in one go
AHEAD = 3 * BATCH  # regions being prepared before the network asks for them

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What preparation made of one region: a canvas, or what is wrong with it."""

    region_id: int
    digest: str | None = None
    shape: tuple[int, int] = (0, 0)
    canvas: NDArray[np.uint8] | None = None
    fault: Fault | None = None
    lasting: bool = True


@dataclass(slots=True)
class Encoded:
    """Embeddings by digest, the digest of each region, and the faults of those that have none."""

    vectors: dict[str, Floats] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)


class Interrupted(Exception):
    """The worker is being stopped, or nobody waits for the result any more."""


def encode(
    context: Context, model_id: int, embedder: Embedder, work: Work, scored: Scored, check: Callable[[], None]
) -> Encoded:
    """Find or make the embedding of every region of ``work``; new ones are added to ``scored``.

    ``check`` is called between batches and may raise :class:`Interrupted`; ``scored`` then holds what was done.
    """
    encoded = Encoded(stored_embeddings(context, model_id, set(work.digests.values())), work.digests, work.faults)
    unknown = {region_id for region_id, digest in work.digests.items() if digest not in encoded.vectors}
    if not unknown and not work.unread:
        return encoded
    with context.database.read() as session:
        missing = list(load_sources(session, unknown | work.unread).values())

    def prepare_one(source: RegionSource) -> Prepared:
        return _prepare(reader, source, embedder.preprocessing)

    begun: set[str] = set()

    def batches() -> Iterator[tuple[list[str], NDArray[np.uint8]]]:
        while batch := list(islice(prepared, BATCH)):
            fresh = _take_prepared(batch, encoded, scored)
            encoded.vectors |= stored_embeddings(context, model_id, set(fresh))  # known from another upload
            unknown = [digest for digest in fresh if digest not in encoded.vectors and digest not in begun]
            begun.update(unknown)
            if not unknown:
                check()
                continue
            each = -(-len(unknown) // embedder.streams)  # as many for each, so that none ends before the others
            for digests in (unknown[start : start + each] for start in range(0, len(unknown), each)):
                yield digests, np.stack([fresh[digest] for digest in digests])

    with (
        RegionReader(context.settings, context.store) as reader,
        ahead(prepare_one, missing, PREPARE_THREADS, AHEAD) as prepared,
        closing(embedder.embed_each(batches())) as embedded,
    ):
        for digests, vectors in embedded:
            for digest, vector in zip(digests, vectors, strict=True):
                encoded.vectors[digest] = vector
                scored.embeddings.append(embedding_values(model_id, digest, vector))
            check()
    return encoded


def stored_embeddings(context: Context, model_id: int, digests: set[str]) -> dict[str, Floats]:
    """What the model's encoder made of these digests before, where it did."""
    with context.database.read() as session:
        stored = load_embeddings(session, model_id, digests)
    return {digest: np.frombuffer(vector, dtype="<f4") for digest, vector in stored.items()}


def _prepare(reader: RegionReader, source: RegionSource, preprocessing: Preprocessing) -> Prepared:
    region_id = source.id
    try:
        pixels = reader.pixels(source, preprocessing.channels)
        canvas = prepare(pixels, preprocessing)
    except Unavailable:
        raise  # the host's trouble: the work waits for it
    except CountersignError as error:
        # Only what is wrong with the image itself is remembered; a file that is away may be back at a retry.
        lasting = isinstance(error, UnusableImage)
        return Prepared(region_id, fault=Fault(error.code, error.message), lasting=lasting)
    return Prepared(region_id, pixel_digest(pixels), (pixels.shape[0], pixels.shape[1]), canvas)


def _take_prepared(batch: list[Prepared], encoded: Encoded, scored: Scored) -> dict[str, NDArray[np.uint8]]:
    """Note digests and faults of a batch; returns the canvases whose embedding is not at hand, by digest."""
    fresh: dict[str, NDArray[np.uint8]] = {}
    for item in batch:
        if item.fault:
            encoded.faults[item.region_id] = item.fault
            if item.lasting:
                scored.regions.append(region_values(item.region_id, code=item.fault.code, message=item.fault.message))
            continue
        if item.digest is None or item.canvas is None:
            raise TypeError("a prepared region without a fault has a digest and a canvas")
        encoded.digests[item.region_id] = item.digest
        height, width = item.shape
        scored.regions.append(region_values(item.region_id, digest=item.digest, height=height, width=width))
        if item.digest not in encoded.vectors:
            fresh[item.digest] = item.canvas
    return fresh


def embedding_values(model_id: int, digest: str, vector: Floats) -> dict[str, Any]:
    """The row of the table ``embeddings`` that keeps ``vector``."""
    return {"model_id": model_id, "digest": digest, "vector": vector.astype("<f4", copy=False).tobytes()}
