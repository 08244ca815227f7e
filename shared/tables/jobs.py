"""Jobs, their chunks, comparisons and results, and the epochs of a training."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.tables.base import Base, Key
from shared.tables.images import Upload
from shared.tables.people import Person
from shared.tables.registry import ModelVersion


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class ChunkState(StrEnum):
    WAITING = "waiting"
    CLAIMED = "claimed"
    DONE = "done"
    SHELVED = "shelved"  # of a job that failed or was cancelled; a retry takes it up


class TrialState(StrEnum):
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"  # given up early: worse than the others were at the same point
    STOPPED = "stopped"  # its worker let go of it; it goes on when the job does
    FAILED = "failed"


class Verdict(StrEnum):
    ACCEPT = "accept"
    REVIEW = "review"
    REJECT = "reject"
    UNSCORABLE = "unscorable"


class Job(Base):
    """One piece of queued work.

    ``fence``, ``lease_until`` and ``owner`` guard the parts that one worker does alone (intake, training); chunks
    have their own. ``done`` and ``total`` count comparisons, test images, or epochs; the four verdict columns count
    results.
    """

    __tablename__ = "jobs"

    id: Mapped[Key]
    public_id: Mapped[str] = mapped_column(sa.String(40), unique=True)
    kind: Mapped[str] = mapped_column(sa.String(16))
    state: Mapped[str] = mapped_column(sa.String(16), default=JobState.QUEUED)
    label: Mapped[str] = mapped_column(sa.String(255), default="")
    tag: Mapped[str | None] = mapped_column(sa.String(80))  # the submitter's, to find jobs by
    external_id: Mapped[str | None] = mapped_column(sa.String(255))  # the submitter's own name for it
    spec: Mapped[dict[str, Any]]
    attempt: Mapped[int] = mapped_column(default=1)
    upload_id: Mapped[int | None] = mapped_column(sa.ForeignKey("uploads.id"))
    model_id: Mapped[int | None] = mapped_column(sa.ForeignKey("model_versions.id"))
    person_id: Mapped[int | None] = mapped_column(sa.ForeignKey("people.id"))

    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[float] = mapped_column(default=0.0)  # seconds since 1970, the database's clock
    owner: Mapped[str | None] = mapped_column(sa.String(120))
    claims: Mapped[int] = mapped_column(default=0)  # times a worker took it in this attempt and did not hand it back
    rung_at: Mapped[float] = mapped_column(default=0.0)  # when the sweep last rang for it
    intake_done: Mapped[bool] = mapped_column(default=False)
    chunks_left: Mapped[int] = mapped_column(default=0)

    finish_by: Mapped[str | None] = mapped_column(sa.String(80))  # who asked that it end early, with what it has
    phase: Mapped[str] = mapped_column(sa.String(80), default="")  # what is being done now, for people
    total: Mapped[int] = mapped_column(default=0)
    done: Mapped[int] = mapped_column(default=0)
    accept: Mapped[int] = mapped_column(default=0)
    review: Mapped[int] = mapped_column(default=0)
    reject: Mapped[int] = mapped_column(default=0)
    unscorable: Mapped[int] = mapped_column(default=0)

    error_code: Mapped[str | None] = mapped_column(sa.String(40))
    error_message: Mapped[str | None] = mapped_column(sa.Text)
    faults: Mapped[list[Any]] = mapped_column(default=list)
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)  # what was detected, what came out

    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    upload: Mapped[Upload | None] = relationship(lazy="raise")
    model: Mapped[ModelVersion | None] = relationship(lazy="raise", foreign_keys=[model_id])
    person: Mapped[Person | None] = relationship(lazy="raise")

    __table_args__ = (
        sa.Index("ix_jobs_state", "state", "kind"),
        sa.Index("ix_jobs_tag", "tag", "id"),
        sa.Index("ix_jobs_external_id", "external_id", "id"),
    )


class Chunk(Base):
    """A run of a job's comparisons, ``first`` to ``last`` inclusive, that one worker scores in one go."""

    __tablename__ = "chunks"

    id: Mapped[Key]
    job_id: Mapped[int] = mapped_column(sa.ForeignKey("jobs.id"))
    first: Mapped[int]
    last: Mapped[int]
    priority: Mapped[int] = mapped_column(default=1)  # 0: a small job, before the large ones
    state: Mapped[str] = mapped_column(sa.String(16), default=ChunkState.WAITING)
    fence: Mapped[int] = mapped_column(default=0)
    tries: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[float] = mapped_column(default=0.0)
    owner: Mapped[str | None] = mapped_column(sa.String(120))

    __table_args__ = (
        sa.Index(
            "ix_chunks_open",
            "priority",
            "id",
            sqlite_where=sa.text("state IN ('waiting', 'claimed')"),
            postgresql_where=sa.text("state IN ('waiting', 'claimed')"),
        ),
        sa.UniqueConstraint("job_id", "first"),
    )


class ReferenceSet(Base):
    """The references that a questioned image is compared against: region ids in order, ``"12,15,19"``."""

    __tablename__ = "reference_sets"

    id: Mapped[Key]
    job_id: Mapped[int] = mapped_column(sa.ForeignKey("jobs.id"))
    members: Mapped[str] = mapped_column(sa.String(1400))

    __table_args__ = (sa.UniqueConstraint("job_id", "members"),)


