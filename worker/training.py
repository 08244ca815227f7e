"""Training: an archive of writers' signatures in, a model version out. Goes on from its last checkpoint."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from shared.archives import Archive
from shared.errors import NotFound
from shared.jobs.lifecycle import (
    JobClaim,
    claim_job,
    must_stop,
    release_job,
    renew_job,
    stop_held,
    succeed_job,
    tell,
)
from shared.jobs.submit import archive_limits
from shared.registry import add_model
from shared.specs import NETWORKS, Preprocessing, TrainSpec
from shared.tables import Epoch, Job, ModelVersion, Upload
from worker.context import Context
from worker.dataset import Dataset, read_dataset
from worker.edge import job_edge
from worker.heartbeat import Heartbeat
from worker.ml.checkpoint import ModelMeta, digest, save_model
from worker.ml.fit import EpochRow, FitResult, Stopped, fit
from worker.ml.images import ImageLimits
from worker.ml.sampling import Labels, Split, refuse_leak, split_writers
from worker.models import limit_threads

PATIENCE_SECONDS = 1800.0  # without a batch done: the validation of very many writers is one step
REGISTER_TRIES = 3
ASK_SECONDS = 1.0  # between two looks at whether the job was cancelled


def train_job(context: Context, job_id: str) -> None:
    """Run a queued or abandoned training to its end, unless it is cancelled or the worker is being stopped."""
    lease = context.settings.lease_seconds
    claim = claim_job(context.database, job_id, context.owner, lease)
    if claim is None:
        return
    limit_threads(context.settings)
    heartbeat = Heartbeat(lambda: renew_job(context.database, claim, lease), lease, PATIENCE_SECONDS)
    with heartbeat, job_edge(context, claim):
        training = _Training(context, claim, job_id, heartbeat.progress)
        try:
            training.run()
        except Stopped:
            training.let_go()


class _Training:
    """One training job while this worker holds it."""

    def __init__(self, context: Context, claim: JobClaim, job_id: str, progress: Callable[[], None]) -> None:
        self._context = context
        self._progress = progress
        self._claim = claim
        self._checkpoint_key = f"checkpoints/{job_id}"
        self._asked = 0.0
        with context.database.read() as session:
            job = session.get_one(Job, claim.job_id)
            self._upload = session.get_one(Upload, job.upload_id)
        self._spec = TrainSpec.model_validate(job.spec)
        info = NETWORKS[self._spec.network]
        self._preprocessing = Preprocessing(height=info.height, width=info.width)

    def run(self) -> None:
        """Read the data, split by writer, fit, and register what came out."""
        home = self._context.settings.home / "training"
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            data = self._read(Path(folder))
            split = split_writers(data.writers, self._spec.validation_share, self._spec.seed)
            refuse_leak(_images_of(data, split.training), _images_of(data, split.validation))
            self._tell(phase="training", report=data.summary)
            number = {writer: index for index, writer in enumerate(sorted(set(data.writers)))}
            result = fit(
                data.canvases,
                Labels(np.array([number[writer] for writer in data.writers], dtype=np.int64), data.forged),
                Split(*(tuple(number[writer] for writer in side) for side in (split.training, split.validation))),
                self._spec,
                on_epoch=self._on_epoch,
                should_stop=self._should_stop,
                checkpoint=self._load_checkpoint(),
                on_checkpoint=self._on_checkpoint,
            )
        self._register(data, split, result)

    def let_go(self) -> None:
        """Hand the job back for another worker, or settle its cancellation."""
        with self._context.database.read() as session:
            cancelled = must_stop(session, self._claim)
        if cancelled:
            stop_held(self._context.database, self._claim)
        else:
            release_job(self._context.database, self._claim)

    def _read(self, folder: Path) -> Dataset:
        def progress(done: int, total: int) -> None:
            if self._should_stop():
                raise Stopped
            self._tell(phase=f"reading images: {done:,} of {total:,}")

        settings = self._context.settings
        with self._context.store.open(self._upload.blob) as file:
            archive = Archive(file, archive_limits(settings))
            limits = ImageLimits(max_pixels=settings.max_pixels)
            return read_dataset(archive, self._preprocessing, limits, folder, progress)

    def _tell(self, **values: Any) -> None:
        with self._context.database.write() as session:
            tell(session, self._claim, **values)

    def _should_stop(self) -> bool:
        self._progress()
        if self._context.draining():
            return True
        if time.monotonic() - self._asked < ASK_SECONDS:
            return False
        self._asked = time.monotonic()
        with self._context.database.read() as session:
            return must_stop(session, self._claim)

    def _load_checkpoint(self) -> bytes | None:
        try:
            with self._context.store.open(self._checkpoint_key) as file:
                return file.read()
        except NotFound:
            return None

    def _on_checkpoint(self, data: bytes) -> None:
        self._context.store.put(self._checkpoint_key, [data])

    def _on_epoch(self, row: EpochRow) -> None:
        with self._context.database.write() as session:
            if tell(session, self._claim, done=row.epoch):
                # A worker that died between checkpoint and row leaves an epoch that is run again: replace it.
                session.execute(sa.delete(Epoch).where(Epoch.job_id == self._claim.job_id, Epoch.epoch >= row.epoch))
                session.add(Epoch(job_id=self._claim.job_id, **asdict(row)))

    def _register(self, data: Dataset, split: Split[str], result: FitResult) -> None:
        summary = self._summary(data, split, result)
        meta = ModelMeta(
            network=self._spec.network,
            preprocessing=self._preprocessing,
            threshold=result.threshold,
            training=summary,
        )
        content = save_model(result.network, meta)
        name = digest(content)
        blob = self._context.store.put(f"models/{name.removeprefix('sha256:')}.safetensors", [content])
        model = ModelVersion(
            name=self._spec.name,
            digest=name,
            blob=blob.key,
            network=self._spec.network,
            threshold=result.threshold,
            summary=summary,
            job_id=self._claim.job_id,
        )
        report = data.summary | summary["validation"] | {"threshold": result.threshold}
        if self._succeed(model, report):
            self._context.store.delete(self._checkpoint_key)

    def _succeed(self, model: ModelVersion, report: dict[str, Any]) -> bool:
        """Register the model and end the job in one transaction; False when the lease was lost meanwhile."""
        for tries_left in reversed(range(REGISTER_TRIES)):
            try:
                with self._context.database.write() as session:
                    add_model(session, model, self._spec.make_default)
                    told = report | {"model": model.label}
                    if not succeed_job(session, self._claim, model_id=model.id, report=told):
                        session.rollback()
                        return False
                    return True
            except IntegrityError:  # another training of this name took the version number first
                if not tries_left:
                    raise
        raise AssertionError("the loop returns or raises")

    def _summary(self, data: Dataset, split: Split[str], result: FitResult) -> dict[str, Any]:
        info = NETWORKS[self._spec.network]
        counts = {key: data.summary[key] for key in ("layout", "writers", "genuine", "forged")}
        return {
            "recipe": self._spec.model_dump(mode="json"),
            "data": counts
            | {
                "digest": self._upload.digest,
                "training_writers": split.training,
                "validation_writers": split.validation,
            },
            "validation": {"eer": result.eer, "forgeries": result.forgeries, "note": result.note},
            "network": {
                "parameters": sum(parameter.numel() for parameter in result.network.parameters()),
                "embedding": info.embedding,
            },
            "preprocessing": self._preprocessing.model_dump(mode="json"),
            "library": {"python": platform.python_version()}
            | {name: version(name) for name in ("torch", "numpy", "opencv-python-headless", "countersign")},
        }


def _images_of(data: Dataset, writers: tuple[str, ...]) -> list[tuple[str, str]]:
    """(entry, digest) of all images that bear the names of ``writers``."""
    wanted = set(writers)
    rows = zip(data.entries, data.digests, data.writers, strict=True)
    return [(entry, digest) for entry, digest, writer in rows if writer in wanted]
