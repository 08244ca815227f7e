"""What a claim is about: its comparisons, and what is known of their images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.errors import Fault
from shared.jobs.chunks import ChunkClaim, Claim
from shared.tables import Comparison, Embedding, ReferenceSet, Region
from shared.tables.images import Upload

LOOKUP = 500  # values in one IN (...)

Id = TypeVar("Id", int, str)

# Made once. Rows without a questioned image have had their answers since intake.
_ROWS = (
    sa.select(Comparison.job_id, Comparison.ordinal, Comparison.questioned_id, ReferenceSet.members)
    .join(ReferenceSet, ReferenceSet.id == Comparison.reference_set_id)
    .where(Comparison.questioned_id.is_not(None))
    .order_by(Comparison.job_id, Comparison.ordinal)
)
_RUN = _ROWS.where(
    Comparison.job_id == sa.bindparam("job"),
    Comparison.ordinal.between(sa.bindparam("first"), sa.bindparam("last")),
)
_SMALL = _ROWS.where(Comparison.job_id.in_(sa.bindparam("jobs", expanding=True)))
# Columns, not objects: of an image whose embedding is stored nothing else is needed.
_KNOWN = sa.select(Region.id, Region.digest, Region.code, Region.message).where(
    Region.id.in_(sa.bindparam("ids", expanding=True))
)
_SOURCES = (
    sa.select(
        Region.id, Region.entry, Region.offset, Region.packed_size, Region.size, Region.method, Region.crc, Region.page,
        Region.box, Upload.blob,
    )
    .join(Upload)
    .where(Region.id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(Region.id)
)  # fmt: skip
_VECTORS = sa.select(Embedding.digest, Embedding.vector).where(
    Embedding.model_id == sa.bindparam("model"), Embedding.digest.in_(sa.bindparam("digests", expanding=True))
)


@dataclass(frozen=True, slots=True)
class Pending:
    """One comparison to score: region ids of the questioned image and its references, in order."""

    job_id: int
    ordinal: int
    questioned_id: int
    reference_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RegionSource:
    """Which pixels a region is, and where their bytes lie: columns of :class:`Region`, and the blob of its upload."""

    id: int
    entry: str
    offset: int | None
    packed_size: int | None
    size: int | None
    method: int | None
    crc: int | None
    page: int
    box: str | None
    blob: str


@dataclass(slots=True)
class Work:
    """The comparisons of a claim, and each of their regions in one of three: decoded before, unusable, or unread."""

    pending: list[Pending]
    digests: dict[int, str] = field(default_factory=dict)  # by region id, of the decoded pixels
    faults: dict[int, Fault] = field(default_factory=dict)
    unread: set[int] = field(default_factory=set)


def load_work(session: Session, claim: Claim) -> Work:
    """The comparisons of a claim that can be scored, and what is known of their regions."""
    large = [chunk for chunk in claim.chunks if not chunk.urgent]
    small = [chunk for chunk in claim.chunks if chunk.urgent]
    work = Work([pending for job_id, first, last in _runs(large) for pending in _rows(session, job_id, first, last)])
    work.pending += _rows_of_small(session, small)
    wanted = {p.questioned_id for p in work.pending} | {r for p in work.pending for r in p.reference_ids}
    for part in _parts(wanted):
        for region_id, digest, code, message in session.connection().execute(_KNOWN, {"ids": part}):
            if code:
                work.faults[region_id] = Fault(code, message or "")
            elif digest:
                work.digests[region_id] = digest
            else:
                work.unread.add(region_id)
    return work


def _runs(chunks: Iterable[ChunkClaim]) -> Iterator[tuple[int, int, int]]:
    """Job, first and last row of what neighbouring chunks make together: one query each."""
    for job_id, own in groupby(sorted(chunks, key=lambda c: (c.job_id, c.first)), key=lambda c: c.job_id):
        first, last = 0, -1
        for chunk in own:
            if first and chunk.first != last + 1:
                yield job_id, first, last
                first = 0
            first, last = first or chunk.first, chunk.last
        yield job_id, first, last


def _rows(session: Session, job_id: int, first: int, last: int) -> Iterator[Pending]:
    values = {"job": job_id, "first": first, "last": last}
    return map(_pending, session.connection().execute(_RUN, values))


def _rows_of_small(session: Session, chunks: Iterable[ChunkClaim]) -> list[Pending]:
    """One query for many small jobs: all of their comparisons, of which other workers may hold some."""
    places = {(chunk.job_id, ordinal) for chunk in chunks for ordinal in range(chunk.first, chunk.last + 1)}
    found: list[Pending] = []
    for part in _parts({job_id for job_id, _ in places}):
        found += map(_pending, session.connection().execute(_SMALL, {"jobs": part}))
    return [pending for pending in found if (pending.job_id, pending.ordinal) in places]


def _pending(row: Sequence[Any]) -> Pending:
    job_id, ordinal, questioned_id, members = row
    return Pending(job_id, ordinal, questioned_id, tuple(map(int, members.split(","))))


def load_sources(session: Session, ids: Iterable[int]) -> dict[int, RegionSource]:
    """Where regions lie, by id, in its order."""
    sources: dict[int, RegionSource] = {}
    for part in _parts(ids):
        sources |= {row.id: _source(row) for row in session.connection().execute(_SOURCES, {"ids": part})}
    return sources


def _source(row: Sequence[Any]) -> RegionSource:
    return RegionSource(*row)


def load_embeddings(session: Session, model_id: int, digests: Iterable[str]) -> dict[str, bytes]:
    """The embeddings already stored for a model version, by digest."""
    known: dict[str, bytes] = {}
    for part in _parts(digests):
        known.update(session.connection().execute(_VECTORS, {"model": model_id, "digests": part}).all())
    return known


def _parts(values: Iterable[Id]) -> Iterator[list[Id]]:
    ordered = sorted(values)
    for start in range(0, len(ordered), LOOKUP):
        yield ordered[start : start + LOOKUP]
