"""A verification again, with the files of an earlier one and other settings: nothing is sent a second time."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from flask import request
from sqlalchemy.orm import Session

from shared.errors import InvalidInput
from shared.jobs import queries
from shared.jobs.submit import Marks, Sent
from shared.specs import VerifySpec
from shared.storage import Stored
from shared.tables import Job, Upload
from web.services import services
from web.uploads import marks_from_form, spec_from_form


@dataclass(frozen=True, slots=True)
class Earlier:
    """The job whose files are used again: an archive alone, or a questioned image and its references."""

    job: Job
    files: tuple[Sent, ...]


def earlier_of(session: Session) -> Earlier | None:
    """The job that the request names under ``again``; None where it names none.

    Raises:
        NotFound: code ``job_unknown``.
        InvalidInput: code ``job_not_repeatable``.
    """
    job_id = request.values.get("again", "")
    if not job_id:
        return None
    job = queries.get_job(session, job_id)
    uploads = [job.upload] if job.upload else _pair_of(session, job)
    if job.kind != "verify" or not uploads:
        raise InvalidInput("job_not_repeatable", "Only a verification can be done again with this form.")
    files = (Sent(Stored(each.blob, each.digest, each.size), each.filename, known=True) for each in uploads)
    return Earlier(job, tuple(files))


def _pair_of(session: Session, job: Job) -> list[Upload]:
    """The uploads of a pair's regions, the questioned one first."""
    answers, _ = queries.answers(session, job.id, limit=1)
    regions = [region for answer in answers for region in (answer.questioned, *answer.references) if region]
    found = session.scalars(sa.select(Upload).where(Upload.id.in_([region.upload_id for region in regions])))
    uploads = {upload.id: upload for upload in found}
    return [uploads[region.upload_id] for region in regions]


def submit_again(earlier: Earlier, person_id: int) -> Job:
    """Queue the files of ``earlier`` with the settings and marks of the request's form; its sender's own id goes along.

    Raises:
        CountersignError: what is wrong with the form.
    """
    spec = spec_from_form(VerifySpec)
    first, *rest = earlier.files
    told = marks_from_form()
    label, marks = told.label or earlier.job.label, Marks(told.tag, earlier.job.external_id)
    submissions = services().submissions
    if earlier.job.upload:
        return submissions.verify_batch(first, spec, person_id, label, marks)
    return submissions.verify_pair(first, rest, spec, person_id, label, marks)
