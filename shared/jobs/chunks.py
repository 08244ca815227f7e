"""Chunks: handed out by lease and fence, recorded once, taken back when a worker goes silent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.db import Database, epoch_now, insert_ignore, passed, utcnow
from shared.jobs.lifecycle import end_if_complete, settle_cancel
from shared.tables import (
    Chunk,
    Embedding,
    Job,
    JobState,
    ModelVersion,
    Region,
    Result,
    Verdict,
)
from shared.tables.base import table_of
from shared.tables.jobs import ChunkState

WAITING = "waiting: "  # begins the phase of a job that the host cannot serve at the moment
REGION_COLUMNS = ("digest", "height", "width", "code", "message")  # what decoding a region finds out


@dataclass(frozen=True, slots=True)
class ChunkClaim:
    """One chunk held. Each write about it repeats ``fence``."""

    id: int
    job_id: int
    first: int
    last: int
    fence: int
    tries: int
    urgent: bool = False  # of a small job, that goes before the large ones


@dataclass(frozen=True, slots=True)
class Claim:
    """Chunks of one model version, possibly of several jobs, that one worker scores in one go."""

    model: ModelVersion
    chunks: tuple[ChunkClaim, ...]


@dataclass(slots=True)
class Scored:
    """What scoring a claim brought: column values for results, regions and embeddings."""

    results: list[dict[str, Any]] = field(default_factory=list)
    regions: list[dict[str, Any]] = field(default_factory=list)  # from :func:`region_values`
    embeddings: list[dict[str, Any]] = field(default_factory=list)


def region_values(region_id: int, **found: Any) -> dict[str, Any]:
    """What was found out about a region, as :func:`record` writes it."""
    return {"region_id": region_id} | {f"new_{name}": found.get(name) for name in REGION_COLUMNS}


_OPEN = (
    Chunk.state.in_((ChunkState.WAITING, ChunkState.CLAIMED)),
    passed(Chunk.lease_until),
    Job.state.in_((JobState.QUEUED, JobState.RUNNING)),
)


URGENT = 0  # the priority of the chunks of small jobs
# One that was tried may kill its worker, and what that worker holds besides would be blamed for it: it waits its turn.
_FRESH_URGENT = (Chunk.priority == URGENT, Chunk.tries == 0)

# Statements made once: of a claim of one comparison, making them anew took longer than running them.
_CHUNKS, _JOBS, _REGIONS = map(table_of, (Chunk, Job, Region))
# Columns, not objects: thousands wait of a night, and each claim looks at as many as it may take.
_OPEN_CHUNKS = (
    sa.select(Chunk.id, Chunk.job_id, Chunk.first, Chunk.last, Chunk.fence, Chunk.tries, Chunk.priority, Job.model_id)
    .join(Job)
    .where(*_OPEN)
    .order_by(Chunk.priority, Chunk.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_OPEN_URGENT = _OPEN_CHUNKS.where(*_FRESH_URGENT)
_THESE_CHUNKS = _CHUNKS.c.id.in_(sa.bindparam("ids", expanding=True))
_LOCKED = (
    sa.select(_CHUNKS.c.id, _CHUNKS.c.fence)
    .where(_THESE_CHUNKS, _CHUNKS.c.state.in_(sa.bindparam("states", expanding=True)))
    .order_by(_CHUNKS.c.job_id, _CHUNKS.c.id)
    .with_for_update()
)
_TAKE = (
    sa.update(_CHUNKS)
    .where(_THESE_CHUNKS)
    .values(
        state=ChunkState.CLAIMED,
        owner=sa.bindparam("new_owner"),
        lease_until=epoch_now() + sa.bindparam("lease", type_=sa.Double()),
        fence=_CHUNKS.c.fence + 1,
        tries=_CHUNKS.c.tries + 1,
    )
)
_DONE = sa.update(_CHUNKS).where(_THESE_CHUNKS).values(state=ChunkState.DONE, lease_until=0.0, owner=None)
_THESE_JOBS = _JOBS.c.id.in_(sa.bindparam("ids", expanding=True))
_START = (
    sa.update(_JOBS)
    .where(_THESE_JOBS, _JOBS.c.state == JobState.QUEUED)
    .values(
        state=JobState.RUNNING,
        started_at=sa.func.coalesce(_JOBS.c.started_at, sa.bindparam("now", type_=_JOBS.c.started_at.type)),
    )
)
_MODEL = sa.select(ModelVersion).join(Job, Job.model_id == ModelVersion.id).where(Job.id == sa.bindparam("job"))
_CANCELLING = sa.select(_JOBS.c.id).where(_THESE_JOBS, _JOBS.c.state == JobState.CANCELLING)
_FOUND = (
    sa.update(_REGIONS)
    .where(_REGIONS.c.id == sa.bindparam("region_id"))
    .values({name: sa.bindparam(f"new_{name}") for name in REGION_COLUMNS})
)
_COUNT = (
    sa.update(_JOBS)
    .where(_JOBS.c.id == sa.bindparam("of"))
    .values(
        done=_JOBS.c.done + sa.bindparam("rows"),
        chunks_left=_JOBS.c.chunks_left - sa.bindparam("chunks"),
        phase=sa.case((_JOBS.c.phase.startswith(WAITING), ""), else_=_JOBS.c.phase),  # it waits no longer
        **{verdict.value: _JOBS.c[verdict.value] + sa.bindparam(f"new_{verdict.value}") for verdict in Verdict},
    )
)


def urgent_waiting(database: Database) -> bool:
    """Whether a small job that nobody tried waits for a worker."""
    with database.look() as connection:
        return connection.scalar(_OPEN_URGENT, {"most": 1}) is not None


def claim_chunks(
    database: Database, owner: str, lease: float, most_rows: int, only_urgent: bool = False
) -> Claim | None:
    """Take waiting or abandoned chunks, small jobs first, all of one model version; None when there are none.

    ``only_urgent`` is for one who holds another claim meanwhile: chunks of small jobs that were never tried.

    A chunk that was tried before may be the one that kills its worker: it is claimed alone, so that no other is
    blamed for it.
    """
    while True:
        # Chosen without a lock: who looks and finds nothing keeps nobody from writing, and that is most of those who
        # are rung for.
        with database.read() as session:
            candidates = _candidates(session, most_rows, only_urgent)
        if not candidates:
            return None
        fresh = [candidate for candidate in candidates if candidate.tries == 1]
        wanted = candidates[:1] if candidates[0].tries > 1 else fresh
        with database.write(lasting=False) as session:  # a power cut ends the worker as well
            held = _take(session, wanted, owner, lease)  # another worker may have been quicker; then the next are tried
            if held:
                started = {"ids": sorted({claim.job_id for claim in held}), "now": utcnow()}
                session.connection().execute(_START, started)
                return Claim(session.scalars(_MODEL, {"job": held[0].job_id}).one(), held)


def _candidates(session: Session, most_rows: int, only_urgent: bool) -> list[ChunkClaim]:
    """Open chunks of the first one's model version, as many as hold ``most_rows`` rows, at least one."""
    query = _OPEN_URGENT if only_urgent else _OPEN_CHUNKS
    found: list[ChunkClaim] = []
    rows, wanted_model = 0, None
    for chunk in session.connection().execute(query, {"most": max(1, most_rows)}):
        wanted_model = wanted_model or chunk.model_id
        if found and rows + chunk.last - chunk.first + 1 > most_rows:
            break
        if chunk.model_id == wanted_model:
            rows += chunk.last - chunk.first + 1
            place = chunk.id, chunk.job_id, chunk.first, chunk.last
            found.append(ChunkClaim(*place, chunk.fence + 1, chunk.tries + 1, chunk.priority == URGENT))
    return found


