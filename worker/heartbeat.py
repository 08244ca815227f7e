"""Keeps a lease while its work goes on, from a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType

from sqlalchemy.exc import SQLAlchemyError

from shared.errors import CountersignError

log = logging.getLogger(__name__)


class Heartbeat:
    """Calls ``renew`` three times in each ``lease`` seconds for as long as the block runs.

    A failed beat is only logged: the database may be away for a moment, and if the lease does run out the fence
    keeps late writes from counting.
    """

    def __init__(self, renew: Callable[[], object], lease: float) -> None:
        self._renew = renew
        self._pause = lease / 3
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

    def _beat(self) -> None:
        while not self._stop.wait(self._pause):
            try:
                self._renew()
            except (SQLAlchemyError, CountersignError) as error:
                log.warning("a heartbeat failed: %s", error)
