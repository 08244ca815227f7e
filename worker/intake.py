"""Takes in a batch: manifest rows become comparisons, reference sets, regions and chunks. Flat in memory; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, BinaryIO

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.archives import Archive
from shared.db import insert_ignore
from shared.jobs.chunks import count_results
from shared.jobs.lifecycle import (
    JobClaim,
    claim_job,
    finish_intake,
    must_stop,
    release_job,
    renew_job,
    stop_held,
    tell,
)
from shared.jobs.submit import SMALL_JOB, archive_limits
from shared.manifest import Row, manifest_name, read_manifest
from shared.queue import QueueNames, TaskNames
from shared.tables import Chunk, Comparison, Job, ReferenceSet, Result, Upload, Verdict
from worker.context import Context
from worker.edge import job_edge
from worker.heartbeat import Heartbeat
from worker.naming import REMEMBERED, Naming, faulty, parts

BATCH_ROWS = 2048  # rows in one transaction: enough to be quick, few enough not to keep other writers waiting


def take_in(context: Context, job_id: str) -> None:
    """Read the manifest of a queued verification into the tables; goes on where an earlier try stopped."""
    lease = context.settings.lease_seconds
    claim = claim_job(context.database, job_id, context.owner, lease)
    if claim is None:
        return
    with Heartbeat(lambda: renew_job(context.database, claim, lease), lease), job_edge(context, claim):
        _take_in(context, claim, job_id)


def _take_in(context: Context, claim: JobClaim, job_id: str) -> None:
    with context.database.read() as session:
        job = session.get_one(Job, claim.job_id)
        if job.intake_done:
            release_job(context.database, claim)
            return
        upload = session.get_one(Upload, job.upload_id)
        known = session.scalar(sa.select(sa.func.max(Comparison.ordinal)).where(Comparison.job_id == job.id)) or 0
    with context.store.open(upload.blob) as file:
        intake = _Intake(context, claim, Archive(file, archive_limits(context.settings)), upload.id)
        for first, rows in _numbered(intake.rows(), known):
            if not intake.add(first, rows):
                stop_held(context.database, claim)
                return
            queue = QueueNames.INTERACTIVE if first + len(rows) - 1 <= SMALL_JOB else QueueNames.BATCH
            context.doorbell.ring(TaskNames.SCORE, job_id, queue=queue)
            if context.draining():
                release_job(context.database, claim)
                return
    finish_intake(context.database, claim)


def _numbered(rows: Iterable[Row], known: int) -> Iterator[tuple[int, list[Row]]]:
    """Groups of rows with the ordinal of their first; ``known`` rows are skipped."""
    iterator, first = islice(rows, known, None), known + 1
    while group := list(islice(iterator, BATCH_ROWS)):
        yield first, group
        first += len(group)


class _Intake:
    """One archive being read into the tables of one job."""

    def __init__(self, context: Context, claim: JobClaim, archive: Archive, upload_id: int) -> None:
        self._context = context
        self._claim = claim
        self._archive = archive
        self._manifest = manifest_name(archive)
        self._naming = Naming(archive, self._manifest.rpartition("/")[0], upload_id)
        self._set_ids: dict[str, int] = {}  # of reference sets, by their members

    def rows(self) -> Iterator[Row]:
        """The manifest's rows, in order."""
        stream: BinaryIO
        with self._archive.open_stream(self._manifest) as stream:
            yield from read_manifest(stream, self._context.settings.max_references)

    def add(self, first: int, rows: list[Row]) -> bool:
        """Write one group of rows in one transaction; False when the job should stop."""
        with self._context.database.read() as session:
            checked = self._naming.look_up(session, rows)
        with self._context.database.write() as session:
            # First of all: it locks the job's row and checks the fence, so that a worker whose lease ran out on the
            # way here writes nothing.
            if must_stop(session, self._claim) or not tell(session, self._claim, phase="reading the manifest"):
                return False
            checked = self._refuse_repeated_ids(session, first, self._naming.hold(session, checked))
            region_ids = self._naming.add_regions(session, checked)
            set_ids = self._add_reference_sets(session, checked, region_ids)
            self._add_comparisons(session, first, checked, region_ids, set_ids)
            chunks = self._add_chunks(session, first, len(rows))
            last = first + len(rows) - 1
            return tell(session, self._claim, total=last, chunks_left=Job.chunks_left + chunks)

    def _refuse_repeated_ids(self, session: Session, first: int, rows: list[Row]) -> list[Row]:
        ids = [row.external_id for row in rows if row.external_id]
        seen: dict[str, int | None] = {}
        for part in parts(ids) if first > 1 else ():
            for found in session.execute(with_ids(self._claim.job_id, part)):
                if found.ordinal < first:
                    seen.setdefault(found.external_id, found.line)
        checked = []
        for row in rows:
            if row.external_id and not row.fault and row.external_id in seen:
                line = seen[row.external_id]
                row = faulty(row, "id_repeated", f"the id {row.external_id} is used in line {line} already")
            seen.setdefault(row.external_id, row.line)
            checked.append(row)
        return checked

    def _add_reference_sets(self, session: Session, rows: list[Row], regions: dict[str, int]) -> dict[str, int]:
        if len(self._set_ids) > REMEMBERED:
            self._set_ids.clear()
        fresh = {_members(row, regions) for row in rows if not row.fault} - self._set_ids.keys()
        job_id = self._claim.job_id
        insert_ignore(session, ReferenceSet, [{"job_id": job_id, "members": members} for members in sorted(fresh)])
        for part in parts(fresh):
            query = sa.select(ReferenceSet.members, ReferenceSet.id)
            found = query.where(ReferenceSet.job_id == job_id, ReferenceSet.members.in_(part))
            self._set_ids |= {row[0]: row[1] for row in session.execute(found)}
        return self._set_ids

    def _add_comparisons(
        self, session: Session, first: int, rows: list[Row], regions: dict[str, int], sets: dict[str, int]
    ) -> None:
        comparisons: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        for ordinal, row in enumerate(rows, first):
            key: dict[str, Any] = {"job_id": self._claim.job_id, "ordinal": ordinal}
            usable = row.questioned is not None and not row.fault
            comparisons.append(
                key
                | {
                    "external_id": row.external_id,
                    "tag": row.tag,
                    "line": row.line,
                    "questioned_id": regions[row.questioned.name] if usable and row.questioned else None,
                    "reference_set_id": sets[_members(row, regions)] if usable else None,
                }
            )
            if row.fault:
                results.append(
                    key | {"verdict": Verdict.UNSCORABLE, "code": row.fault.code, "message": row.fault.message}
                )
        insert_ignore(session, Comparison, comparisons)
        insert_ignore(session, Result, results)
        count_results(session, self._claim.job_id, results)

    def _add_chunks(self, session: Session, first: int, count: int) -> int:
        size = self._context.settings.chunk_rows
        priority = 0 if first == 1 and count <= SMALL_JOB else 1
        starts = range(first, first + count, size)
        end = first + count - 1
        session.add_all(
            Chunk(job_id=self._claim.job_id, first=start, last=min(start + size - 1, end), priority=priority)
            for start in starts
        )
        return len(starts)


def with_ids(job_id: int, ids: list[str]) -> sa.Select[str, int | None, int]:
    """The id, line and ordinal of a job's rows with these ids.

    In the order of the index of ids, and without a word on ordinals: asked otherwise, SQLite goes through all rows of
    the job, for each 500 of a million.
    """
    columns = (Comparison.external_id, Comparison.line, Comparison.ordinal)
    wanted = sa.select(*columns).where(Comparison.job_id == job_id, Comparison.external_id.in_(ids))
    return wanted.order_by(Comparison.external_id, Comparison.ordinal)


def _members(row: Row, regions: dict[str, int]) -> str:
    return ",".join(str(regions[ref.name]) for ref in row.references)
