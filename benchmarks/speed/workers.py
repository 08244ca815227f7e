"""Several worker processes against one, with a network that takes 5 ms an image and no core."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from benchmarks.speed.row import Plan, Row, Sample, Subject
from benchmarks.speed.samples import Samples, archive
from benchmarks.speed.service import register
from benchmarks.speed.simulated import NETWORK, PAUSE, context_of
from shared.jobs.submit import Sent, Submissions
from shared.specs import VerifySpec
from shared.tables import Job, JobState, Result
from worker.intake import take_in

IMAGES = 4000


class Scene:
    """Tables and files without a running stack, on which worker processes are let loose."""

    def __init__(self, home: Path, images: int) -> None:
        self._samples, self._images, self._home = Samples(), images, home
        self.context = context_of(home, "the benchmark")
        self.context.database.migrate()
        register(self.context.database, home / "blobs")

    def images_per_second(self, processes: int) -> float:
        """What so many processes score together of a batch in which no image comes twice."""
        images, pairs = self._samples.no_reuse(self._images // 2)
        job = self._submitted(archive(images, pairs).read())
        with ExitStack() as stack:
            workers = [stack.enter_context(_worker(self._home, number)) for number in range(processes)]
            for worker in workers:
                _line(worker)
            started = time.perf_counter()
            for worker in workers:
                _tell(worker)
            chunks = [int(_line(worker)) for worker in workers]
            seconds = time.perf_counter() - started
        self._check(job, len(pairs), chunks)
        return len(images) / seconds

    def distances(self) -> NDArray[np.float64]:
        """Of the newest job, in order."""
        with self.context.database.read() as session:
            newest = sa.select(sa.func.max(Job.id)).scalar_subquery()
            query = sa.select(Result.distance).where(Result.job_id == newest).order_by(Result.ordinal)
            return np.array(session.scalars(query).all(), np.float64)

    def _submitted(self, batch: bytes) -> Job:
        context = self.context
        submissions = Submissions(context.settings, context.database, context.store, context.doorbell)
        sent = Sent(context.store.put(f"uploads/{time.time_ns()}", [batch]), "batch.zip")
        job = submissions.verify_batch(sent, VerifySpec(model=NETWORK), None)
        take_in(context, job.public_id)
        return job

    def _check(self, job: Job, rows: int, chunks: Sequence[int]) -> None:
        with self.context.database.read() as session:
            ended = session.get_one(Job, job.id)
        scored = self.distances()
        if ended.state != JobState.SUCCEEDED or len(scored) != rows or not (scored > 0).all():
            raise RuntimeError(f"{len(scored)} of {rows} comparisons were scored, the job is {ended.state}")
        if not all(chunks):
            raise RuntimeError(f"a worker found nothing to do, so that they were not measured: chunks {chunks}")


def _worker(home: Path, number: int) -> subprocess.Popen[str]:
    code = "from benchmarks.speed import simulated; simulated.main()"
    command = [sys.executable, "-c", code, str(home), f"worker {number}"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(worker: subprocess.Popen[str]) -> str:
    line = worker.stdout.readline() if worker.stdout else ""
    if not line:
        raise RuntimeError(f"a worker ended with status {worker.wait()}")
    return line


def _tell(worker: subprocess.Popen[str]) -> None:
    if worker.stdin:
        worker.stdin.write("go\n")
        worker.stdin.flush()


def _measure(plan: Plan) -> Iterator[Sample]:
    scene = Scene(plan.folder / "home", plan.size(IMAGES, 1600))
    for turn in range(plan.rounds):
        alone = scene.images_per_second(1)
        yield Sample("workers", scene.images_per_second(2), alone)
        if not turn:
            yield Sample("processes-4", scene.images_per_second(4), alone)
    scene.context.database.close()


SUBJECTS = (
    Subject(
        (
            Row("workers", f"two processes, network of {1e3 * PAUSE:g} ms", "images/s", "one process", 1.9),
            Row("processes-4", "four processes, the same", "images/s", "one process", 2.0),
        ),
        _measure,
    ),
)
