"""The handles a request needs, made once for the application."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import cast

from flask import current_app, request

from shared.config import Settings
from shared.db import Database
from shared.jobs.submit import Submissions
from shared.queue import Doorbell
from shared.specs import SPECS
from shared.storage import BlobStore
from web.limits import Limiter

EXTENSION = "countersign"
# Endpoints; all others read small forms only.
TAKES_FILES = {f"pages.{kind}" for kind in SPECS} | {
    "api.submit_job",
    "api.put_file",
    "api.append_part",
    "api.upload_model",
    "pages.upload_model",
}
SMALL_FORM = 64 * 1024  # bytes
PLACES_TO_WAIT = 16  # requests held back at a time, half of the threads of a server


@dataclass(frozen=True, slots=True)
class Services:
    """Settings, tables, blobs and the doorbell of one application."""

    settings: Settings
    database: Database
    store: BlobStore
    doorbell: Doorbell
    limiter: Limiter
    places_to_wait: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(PLACES_TO_WAIT))

    @property
    def submissions(self) -> Submissions:
        return Submissions(self.settings, self.database, self.store, self.doorbell)


def services() -> Services:
    """Those of the application that serves this request."""
    return cast("Services", current_app.extensions[EXTENSION])


def limit_body() -> None:
    """Refuse a large body where none is expected, before it is read: nobody fills the disk through a login form."""
    if request.endpoint not in TAKES_FILES:
        request.max_content_length = SMALL_FORM
