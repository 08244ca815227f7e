from __future__ import annotations

import threading

import pytest
from sqlalchemy.exc import OperationalError

from shared.errors import StorageFull
from worker.heartbeat import Heartbeat


@pytest.mark.parametrize("error", [None, OperationalError("UPDATE", {}, Exception("away")), StorageFull()])
def test_it_goes_on_beating_whatever_happens(error: Exception | None) -> None:
    beats = threading.Semaphore(0)

    def renew() -> None:
        beats.release()
        if error is not None:
            raise error

    with Heartbeat(renew, lease=0.03):
        for _ in range(3):
            assert beats.acquire(timeout=20)


def test_it_ends_with_its_block() -> None:
    before = threading.active_count()
    with Heartbeat(lambda: None, lease=60):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
