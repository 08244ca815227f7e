"""The edge of a task: what becomes of a job when its work raises."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy.exc import SQLAlchemyError

from shared.errors import CountersignError, Unavailable
from shared.jobs.lifecycle import JobClaim, fail_job, release_job
from worker.context import Context

log = logging.getLogger(__name__)

# The host's troubles, not the job's: the work is handed back and tried again later.
ENVIRONMENT = (OSError, SQLAlchemyError, Unavailable)


@contextmanager
def job_edge(context: Context, claim: JobClaim) -> Iterator[None]:
    """Run a job's work: its own errors end it with their code, the host's hand it back, bugs end it and are logged."""
    try:
        yield
    except ENVIRONMENT:
        with suppress(SQLAlchemyError):
            release_job(context.database, claim)
        raise
    except CountersignError as error:
        log.info("job %s failed: %s", claim.job_id, error.code)
        fail_job(context.database, claim.job_id, error, claim.fence)
    except Exception:
        log.exception("job %s failed by an error of ours", claim.job_id)
        message = "Something went wrong on our side; it is in the server's log. Retry the job, or tell the maintainers."
        fail_job(context.database, claim.job_id, CountersignError("internal_error", message), claim.fence)
