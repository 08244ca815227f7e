"""Accepting work: everything is checked and committed before anybody is told of it."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.orm import Session

from shared import audit
from shared.archives import Archive, ArchiveLimits
from shared.categories import read_folders
from shared.config import Settings
from shared.db import Database, insert_one, utcnow
from shared.errors import InvalidInput, NotFound
from shared.jobs.idempotency import bind
from shared.jobs.uploads import add_upload, storable, use_upload
from shared.manifest import ImageRef, check_manifest
from shared.networks import NETWORKS
from shared.queue import SOLO_TASKS, Doorbell, QueueNames, TaskNames
from shared.registry import default_model, usable_model
from shared.specs import EvaluateSpec, IdentifySpec, TrainSpec, TuneSpec, VerifySpec
from shared.storage import BlobStore, Stored
from shared.tables import Chunk, Comparison, Job, ReferenceSet, Region, Upload
from shared.tables.base import public_id
from shared.tables.registry import ModelVersion

SoloSpec = TrainSpec | EvaluateSpec | TuneSpec | IdentifySpec

SMALL_JOB = 16  # comparisons; a job up to this size goes before the large ones


@dataclass(frozen=True, slots=True)
class Sent:
    """One file as the front end stored it, now or before."""

    stored: Stored
    filename: str
    known: bool = False  # sent before: it has its row


@dataclass(frozen=True, slots=True)
class Marks:
    """What a submitter's program calls the job by, and the token of a request that must not be done twice."""

    tag: str | None = None
    external_id: str | None = None
    token: str | None = None


NO_MARKS = Marks()


def archive_limits(settings: Settings) -> ArchiveLimits:
    """The limits on archives that ``settings`` give."""
    return ArchiveLimits(settings.max_entries, settings.max_entry, settings.max_ratio)


class Submissions:
    """The front ends' way to queue work. The caller has asked ``doorbell.check()`` before it stored the upload."""

    def __init__(self, settings: Settings, database: Database, store: BlobStore, doorbell: Doorbell) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._doorbell = doorbell

    def verify_batch(
        self, sent: Sent, spec: VerifySpec, person_id: int | None, label: str = "", marks: Marks = NO_MARKS
    ) -> Job:
        """Queue a batch: an archive with ``manifest.csv``.

        Raises:
            InvalidInput: the archive or its manifest cannot be used; see :class:`Archive` and ``check_manifest``.
            NotFound: code ``model_unknown``. Conflict: code ``model_archived``.
        """
        with self._store.open(sent.stored.key) as file:
            check_manifest(Archive(file, archive_limits(self._settings)))
        with self._database.write() as session:
            job = self._add_job(session, spec, person_id, label or sent.filename, marks, _model_for(session, spec))
            job.upload_id = _add_upload(session, sent).id
        self._doorbell.ring(TaskNames.INTAKE, job.public_id)
        return job

    def verify_pair(
        self,
        questioned: Sent,
        references: list[Sent],
        spec: VerifySpec,
        person_id: int | None,
        label: str = "",
        marks: Marks = NO_MARKS,
    ) -> Job:
        """Queue one comparison of single images. There is no manifest, so it skips intake.

        Raises:
            InvalidInput: code ``reference_missing`` or ``reference_too_many``.
            NotFound: code ``model_unknown``. Conflict: code ``model_archived``.
        """
        if not references:
            raise InvalidInput("reference_missing", "Send at least one reference image beside the questioned one.")
        if len(references) > self._settings.max_references:
            raise InvalidInput("reference_too_many", f"Send at most {self._settings.max_references} references.")
        with self._database.write() as session:
            label = label or f"{questioned.filename} against {references[0].filename}"
            job = self._add_job(session, spec, person_id, label, marks, _model_for(session, spec))
            job.intake_done, job.total, job.chunks_left = True, 1, 1
            session.flush()
            members = ",".join(str(_add_region(session, reference)) for reference in references)
            reference_set_id = insert_one(session, ReferenceSet, {"job_id": job.id, "members": members})
            row = {
                "job_id": job.id,
                "ordinal": 1,
                "external_id": "1",
                "questioned_id": _add_region(session, questioned),
                "reference_set_id": reference_set_id,
            }
            insert_one(session, Comparison, row)
            insert_one(session, Chunk, {"job_id": job.id, "first": 1, "last": 1, "priority": 0})
        self._doorbell.ring(TaskNames.SCORE, job.public_id, queue=QueueNames.INTERACTIVE)
        return job

    def on_archive(
        self, sent: Sent, spec: SoloSpec, person_id: int | None, label: str = "", marks: Marks = NO_MARKS
    ) -> Job:
        """Queue a job that one worker does alone, on an archive of labelled images.

        Raises:
            InvalidInput: the upload is not a usable archive, code ``model_none``, of an identification
                ``no_categories`` or ``no_test_images``, of a training ``model_other_network`` or ``field_invalid``.
            NotFound: code ``model_unknown``. Conflict: code ``model_archived``.
        """
        with self._store.open(sent.stored.key) as file:
            archive = Archive(file, archive_limits(self._settings))
            steps = _steps(spec, archive)
        with self._database.write() as session:
            if isinstance(spec, TrainSpec) and spec.from_model:
                spec = _begun_with(usable_model(session, spec.from_model), spec)
            model = _model_for(session, spec) if isinstance(spec, IdentifySpec | EvaluateSpec) else None
            job = self._add_job(session, spec, person_id, label or sent.filename, marks, model)
            job.upload_id = _add_upload(session, sent).id
            job.total = steps
        self._doorbell.ring(SOLO_TASKS[spec.kind], job.public_id)
        return job

    def _add_job(
        self,
        session: Session,
        spec: VerifySpec | SoloSpec,
        person_id: int | None,
        label: str,
        marks: Marks,
        model: ModelVersion | None,
    ) -> Job:
        job = Job(
            public_id=public_id("job"),
            kind=spec.kind,
            spec=spec.model_dump(mode="json"),
            person_id=person_id,
            model=model,
            label=storable(label),
            tag=marks.tag,
            external_id=marks.external_id,
            created_at=utcnow(),
        )
        session.add(job)
        if marks.token:
            bind(session, marks.token, job.public_id)
        audit.note(session, person_id, "job.submit", job.public_id, kind=spec.kind)
        return job


