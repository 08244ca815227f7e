"""Known images: the manifest names digests whose embeddings are stored, so that only the database has work."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from benchmarks.speed.processes import largest_growth, peaks
from benchmarks.speed.row import Plan, Row, Sample, Subject
from benchmarks.speed.samples import Pairs
from benchmarks.speed.service import Service, service
from shared.db import Database
from shared.jobs.uploads import add_upload
from shared.tables import Embedding, Job, ModelVersion, Region, Result
from worker.ml.compare import euclidean

MODEL, WIDTH = "compact", 128
IMAGES = 20_000
FEW, MANY = 100_000, 1_000_000  # comparisons
NEAR = 1e-4  # how far an answer may be from the same distance computed here, as a share of it


class KnownImages:
    """Regions whose embeddings are stored, put straight into the tables: how they came there is not measured."""

    def __init__(self, database: Database, count: int = IMAGES) -> None:
        random = np.random.default_rng(3)
        self._random = random
        self.vectors = random.standard_normal((count, WIDTH), np.float32)
        self.digests = [f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}" for number in range(count)]
        with database.write() as session:
            upload = add_upload(session, "uploads/known", "", 0, "known.zip")
            model_id = session.scalars(sa.select(ModelVersion.id).where(ModelVersion.name == MODEL)).one()
            size = {"upload_id": upload.id, "height": 100, "width": 300}
            regions = [
                size | {"name": f"{place}#1", "entry": str(place), "digest": digest}
                for place, digest in enumerate(self.digests)
            ]
            embeddings = [
                {"model_id": model_id, "digest": digest, "vector": vector.tobytes()}
                for digest, vector in zip(self.digests, self.vectors, strict=True)
            ]
            session.execute(sa.insert(Region), regions)
            session.execute(sa.insert(Embedding), embeddings)

    def pairs(self, comparisons: int) -> tuple[Pairs, NDArray[np.float32]]:
        """Pairs of different images by digest, at random, and their distances."""
        count = len(self.digests)
        first = self._random.integers(count, size=comparisons)
        second = (first + self._random.integers(1, count, size=comparisons)) % count
        named = [(self.digests[one], self.digests[two]) for one, two in zip(first, second, strict=True)]
        return named, euclidean(self.vectors, first, second)


def verify_known(stack: Service, known: KnownImages, comparisons: int) -> float:
    """Seconds from the submit call to the last result readable; every distance is checked afterwards."""
    pairs, expected = known.pairs(comparisons)
    seconds = stack.seconds(MODEL, {}, pairs)
    seen = stored_distances(stack)
    if len(seen) != comparisons or not np.allclose(seen, expected, rtol=NEAR):
        raise RuntimeError(f"{comparisons} distances were expected, {len(seen)} are there, or they are others")
    return seconds


def stored_distances(stack: Service) -> NDArray[np.float64]:
    """The distances of the newest job, in the order of its rows."""
    database = stack.database()
    try:
        with database.read() as session:
            newest = sa.select(sa.func.max(Job.id)).scalar_subquery()
            query = sa.select(Result.distance).where(Result.job_id == newest).order_by(Result.ordinal)
            return np.array(session.scalars(query).all(), np.float64)
    finally:
        database.close()


def bare_insert(folder: Path, rows: int) -> float:
    """Rows per second that SQLite itself takes of a table and indexes like ``results``, in transactions of 10,000."""
    database = Database(f"sqlite:///{folder / 'bare.db'}")
    database.migrate()
    database.close()
    connection = sqlite3.connect(folder / "bare.db")
    insert = (
        "INSERT INTO results (job_id, ordinal, verdict, distance, distances, nearest, threshold, scale, model_id) "
        "VALUES (1, ?, 'reject', ?, ?, 0, 1.0, 'distance', 1)"
    )
    started = time.perf_counter()
    for first in range(1, rows + 1, 10_000):
        numbers = range(first, min(first + 10_000, rows + 1))
        with connection:
            connection.executemany(insert, ((number, 15 + number / rows, "[15.12345]") for number in numbers))
    seconds = time.perf_counter() - started
    connection.close()
    for path in folder.glob("bare.db*"):
        path.unlink()
    return rows / seconds


def _prepared(stack: Service, plan: Plan) -> KnownImages:
    database = stack.database()
    known = KnownImages(database, plan.size(IMAGES, 2000))
    database.close()
    verify_known(stack, known, 2000)  # has the model loaded
    return known


def _rate(plan: Plan) -> Iterator[Sample]:
    comparisons = plan.size(FEW, 10_000)
    with service(plan.folder) as stack:
        known = _prepared(stack, plan)
        for _ in range(plan.rounds):
            seconds = verify_known(stack, known, comparisons)
            yield Sample("known", comparisons / seconds, bare_insert(plan.folder, comparisons))


def _growth(plan: Plan) -> Iterator[Sample]:
    few, many = plan.size(FEW, 5000), plan.size(MANY, 50_000)
    with service(plan.folder) as stack:
        known = _prepared(stack, plan)
        alone = verify_known(stack, known, few) / few
        before = peaks(stack.pid)
        crowded = verify_known(stack, known, many) / many
        yield Sample("million", 1e6 * crowded, 1e6 * alone)
        yield Sample("million-memory", *largest_growth(before, peaks(stack.pid)))


SUBJECTS = (
    Subject(
        (Row("known", f"{FEW:,} of known images", "comparisons/s", "SQLite, bare INSERT", 15_000, "ours"),),
        _rate,
    ),
    Subject(
        (
            Row("million", f"{MANY:,} of known images", "us each", f"{FEW:,} of them", 1.2, lower=True),
            Row("million-memory", "the same: growth by most", "MB", "of that process before", 100, "ours", lower=True),
        ),
        _growth,
    ),
)
