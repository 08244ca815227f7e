"""A night's batch, and the question each fault test ends with: are the answers those of an undisturbed run?"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count

import pytest
import sqlalchemy as sa

from shared.db import Database
from shared.jobs import queries
from shared.tables import Chunk, Job, Result
from shared.tables.jobs import ChunkState
from tests.factories import ModelFile, batch_of, png
from tests.servers import Stack
from web.client import Document, Files

IMAGES = 160
ROWS = 240
_numbers = count(1)

Answer = tuple[str, str, str | None, list[float | None]]


def night_batch(extra: Sequence[tuple[object, ...]] = (), more: dict[str, bytes] | None = None) -> bytes:
    """A batch in which every claim meets new images, with rows that cannot be scored, and one of equal images.

    The rows ``extra`` stand in the middle of the others; they may name the images ``more``.
    """
    images = {f"{number}.png": png(number) for number in range(IMAGES)}
    rows: list[tuple[object, ...]] = [
        (n, f"{n % IMAGES}.png", f"{(n + 1) % IMAGES}.png|{(n + 2) % IMAGES}.png") for n in range(ROWS)
    ]
    rows[ROWS // 2 : ROWS // 2] = extra
    rows += [("equal", "1.png", "1.png"), ("gone", "1.png", "none.png"), ("0", "2.png", "3.png")]
    return batch_of(*rows, images=images | (more or {}))


@dataclass
class Night:
    """A stack for faults, its database, and what an undisturbed run of :func:`night_batch` answers."""

    stack: Stack
    database: Database
    model: ModelFile
    batch: bytes = field(default_factory=night_batch)
    expected: list[Answer] = field(default_factory=list)
    compared: int = 0  # rows that were held against those of an undisturbed run

    def submit(self, batch: bytes | None = None, kind: str = "verify", key: str = "", **fields: str) -> Document:
        """Queue a batch for a model version of its own, so that no embedding is known yet."""
        if kind == "verify" and "model" not in fields:
            fields["model"] = f"m{next(_numbers)}"
            self.stack.add_model(replace(self.model, name=fields["model"]))
        files: Files = [("archive", ("batch.zip", io.BytesIO(batch or self.batch), "application/zip"))]
        with self.stack.client() as client:
            return client.submit(kind, fields, files, key)

    def answers(self, job: Document) -> list[Answer]:
        """(id, verdict, code, distances) of all results, in order, as a caller of the API gets them."""
        with self.stack.client() as client:
            rows = list(client.results(job["id"]))
        return [(row["id"], row["verdict"], row["code"], row["distances"] or []) for row in rows]

    def answers_from_database(self, job: Document) -> list[Answer]:
        """The same, while the web server may be away."""
        with self.database.read() as session:
            found, _ = queries.answers(session, self.job(job).id, 0, 10**6)
        return [
            (
                answer.comparison.external_id,
                answer.result.verdict if answer.result else "",
                answer.result.code if answer.result else None,
                (answer.result.distances if answer.result else None) or [],
            )
            for answer in found
        ]

    def job(self, job: Document) -> Job:
        """The job's row as it is now."""
        with self.database.read() as session:
            return session.scalars(sa.select(Job).where(Job.public_id == job["id"])).one()

    def chunks(self, job: Document, *states: ChunkState) -> list[Chunk]:
        """The job's chunks as they are now, those of ``states`` if any are given."""
        query = sa.select(Chunk).join(Job).where(Job.public_id == job["id"]).order_by(Chunk.first)
        with self.database.read() as session:
            return list(session.scalars(query.where(Chunk.state.in_(states)) if states else query))

    def results(self, job: Document) -> int:
        """How many results the job has now."""
        query = sa.select(sa.func.count()).select_from(Result).join(Job, Job.id == Result.job_id)
        with self.database.read() as session:
            return session.scalar(query.where(Job.public_id == job["id"])) or 0

    def ends_undisturbed(self, job: Document) -> None:
        """Wait for the job's end; its rows, each once, and their numbers are those of an undisturbed run."""
        assert self.stack.ended(job["id"])["state"] == "succeeded"
        self.same(self.answers(job))
        self.nothing_lost_or_twice(job, len(self.expected))

    def same(self, found: list[Answer]) -> None:
        """Every row once, in order, with the same verdict, code and distances (as far as a float32 is the same)."""
        self.compared += len(found)
        assert [answer[:3] for answer in found] == [answer[:3] for answer in self.expected]
        distances = [pytest.approx(answer[3], rel=1e-4, abs=1e-5) for answer in self.expected]
        assert [answer[3] for answer in found] == distances

    def nothing_lost_or_twice(self, job: Document, rows: int) -> None:
        """The counters of a job that succeeded agree with its rows, and no work of it is left."""
        row = self.job(job)
        assert (row.total, row.done, row.chunks_left) == (rows, rows, 0)
        assert row.accept + row.review + row.reject + row.unscorable == rows
        assert self.results(job) == rows
        assert {chunk.state for chunk in self.chunks(job)} == {ChunkState.DONE}


@contextmanager
def a_night(stack: Stack, model: ModelFile) -> Iterator[Night]:
    """A running stack with the answers of an undisturbed run."""
    database = stack.database()
    night = Night(stack, database, model)
    try:
        job = night.submit()
        assert stack.ended(job["id"])["state"] == "succeeded"
        night.expected = night.answers(job)
        night.nothing_lost_or_twice(job, ROWS + 3)
        yield night
    finally:
        database.close()


def rows_of(chunks: list[Chunk]) -> int:
    """How many comparisons chunks hold."""
    return sum(chunk.last - chunk.first + 1 for chunk in chunks)