def _take(session: Session, wanted: list[ChunkClaim], owner: str, lease: float) -> tuple[ChunkClaim, ...]:
    """Those of ``wanted`` that nobody took meanwhile, now held."""
    fences = _locked(session, wanted, ChunkState.WAITING, ChunkState.CLAIMED)  # not shelved since
    held = tuple(claim for claim in wanted if fences.get(claim.id) == claim.fence - 1)
    if held:
        values = {"ids": [chunk.id for chunk in held], "new_owner": owner, "lease": lease}
        session.connection().execute(_TAKE, values)
    return held


def _locked(session: Session, chunks: Iterable[ChunkClaim], *wanted: ChunkState) -> dict[int, int]:
    """The fences of those chunks that are in one of the states, locked in the one order in which all workers lock them.

    A job's row is locked after its chunks.
    """
    values = {"ids": [chunk.id for chunk in chunks], "states": wanted}
    return dict(session.connection().execute(_LOCKED, values).all())


def _held(claim: ChunkClaim) -> tuple[sa.ColumnElement[bool], ...]:
    return Chunk.id == claim.id, Chunk.fence == claim.fence, Chunk.state == ChunkState.CLAIMED


def renew_chunks(database: Database, claim: Claim, lease: float) -> None:
    """Keep the leases of a claim while it is worked on."""
    with database.write() as session:
        for chunk in _in_order(claim.chunks):
            session.execute(sa.update(Chunk).where(*_held(chunk)).values(lease_until=epoch_now() + lease))