def _steps(spec: SoloSpec, archive: Archive) -> int:
    """What the job's progress counts, where that is known beforehand."""
    if isinstance(spec, IdentifySpec):
        return len(read_folders(archive.names()).tests)
    if isinstance(spec, TrainSpec):
        return 1 if NETWORKS[spec.network].closed_form else spec.epochs
    return spec.trials if isinstance(spec, TuneSpec) else 0


def _model_for(session: Session, spec: VerifySpec | IdentifySpec | EvaluateSpec) -> ModelVersion:
    return usable_model(session, spec.model) if spec.model else default_model(session)


def _begun_with(model: ModelVersion, spec: TrainSpec) -> TrainSpec:
    """``spec`` with this very version of the model it begins with, whose network, loss, similarity and ink it takes.

    Raises:
        InvalidInput: code ``model_other_network``, or ``field_invalid``: what was asked for does not fit the model.
    """
    if "network" in spec.model_fields_set and spec.network != model.network:
        raise InvalidInput(
            "model_other_network",
            f"{model.label} has the network {model.network}, its weights do not fit {spec.network}. "
            f"Choose {model.network}, or another model to begin with.",
        )
    recipe = (model.summary or {}).get("recipe") or {}
    taken = ("loss", "similarity", "ink")
    inherited = {name: recipe[name] for name in taken if name in recipe and name not in spec.model_fields_set}
    fields = spec.model_dump() | inherited | {"network": model.network, "from_model": model.label}
    try:
        return TrainSpec.model_validate(fields)
    except ValidationError as error:
        raise InvalidInput(
            "field_invalid", f"The settings do not fit {model.label}: {error.errors()[0]['msg']}."
        ) from error


def _add_upload(session: Session, sent: Sent) -> Upload:
    if not sent.known:
        return add_upload(session, sent.stored.key, sent.stored.digest, sent.stored.size, sent.filename)
    upload = use_upload(session, sent.stored.key)
    if upload is None:
        raise NotFound("file_unknown", f"The file {sent.stored.digest} has expired at this moment. Send it again.")
    return upload


def _add_region(session: Session, sent: Sent) -> int:
    """The id of the region that is the whole file."""
    upload = _add_upload(session, sent)
    ref = ImageRef(upload.filename)
    if sent.known:
        known = session.scalar(sa.select(Region.id).where(Region.upload_id == upload.id, Region.name == ref.name))
        if known is not None:
            return known
    values = {"upload_id": upload.id, "name": ref.name, "entry": ref.entry, "page": ref.page, "box": ref.box_text}
    return insert_one(session, Region, values)
