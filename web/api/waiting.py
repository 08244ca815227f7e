"""``Prefer: wait=30`` (RFC 7240): an answer that is held back until there is something to tell."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request

from web.services import services

LONGEST = 60  # seconds
LOOK_AGAIN = 0.25  # seconds between two looks at what is waited for


def preferred_wait() -> int:
    """Seconds that the caller is willing to wait, at most ``LONGEST``; 0 for one that is not."""
    wanted = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", request.headers.get("Prefer", ""), re.IGNORECASE)
    return min(int(wanted[1]), LONGEST) if wanted else 0


@contextmanager
def place_to_wait(seconds: int) -> Iterator[float]:
    """Until when this request may be held back, by the monotonic clock; a time gone by when all places are taken.

    Each request that waits keeps a thread of the server; the places leave enough of them for all others.
    """
    places = services().places_to_wait
    if not seconds or not places.acquire(blocking=False):
        yield 0.0
        return
    try:
        yield time.monotonic() + seconds
    finally:
        places.release()


def pause_until(end: float) -> bool:
    """Wait a moment; False when the time is up."""
    left = end - time.monotonic()
    if left <= 0:
        return False
    time.sleep(min(LOOK_AGAIN, left))
    return True
