"""The edge of a task: what becomes of a job when its work raises."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from shared.errors import CountersignError, Unavailable
from shared.jobs.chunks import WAITING
from shared.jobs.lifecycle import JobClaim, fail_job, release_job
from worker.context import Context

log = logging.getLogger(__name__)

# The host's troubles, not the job's: the work is handed back and tried again later.
ENVIRONMENT = (OSError, MemoryError, OperationalError, InterfaceError, Unavailable)
PAUSE_SECONDS = 30.0  # before the same work is taken up again


def trouble(error: BaseException) -> str:
    """The host's trouble in a few words, for the job's page."""
    if isinstance(error, CountersignError):
        return error.code
    if isinstance(error, OperationalError | InterfaceError):
        return "the database is away or full"
    if isinstance(error, MemoryError):
        return "too little memory"
    return str(error) or type(error).__name__


@contextmanager
def job_edge(context: Context, claim: JobClaim) -> Iterator[None]:
    """Run a job's work: its own errors end it with their code, the host's hand it back, bugs end it and are logged."""
    try:
        yield
    except ENVIRONMENT as error:
        with suppress(SQLAlchemyError):
            release_job(context.database, claim, PAUSE_SECONDS, WAITING + trouble(error))
        raise
    except CountersignError as error:
        log.info("job %s failed: %s", claim.job_id, error.code)
        fail_job(context.database, claim.job_id, error, claim.fence)
    except Exception:  # the edge of a task: a bug of ours must end the job, not leave it running for ever
        log.exception("job %s failed by an error of ours", claim.job_id)
        message = "Something went wrong on our side; it is in the server's log. Retry the job, or tell the maintainers."
        fail_job(context.database, claim.job_id, CountersignError("internal_error", message), claim.fence)
