"""One small exception family. Each error has a stable machine code, a sentence for people and a way out.

The web maps them to HTTP once (``web/errors.py``); a worker writes them into the job or the row they belong to.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request or an archive: where it is, and how to mend it."""

    code: str
    message: str
    where: str = ""  # "line 7", "entry scans/a.png", "field margin"
    pointer: str | None = None  # JSON pointer into the body of the request, where that is JSON

    def told(self) -> dict[str, str]:
        """As a job keeps it: no job was a JSON document."""
        return {"code": self.code, "message": self.message, "where": self.where}


class CountersignError(Exception):
    """Base of every error that a caller can act upon.

    ``code`` is stable and documented; ``message`` says what is wrong and how to mend it; ``status`` is the HTTP
    status the web answers with; ``faults`` lists the single places where there are several.
    """

    status = 400

    def __init__(self, code: str, message: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.faults = faults


class InvalidInput(CountersignError):
    """What was sent cannot be used as it is; the sender can mend it."""

    status = 422


class NotFound(CountersignError):
    """The thing named does not exist, or not any more."""

    status = 404


class Conflict(CountersignError):
    """The thing is not in a state that allows this."""

    status = 409


class TooLarge(CountersignError):
    """Over a stated limit."""

    status = 413


class RateLimited(CountersignError):
    """More requests than a person may send; try again when the window is over."""

    status = 429


class NotAuthorised(CountersignError):
    """No key or session, or one that is not valid."""

    status = 401


class Unavailable(CountersignError):
    """A part the service needs is away (the queue, the disk); try again later."""

    status = 503


class UnusableImage(CountersignError):
    """One image cannot be scored. Costs its row an ``unscorable`` answer, never the batch."""

    status = 422


class TrainingFailed(CountersignError):
    """Training cannot start or go on with these data or this recipe."""

    status = 422


class StorageFull(Unavailable):
    """No room left on the disk."""

    status = 507

    def __init__(self) -> None:
        message = "The server's disk is full. Nothing was kept; try again when there is room."
        super().__init__("storage_full", message)
