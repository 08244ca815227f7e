"""Jobs that one worker does alone, from beginning to end: the lease, progress, cancellation, and the data."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from shared.archives import Archive
from shared.jobs.lifecycle import (
    JobClaim,
    claim_job,
    finish_asked,
    must_stop,
    release_job,
    renew_job,
    stop_held,
    tell,
)
from shared.jobs.submit import archive_limits
from shared.specs import Preprocessing, ProtocolName
from shared.tables import Job, ModelVersion, Upload
from worker.context import Context
from worker.dataset import Dataset, Observer, Reading, read_dataset
from worker.edge import job_edge
from worker.heartbeat import Heartbeat
from worker.ml.images import ImageLimits
from worker.ml.trained import Stopped
from worker.models import limit_threads
from worker.probing import Prober

PATIENCE_SECONDS = 1800.0  # without a batch done: the validation of very many writers is one step
ASK_SECONDS = 1.0  # between two looks at whether the job was cancelled


class SoloJob:
    """One job while this worker holds it. ``Stopped`` raised within its work lets go of it."""

    def __init__(self, context: Context, claim: JobClaim, public_id: str, progress: Callable[[], None]) -> None:
        self.context = context
        self.claim = claim
        self.public_id = public_id
        self._progress = progress
        self._asked = 0.0
        with context.database.read() as session:
            job = session.get_one(Job, claim.job_id)
            self.spec: dict[str, Any] = job.spec
            self.finish_by = job.finish_by  # who asked to end early, as of the last look
            self.upload = session.get_one(Upload, job.upload_id)
            self.model = session.get(ModelVersion, job.model_id) if job.model_id else None

    def tell(self, **values: Any) -> None:
        """Write progress (``phase``, ``done``, ``total``, ``report``); nothing happens when the lease was lost."""
        with self.context.database.write() as session:
            tell(session, self.claim, **values)

    def should_stop(self) -> bool:
        """Whether to raise ``Stopped`` soon: cancelled, drained, or the lease lost. Also tells that work moves on."""
        self._progress()
        if self.context.draining():
            return True
        if time.monotonic() - self._asked < ASK_SECONDS:
            return False
        self._asked = time.monotonic()
        with self.context.database.read() as session:
            self.finish_by = finish_asked(session, self.claim)
            return must_stop(session, self.claim)

    def should_finish(self) -> bool:
        """Whether to end early with what there is; looked up by ``should_stop``, which is asked first."""
        return self.finish_by is not None

    def check(self) -> None:
        """Raise ``Stopped`` if the work should stop."""
        if self.should_stop():
            raise Stopped

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A folder of the job's own, gone when the block ends; what a worker that was killed left of it goes before."""
        home = self.context.settings.home / "training"
        home.mkdir(parents=True, exist_ok=True)
        for left in home.glob(f"{self.public_id}.*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=f"{self.public_id}.") as folder:
            yield Path(folder)

    @contextmanager
    def archive(self) -> Iterator[Archive]:
        """The job's upload, opened."""
        with self.context.store.open(self.upload.blob) as file:
            yield Archive(file, archive_limits(self.context.settings))

    @contextmanager
    def prober(self) -> Iterator[Prober | None]:
        """What tries images out first, where workers before this one died of the job; else None."""
        suspicious = self.claim.tries > 1
        with Prober(self.context.settings.max_pixels) if suspicious else nullcontext() as prober:
            yield prober

    def read_dataset(
        self,
        folder: Path,
        preprocessing: Preprocessing,
        protocol: ProtocolName = "grey-ink",
        writers: frozenset[str] | None = None,
        observe: Observer | None = None,
    ) -> Dataset:
        """The upload's labelled images, prepared; progress is told as the job's phase.

        ``writers`` takes these alone, and ``observe(row, pixels)`` sees each image kept as it was decoded, in order
        of the rows. Raises what :func:`worker.dataset.read_dataset` raises.
        """

        def progress(done: int, total: int) -> None:
            self.check()
            self.tell(phase=f"reading images: {done:,} of {total:,}")

        limits = ImageLimits(max_pixels=self.context.settings.max_pixels)
        with self.archive() as archive, self.prober() as prober:
            reading = Reading(protocol, writers, observe, prober)
            return read_dataset(archive, preprocessing, limits, folder, progress, reading)

    def let_go(self) -> None:
        """Hand the job back for another worker, or settle its cancellation."""
        with self.context.database.read() as session:
            stop = must_stop(session, self.claim)
        if stop:
            stop_held(self.context.database, self.claim)
        else:
            release_job(self.context.database, self.claim)


def run_solo(context: Context, job_id: str, work: Callable[[SoloJob], None]) -> None:
    """Do ``work`` for a queued or abandoned job, under its lease, unless somebody else holds it."""
    lease = context.settings.lease_seconds
    claim = claim_job(context.database, job_id, context.owner, lease)
    if claim is None:
        return
    limit_threads(context.settings)
    heartbeat = Heartbeat(lambda: renew_job(context.database, claim, lease), lease, PATIENCE_SECONDS)
    with heartbeat, job_edge(context, claim):
        solo = SoloJob(context, claim, job_id, heartbeat.progress)
        try:
            work(solo)
        except Stopped:
            solo.let_go()
