"""``Prefer: wait=30`` (RFC 7240): an answer that is held back until there is something to tell."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request

from web.services import services

LONGEST = 60  # seconds
# Seconds between two looks at what is waited for, and the share of the time waited so far that the next look may come
# too late: one pair on an idle system takes some 40 milliseconds, a batch hours.
SHORTEST_PAUSE, LONGEST_PAUSE, TOO_LATE = 0.004, 0.25, 0.05


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


def looks(end: float) -> Iterator[None]:
    """When to look again: after ever longer pauses, until ``end`` by the monotonic clock."""
    begun = time.monotonic()
    while (left := end - (now := time.monotonic())) > 0:
        pause = min(max(SHORTEST_PAUSE, TOO_LATE * (now - begun)), LONGEST_PAUSE)
        time.sleep(min(pause, left))
        yield
