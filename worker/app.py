"""Entry point of all workers: ``celery -A worker.app worker -Q batch,interactive | train | io``."""

from __future__ import annotations

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

settings = load_settings()
app = make_celery(settings)
register(app)


@setup_logging.connect  # type: ignore[untyped-decorator]  # celery is untyped
def _one_log_format(**_: Any) -> None:
    configure_logging(settings)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]  # celery is untyped
def _drain(**_: Any) -> None:
    start_draining()


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]  # as above
def _before_fork(**_: Any) -> None:
    load_before_fork(app.amqp.queues.consume_from)


@worker_process_init.connect  # type: ignore[untyped-decorator]  # as above
def _in_child(**_: Any) -> None:
    load_in_child(app.amqp.queues.consume_from)
