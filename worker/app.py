"""Entry point of all workers: ``celery -A worker.app worker -Q batch,interactive | train | io``."""

from __future__ import annotations

import os
from threading import Timer
from typing import Any

import billiard.pool
from celery.signals import celeryd_after_setup, setup_logging, worker_process_init, worker_shutting_down

from shared.config import configure_logging, load_settings
from shared.queue import make_celery
from worker.beforehand import load_before_fork, load_in_child
from worker.context import start_draining
from worker.tasks import register

# A child that ends waits until its parent has heard of each task that it did, which a parent that is being stopped may
# never do: 30 s, as long as a stop may take. What was not heard of is delivered again, and a doorbell may ring twice.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20  # of 0.1 s

LONGEST_STOP = 45.0  # seconds; work is handed back within 30, and `up` waits 40

settings = load_settings()
app = make_celery(settings)
register(app)


@setup_logging.connect  # type: ignore[untyped-decorator]  # celery is untyped
def _one_log_format(**_: Any) -> None:
    configure_logging(settings)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]  # celery is untyped
def _drain(**_: Any) -> None:
    """Hand work back; and end in any case. Told to stop while it looks for a Redis that is gone, Celery looks on."""
    start_draining()
    end = Timer(LONGEST_STOP, os._exit, (1,))
    end.daemon = True
    end.start()


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]  # as above
def _before_fork(**_: Any) -> None:
    load_before_fork(app.amqp.queues.consume_from)


@worker_process_init.connect  # type: ignore[untyped-decorator]  # as above
def _in_child(**_: Any) -> None:
    load_in_child(app.amqp.queues.consume_from)