class Comparison(Base):
    """One row of a batch, in its order. Without regions when its row could not be used: its result says why."""

    __tablename__ = "comparisons"

    job_id: Mapped[int] = mapped_column(sa.ForeignKey("jobs.id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)  # from 1
    external_id: Mapped[str] = mapped_column(sa.String(255))
    tag: Mapped[str | None] = mapped_column(sa.String(80))  # the sender's, given back with the answer
    line: Mapped[int | None]  # in manifest.csv
    questioned_id: Mapped[int | None] = mapped_column(sa.ForeignKey("regions.id"))
    reference_set_id: Mapped[int | None] = mapped_column(sa.ForeignKey("reference_sets.id"))

    __table_args__ = (sa.Index("ix_comparisons_external", "job_id", "external_id"), {"sqlite_with_rowid": False})


def _by_score(score: str, rows: str) -> sa.Index:
    where = sa.text(rows)
    columns = ("job_id", "verdict", score, "ordinal")
    return sa.Index(f"ix_results_{score}", *columns, sqlite_where=where, postgresql_where=where)


class Result(Base):
    """The answer to one comparison, written once. It keeps the rule that judged it."""

    __tablename__ = "results"

    job_id: Mapped[int] = mapped_column(sa.ForeignKey("jobs.id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    verdict: Mapped[str] = mapped_column(sa.String(12))
    code: Mapped[str | None] = mapped_column(sa.String(40))
    message: Mapped[str | None] = mapped_column(sa.Text)
    distance: Mapped[float | None]  # the set's
    distances: Mapped[list[Any] | None]  # to each reference, in the set's order
    nearest: Mapped[int | None]  # position in the set, from 0
    threshold: Mapped[float | None]  # of the distance; what judged where ``scale`` is "distance"
    llr: Mapped[float | None]  # log10 likelihood ratio of same writer against different writer
    scale: Mapped[str | None] = mapped_column(sa.String(10))  # what was judged: "distance" or "llr"
    accept_from: Mapped[float | None]  # llr from which the verdict is accept ...
    reject_below: Mapped[float | None]  # ... and below which it is reject; between them, review
    model_id: Mapped[int | None] = mapped_column(sa.ForeignKey("model_versions.id"))

    __table_args__ = (
        sa.Index("ix_results_verdict", "job_id", "verdict", "ordinal"),
        # By score within a verdict, for pages in that order; each row stands in one of the two.
        _by_score("llr", "llr IS NOT NULL"),
        _by_score("distance", "llr IS NULL"),
        {"sqlite_with_rowid": False},
    )


class Epoch(Base):
    """One epoch of a training job."""

    __tablename__ = "epochs"

    job_id: Mapped[int] = mapped_column(sa.ForeignKey("jobs.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)  # from 1
    loss: Mapped[float]
    validation_loss: Mapped[float | None]
    validation_eer: Mapped[float]
    learning_rate: Mapped[float]
    images: Mapped[int]
    seconds: Mapped[float]


class Identification(Base):
    """The answer to one test image of an identify job."""

    __tablename__ = "identifications"

    job_id: Mapped[int] = mapped_column(sa.ForeignKey("jobs.id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)  # from 1, in the order of the entries
    entry: Mapped[str] = mapped_column(sa.String(1000))
    truth: Mapped[str | None] = mapped_column(sa.String(255))  # its folder: a category, or a name that is none
    correct: Mapped[bool | None]  # whether the answer agrees with the truth, where both are known
    answer: Mapped[str] = mapped_column(sa.String(8), server_default="error")  # "named", "none" or "error"
    category: Mapped[str | None] = mapped_column(sa.String(255))  # None: none of these
    nearest: Mapped[str | None] = mapped_column(sa.String(255))  # the best category, also where it is too far
    distance: Mapped[float | None]  # to the best category
    runner_up: Mapped[str | None] = mapped_column(sa.String(255))
    runner_up_distance: Mapped[float | None]
    code: Mapped[str | None] = mapped_column(sa.String(40))  # why it has no answer, or a word of warning
    message: Mapped[str | None] = mapped_column(sa.Text)

    __table_args__ = (
        # One kind of answer in the order of the images, and by distance.
        sa.Index("ix_identifications_answer", "job_id", "answer", "ordinal"),
        sa.Index("ix_identifications_distance", "job_id", "answer", "distance", "ordinal"),
        sa.Index("ix_identifications_correct", "job_id", "correct", "ordinal"),
        sa.Index("ix_identifications_correct_distance", "job_id", "correct", "distance", "ordinal"),
        {"sqlite_with_rowid": False},
    )


class Trial(Base):
    """One training tried by a tune job, as its page shows it; the study itself is in ``StudyEvent``."""

    __tablename__ = "trials"

    job_id: Mapped[int] = mapped_column(sa.ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)  # from 1; one that its worker left keeps it when run again
    state: Mapped[str] = mapped_column(sa.String(10))  # a TrialState
    value: Mapped[float | None]  # mean validation error of the folds begun so far, 0..1; see worker/tuning.py
    params: Mapped[dict[str, Any]]  # fields of TrainSpec
    folds: Mapped[int] = mapped_column(default=0)  # done
    seconds: Mapped[float] = mapped_column(default=0.0)  # of training
    code: Mapped[str | None] = mapped_column(sa.String(40))  # why it failed


class StudyEvent(Base):
    """One line of an Optuna journal: what makes a tune job resumable on any worker."""

    __tablename__ = "study_events"

    job_id: Mapped[int] = mapped_column(sa.ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)  # from 1, in the order written
    event: Mapped[dict[str, Any]]