def release_chunks(database: Database, claim: Claim, pause: float = 0.0, reason: str = "") -> None:
    """Hand a claim back; it does not count as a try.

    With ``pause`` nobody takes it up for as many seconds, and the jobs say ``reason`` to those who look.
    """
    job_ids = sorted({chunk.job_id for chunk in claim.chunks})
    with database.write() as session:
        for chunk in _in_order(claim.chunks):
            session.execute(
                sa.update(Chunk)
                .where(*_held(chunk))
                .values(state=ChunkState.WAITING, lease_until=epoch_now() + pause, owner=None, tries=chunk.tries - 1)
            )
        for job_id in job_ids:
            session.execute(sa.update(Job).where(Job.id == job_id).values(rung_at=0.0))
            if reason:
                session.execute(sa.update(Job).where(Job.id == job_id).values(phase=f"{WAITING}{reason}"[:80]))
    for job_id in job_ids:
        settle_cancel(database, job_id)


def _in_order(chunks: Iterable[ChunkClaim]) -> list[ChunkClaim]:
    """In the order in which all lock them."""
    return sorted(chunks, key=lambda chunk: (chunk.job_id, chunk.id))


def split_chunk(database: Database, chunk: ChunkClaim, tries: int) -> bool:
    """Hand a chunk back as two halves, each with ``tries`` behind it, to find the row that kills its worker."""
    middle = (chunk.first + chunk.last) // 2
    first_half = (
        sa.update(Chunk)
        .where(*_held(chunk))
        .values(last=middle, state=ChunkState.WAITING, tries=tries, lease_until=0.0, owner=None)
    )
    with database.write() as session:
        if not session.connection().execute(first_half).rowcount:
            return False
        priority = session.get_one(Chunk, chunk.id).priority
        session.add(Chunk(job_id=chunk.job_id, first=middle + 1, last=chunk.last, tries=tries, priority=priority))
        session.execute(sa.update(Job).where(Job.id == chunk.job_id).values(chunks_left=Job.chunks_left + 1))
    settle_cancel(database, chunk.job_id)
    return True


def record(database: Database, claim: Claim, scored: Scored) -> int:
    """Write what scoring brought, and end the jobs whose last chunk this was. Returns the chunks recorded.

    A chunk whose fence moved on (its lease ran out and another worker took it) is left out: that worker records it.
    """
    with database.write() as session:
        _update_regions(session, scored.regions)
        insert_ignore(session, Embedding, sorted(scored.embeddings, key=lambda row: str(row["digest"])))
        fences = _locked(session, claim.chunks, ChunkState.CLAIMED)
        held = [chunk for chunk in claim.chunks if fences.get(chunk.id) == chunk.fence]
        job_ids = sorted({chunk.job_id for chunk in held})
        if held:
            session.connection().execute(_DONE, {"ids": [chunk.id for chunk in held]})
        rows = _rows_of(held, scored.results)
        insert_ignore(session, Result, [row for job_id in job_ids for row in rows[job_id]])
        done = Counter(chunk.job_id for chunk in held)
        for job_id in job_ids:
            count_results(session, job_id, rows[job_id], chunks_done=done[job_id])
        ended = end_if_complete(session, *job_ids)
        going_on = [job_id for job_id in job_ids if job_id not in ended]
        cancelling = session.scalars(_CANCELLING, {"ids": going_on}).all() if going_on else ()
    for job_id in cancelling:
        settle_cancel(database, job_id)
    return len(held)


def _rows_of(chunks: Iterable[ChunkClaim], results: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Those of ``results`` that are of ``chunks``, by job."""
    found = {(row["job_id"], row["ordinal"]): row for row in results}
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for chunk in chunks:
        places = ((chunk.job_id, ordinal) for ordinal in range(chunk.first, chunk.last + 1))
        rows[chunk.job_id] += [found[place] for place in places if place in found]
    return rows


def _update_regions(session: Session, regions: list[dict[str, Any]]) -> None:
    if regions:
        ordered = sorted(regions, key=lambda region: region["region_id"])  # one order of locks for all workers
        session.connection().execute(_FOUND, ordered)


def count_results(session: Session, job_id: int, rows: list[dict[str, Any]], chunks_done: int = 0) -> None:
    """Add results to the job's counters, in the transaction that inserts them."""
    counts = Counter(row["verdict"] for row in rows)
    values = {f"new_{verdict.value}": counts[verdict] for verdict in Verdict}
    session.connection().execute(_COUNT, values | {"of": job_id, "rows": len(rows), "chunks": chunks_done})
