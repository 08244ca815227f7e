"""Worker processes that are to end."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time

from billiard import get_context
from billiard.pool import Worker

import worker.app

STUCK = "import time, worker.app as app; app.LONGEST_STOP = 0.5; app._drain(); time.sleep(60)"
STOP_SECONDS = 30.0  # what a deploy may take, with the work that is handed back before


def test_a_process_whose_last_task_was_not_heard_of_ends_soon() -> None:
    """Its parent is being stopped as well and reads no results any more; the process waits for it, but not long."""
    assert worker.app.app.conf.task_acks_late, "a task that was not heard of must come again"
    heard = multiprocessing.Value("i")
    queues = [get_context().SimpleQueue() for _ in range(2)]
    process = Worker(*queues, on_ready_counter=heard)
    begun = time.monotonic()
    assert not process._ensure_messages_consumed(completed=1)
    assert time.monotonic() - begun < STOP_SECONDS / 6
    heard.value = 1
    assert process._ensure_messages_consumed(completed=1)
    for queue in queues:
        queue._reader.close()
        queue._writer.close()


def test_a_worker_that_is_stopped_while_it_hangs_ends_all_the_same() -> None:
    """One was left behind by a stack that was killed as it started: Celery waited for a Redis that was gone."""
    begun = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", STUCK], check=False, timeout=60)
    assert ended.returncode == 1
    assert time.monotonic() - begun < STOP_SECONDS
