from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from sqlalchemy.exc import OperationalError

from shared.errors import StorageFull
from worker.heartbeat import HUNG, Heartbeat


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


def test_work_that_hangs_ends_its_process() -> None:
    """A decoder that hangs in C code hears no exception; its lease must not be renewed for ever."""
    code = (
        "import time; from worker.heartbeat import HUNG, Heartbeat\n"
        "with Heartbeat(lambda: None, lease=0.09, patience=0.3): time.sleep(60)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == HUNG
    assert "no progress" in done.stderr
