"""Keeps a lease while its work goes on, from a thread of its own."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

from sqlalchemy.exc import SQLAlchemyError

from shared.errors import CountersignError

log = logging.getLogger(__name__)


PATIENCE_SECONDS = 240.0  # many times what the slowest batch of images takes
HUNG = 70  # exit status


class Heartbeat:
    """Calls ``renew`` three times in each ``lease`` seconds for as long as the block runs.

    A failed beat is only logged: the database may be away for a moment, and if the lease does run out the fence
    keeps late writes from counting.

    Work that makes no ``progress`` for ``patience`` seconds (a decoder that hangs in C code hears no exception) ends
    the process: the lease runs out, and after some tries the image that does it is set aside.
    """

    def __init__(self, renew: Callable[[], object], lease: float, patience: float = PATIENCE_SECONDS) -> None:
        self._renew = renew
        self._pause = lease / 3
        self._patience = patience
        self._progress = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def progress(self) -> None:
        """The work moves on; to be called more often than ``patience``."""
        self._progress = time.monotonic()

    def _beat(self) -> None:
        while not self._stop.wait(self._pause):
            if time.monotonic() - self._progress > self._patience:
                log.critical("no progress for %.0f s, ending this process so that its work goes on", self._patience)
                os._exit(HUNG)
            try:
                self._renew()
            except (SQLAlchemyError, CountersignError) as error:
                log.warning("a heartbeat failed: %s", error)
