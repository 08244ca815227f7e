"""Reading jobs and results, for the pages and the API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from shared.calibration import Calibration, calibration_of
from shared.db import Database
from shared.errors import NotFound
from shared.jobs.reviews import reviews_of
from shared.tables import Chunk, Comparison, Epoch, Job, JobState, ModelVersion, ReferenceSet, Region, Result, Review
from shared.tables.jobs import ChunkState

STREAM_ROWS = 1000
MAX_ORDINAL = 2**62
_Judge = tuple[ModelVersion, Calibration | None]
_Found = tuple[Comparison, Result | None, tuple[int, ...]]  # with the region ids of its reference set
_ANSWERS = (
    sa.select(Comparison, Result, ReferenceSet.members)
    .outerjoin(Result, sa.and_(Result.job_id == Comparison.job_id, Result.ordinal == Comparison.ordinal))
    .outerjoin(ReferenceSet, ReferenceSet.id == Comparison.reference_set_id)
)

# Made once, like what follows: single jobs and their answers are asked for all the time.
_JOB = (
    sa.select(Job)
    .where(Job.public_id == sa.bindparam("wanted"))
    .options(joinedload(Job.upload), joinedload(Job.model), joinedload(Job.person))
)
_ANSWER = _ANSWERS.where(Comparison.job_id == sa.bindparam("job"), Comparison.ordinal == sa.bindparam("ordinal"))
_REGIONS = sa.select(Region).where(Region.id.in_(sa.bindparam("ids", expanding=True)))
_MODELS = sa.select(ModelVersion).where(ModelVersion.id.in_(sa.bindparam("ids", expanding=True)))
_RELEASE = version("countersign")  # another one may tell other things of the same columns
# All columns that are told of a job and may change. What it points at (model version, upload) never does.
_GLANCE = sa.select(
    *(
        getattr(Job, name)
        for name in (
            *("id", "kind", "state", "total", "done", "started_at", "finished_at", "attempt", "phase", "model_id"),
            *("label", "tag", "external_id", "accept", "review", "reject", "unscorable"),
            *("error_code", "error_message", "faults", "report"),
        )
    )
).where(Job.public_id == sa.bindparam("wanted"))


@dataclass(frozen=True, slots=True)
class Answer:
    """One comparison with its result (None while it is not scored) and its regions (None where the row named none)."""

    comparison: Comparison
    result: Result | None
    questioned: Region | None
    references: tuple[Region, ...]
    model: str | None
    model_digest: str | None
    forgeries: str | None = None  # what the likelihood ratio is against: "skilled" or "random"
    calibrated_on: str | None = None  # where it was not people's signatures
    review: Review | None = None  # what a person decided

    @property
    def nearest(self) -> Region | None:
        """The reference nearest to the questioned image; the first when none was measured."""
        position = self.result.nearest if self.result and self.result.nearest is not None else 0
        return self.references[position] if self.references else None


def get_job(session: Session, public_id: str) -> Job:
    """The job with its upload, model and submitter loaded.

    Raises:
        NotFound: code ``job_unknown``.
    """
    job = session.scalars(_JOB, {"wanted": storable_id(public_id)}).first()
    if job is None:
        raise _unknown(public_id)
    return job


def storable_id(public_id: str) -> str:
    """As it can be asked for: PostgreSQL takes no NUL."""
    return public_id.replace("\0", "\ufffd")


def _unknown(public_id: str) -> NotFound:
    return NotFound("job_unknown", f"There is no job {public_id!r}.")


@dataclass(frozen=True, slots=True)
class Glance:
    """What of a job changes while it is worked on, for those who ask again and again."""

    id: int
    kind: str
    state: str
    total: int
    done: int
    started_at: datetime | None
    mark: str  # another one as soon as anything that is told of the job is another


def glance_at(database: Database, public_id: str) -> Glance:
    """A look at a job that reads and makes as little as can be.

    Raises:
        NotFound: code ``job_unknown``.
    """
    with database.look() as connection:
        row = connection.execute(_GLANCE, {"wanted": storable_id(public_id)}).first()
    if row is None:
        raise _unknown(public_id)
    mark = sha256(repr((_RELEASE, *row)).encode()).hexdigest()[:32]
    return Glance(row.id, row.kind, row.state, row.total, row.done, row.started_at, mark)


def list_jobs(
    session: Session,
    before: int | None = None,
    limit: int = 50,
    kind: str | None = None,
    state: str | None = None,
    tag: str | None = None,
    external_id: str | None = None,
) -> tuple[Sequence[Job], int | None]:
    """A page of jobs, newest first, and the cursor of the next page (None at the end).

    With ``kind``, ``state``, ``tag`` or ``external_id`` only those that are of it.
    """
    query = sa.select(Job).options(joinedload(Job.model), joinedload(Job.person)).order_by(Job.id.desc())
    if before is not None:
        query = query.where(Job.id < before)
    wanted = ((Job.kind, kind), (Job.state, state), (Job.tag, tag), (Job.external_id, external_id))
    query = query.where(*(column == value for column, value in wanted if value))
    jobs = session.scalars(query.limit(limit + 1)).all()
    return jobs[:limit], jobs[limit - 1].id if len(jobs) > limit else None


def list_epochs(session: Session, job_id: int) -> Sequence[Epoch]:
    """The epochs of a training so far, in order."""
    return session.scalars(sa.select(Epoch).where(Epoch.job_id == job_id).order_by(Epoch.epoch)).all()


def answers(
    session: Session,
    job_id: int,
    after: int = 0,
    limit: int = 100,
    verdict: str | None = None,
    scored: bool = False,
    up_to: int = MAX_ORDINAL,
) -> tuple[list[Answer], int | None]:
    """A page of comparisons from the one after ordinal ``after``, and the next cursor (None at the end).

    With ``verdict`` only those that have this verdict. Comparisons not yet scored are included without one, unless
    ``scored``. ``up_to`` is the last ordinal that is looked at, see :func:`scored_up_to`.
    """
    query = _ANSWERS.where(Comparison.job_id == job_id, Comparison.ordinal > after, Comparison.ordinal <= up_to)
    query = query.order_by(Comparison.ordinal).limit(limit + 1)
    if verdict:
        query = query.where(Result.verdict == verdict)
    elif scored:
        query = query.where(Result.verdict.is_not(None))
    rows = session.execute(query).all()
    found = _found(session, job_id, rows[:limit])
    return found, found[-1].comparison.ordinal if len(rows) > limit else None


def answers_at(session: Session, job_id: int, ordinals: Sequence[int]) -> list[Answer]:
    """The comparisons with these ordinals, in this order; those that do not exist are left out."""
    query = _ANSWERS.where(Comparison.job_id == job_id, Comparison.ordinal.in_(ordinals))
    found = _found(session, job_id, session.execute(query).all())
    places = {ordinal: place for place, ordinal in enumerate(ordinals)}
    return sorted(found, key=lambda answer: places[answer.comparison.ordinal])


def _found(session: Session, job_id: int, rows: Sequence[sa.Row[Comparison, Result, str]]) -> list[Answer]:
    page: list[_Found] = [(comparison, result, _members(members)) for comparison, result, members in rows]
    regions = _regions(session, page)
    models = _models(session, {result.model_id for _, result, _ in page if result and result.model_id})
    reviews = reviews_of(session, job_id, {comparison.ordinal for comparison, _, _ in page})
    return [
        _answer(comparison, result, members, regions, models, reviews.get(comparison.ordinal))
        for comparison, result, members in page
    ]


def get_answer(session: Session, job: Job, ordinal: int) -> Answer:
    """One comparison of a job.

    Raises:
        NotFound: code ``comparison_unknown``.
    """
    rows = session.execute(_ANSWER, {"job": job.id, "ordinal": ordinal}).all()
    if not rows:
        raise NotFound("comparison_unknown", f"The job {job.public_id} has no comparison number {ordinal}.")
    return _found(session, job.id, rows)[0]


def stream_answers(
    database: Database,
    job_id: int,
    verdict: str | None = None,
    after: int = 0,
    scored: bool = False,
    up_to: int = MAX_ORDINAL,
) -> Iterator[Answer]:
    """All comparisons in order, in short reads: memory stays flat and no transaction stays open."""
    cursor: int | None = after
    while cursor is not None:
        with database.read() as session:
            page, cursor = answers(session, job_id, cursor, STREAM_ROWS, verdict, scored, up_to)
        yield from page


def scored_up_to(session: Session, job: Job) -> int | None:
    """The last ordinal up to which every comparison is scored; None once the job has ended, when no more will be.

    A reader that stops there and goes on from there later misses nothing, whatever order the chunks are done in.
    """
    if JobState(job.state).ended:
        return None
    ordinal = sa.type_coerce(Chunk.first, sa.Integer)
    first = session.scalar(
        sa.select(sa.func.min(ordinal)).where(Chunk.job_id == job.id, Chunk.state != ChunkState.DONE)
    )
    if first is not None:
        return first - 1
    taken_in = sa.select(sa.func.max(sa.type_coerce(Comparison.ordinal, sa.Integer)))
    return session.scalar(taken_in.where(Comparison.job_id == job.id)) or 0


def _members(text: str | None) -> tuple[int, ...]:
    return tuple(map(int, text.split(","))) if text else ()


def _regions(session: Session, page: list[_Found]) -> dict[int, Region]:
    ids = {comparison.questioned_id for comparison, _, _ in page if comparison.questioned_id}
    ids |= {region_id for _, _, members in page for region_id in members}
    found: dict[int, Region] = {}
    ordered = sorted(ids)
    for start in range(0, len(ordered), 500):
        rows = session.scalars(_REGIONS, {"ids": ordered[start : start + 500]})
        found |= {region.id: region for region in rows}
    return found


def _models(session: Session, ids: set[int]) -> dict[int, _Judge]:
    models = session.scalars(_MODELS, {"ids": sorted(ids)})
    return {model.id: (model, calibration_of(model.summary)) for model in models}


def _answer(
    comparison: Comparison,
    result: Result | None,
    members: tuple[int, ...],
    regions: dict[int, Region],
    models: dict[int, _Judge],
    review: Review | None,
) -> Answer:
    model, calibration = models.get(result.model_id, (None, None)) if result and result.model_id else (None, None)
    return Answer(
        comparison=comparison,
        result=result,
        questioned=regions.get(comparison.questioned_id) if comparison.questioned_id else None,
        references=tuple(regions[region_id] for region_id in members),
        model=model.label if model else None,
        model_digest=model.digest if model else None,
        forgeries=calibration.population if calibration else None,
        calibrated_on=calibration.origin if calibration else None,
        review=review,
    )


def find_comparisons(
    session: Session, external_id: str, before: int | None = None, limit: int = 20
) -> tuple[list[tuple[Job, Answer]], int | None]:
    """The comparisons that their sender named so, one of each job, newest job first; and the next cursor.

    Each job is asked by its own index: no row of a large job is read in vain.
    """
    ordinal = sa.select(sa.func.min(sa.type_coerce(Comparison.ordinal, sa.Integer))).where(
        Comparison.job_id == Job.id, Comparison.external_id == external_id
    )
    looked = sa.select(Job.id, ordinal.scalar_subquery().label("ordinal")).where(Job.kind == "verify")
    if before is not None:
        looked = looked.where(Job.id < before)
    asked = looked.subquery()
    query = sa.select(asked.c.id, asked.c.ordinal).where(asked.c.ordinal.is_not(None))
    rows = session.execute(query.order_by(asked.c.id.desc()).limit(limit + 1)).all()
    page = rows[:limit]
    jobs = {job.id: job for job in session.scalars(sa.select(Job).where(Job.id.in_([row.id for row in page])))}
    found = [(jobs[job_id], answer) for job_id, number in page for answer in answers_at(session, job_id, [number])]
    return found, page[-1].id if len(rows) > limit else None


def evaluations_page(
    session: Session, before: int | None = None, limit: int = 50, model_id: int | None = None
) -> tuple[Sequence[Job], int | None]:
    """Evaluations in any state with their model and archive, newest first, and the next cursor (None at the end)."""
    query = sa.select(Job).options(joinedload(Job.model), joinedload(Job.upload)).where(Job.kind == "evaluate")
    if before is not None:
        query = query.where(Job.id < before)
    if model_id is not None:
        query = query.where(Job.model_id == model_id)
    jobs = session.scalars(query.order_by(Job.id.desc()).limit(limit + 1)).all()
    return jobs[:limit], jobs[limit - 1].id if len(jobs) > limit else None


def newest_evaluations(session: Session) -> dict[int, Job]:
    """By model version, the newest evaluation that succeeded."""
    done = sa.select(sa.func.max(Job.id)).where(
        Job.kind == "evaluate", Job.state == JobState.SUCCEEDED, Job.model_id.is_not(None)
    )
    jobs = session.scalars(sa.select(Job).where(Job.id.in_(done.group_by(Job.model_id))))
    return {job.model_id: job for job in jobs if job.model_id is not None}


def list_evaluations(session: Session, model_id: int, limit: int = 20) -> Sequence[Job]:
    """The evaluations of a model version that succeeded, newest first."""
    query = sa.select(Job).where(Job.kind == "evaluate", Job.model_id == model_id, Job.state == JobState.SUCCEEDED)
    query = query.options(joinedload(Job.model))
    return session.scalars(query.order_by(Job.id.desc()).limit(limit)).all()
