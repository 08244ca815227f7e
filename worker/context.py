"""What every task needs, made once in each worker process, after the fork."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from shared.config import Settings, load_settings
from shared.queue import CeleryDoorbell, Doorbell, make_celery

if TYPE_CHECKING:  # SQLAlchemy is the children's: beat and the workers' parents start sooner without it
    from shared.db import Database
    from shared.storage import BlobStore

# Made before Celery forks its children, so that the parent's shutdown signal is seen in them.
# A bare byte, no lock: a child that is killed while it looks must not leave one held.
_draining = multiprocessing.RawValue("b", 0)


@dataclass(frozen=True, slots=True)
class Context:
    """Settings and the handles of one process. ``draining`` says that the worker is being stopped."""

    settings: Settings
    database: Database
    store: BlobStore
    doorbell: Doorbell
    owner: str
    draining: Callable[[], bool]


def start_draining() -> None:
    """Ask all tasks of this worker to hand back what they can."""
    _draining.value = 1


@lru_cache(maxsize=1)
def process_context() -> Context:
    """The context of this process."""
    from shared.db import Database
    from shared.storage import open_store

    settings = load_settings()
    return Context(
        settings=settings,
        database=Database(settings.database_url),
        store=open_store(settings.storage_url),
        doorbell=CeleryDoorbell(make_celery(settings)),
        owner=f"{socket.gethostname()}:{os.getpid()}",
        draining=lambda: bool(_draining.value),
    )
