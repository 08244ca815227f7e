"""The queue: the Celery application and the names that both sides use. A message is a doorbell, never the truth."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from celery import Celery
from kombu import Queue  # type: ignore[attr-defined]  # re-exported lazily
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared import broker
from shared.config import Settings
from shared.errors import Unavailable

log = logging.getLogger(__name__)

TIDY_SECONDS = 3600.0
LOAD_SECONDS = 120.0  # that a worker's child may take to load what it needs; one that takes longer is ended
DELIVER_SECONDS = 5.0  # between two looks for webhooks to be sent


class QueueNames:
    """Queues, each with its kind of worker."""

    INTERACTIVE = "interactive"  # small verifications, on the GPU worker
    BATCH = "batch"  # the rest of them, and identifications
    TRAIN = "train"  # the training worker: trainings, evaluations, tuning
    IO = "io"  # torch-free: intake, views, looks at data, the sweep, webhooks


class TaskNames:
    """Tasks by name: the web never imports the worker's code."""

    INTAKE = "countersign.intake"
    SCORE = "countersign.score"
    TRAIN = "countersign.train"
    EVALUATE = "countersign.evaluate"
    TUNE = "countersign.tune"
    IDENTIFY = "countersign.identify"
    RENDER = "countersign.render"
    PICTURE = "countersign.picture"
    LOOK = "countersign.look"
    SWEEP = "countersign.sweep"
    DELIVER = "countersign.deliver"
    TIDY = "countersign.tidy"


QUEUE_OF = {
    TaskNames.INTAKE: QueueNames.IO,
    TaskNames.SCORE: QueueNames.BATCH,
    TaskNames.TRAIN: QueueNames.TRAIN,
    TaskNames.EVALUATE: QueueNames.TRAIN,
    TaskNames.TUNE: QueueNames.TRAIN,
    TaskNames.IDENTIFY: QueueNames.BATCH,
    TaskNames.RENDER: QueueNames.IO,
    TaskNames.PICTURE: QueueNames.IO,
    TaskNames.LOOK: QueueNames.IO,
    TaskNames.SWEEP: QueueNames.IO,
    TaskNames.DELIVER: QueueNames.IO,
    TaskNames.TIDY: QueueNames.IO,
}

# Kinds of job that one worker does alone from beginning to end; a verification goes through intake and chunks.
SOLO_TASKS = {
    "train": TaskNames.TRAIN,
    "evaluate": TaskNames.EVALUATE,
    "tune": TaskNames.TUNE,
    "identify": TaskNames.IDENTIFY,
}


def task_of(kind: str, intake_done: bool) -> str:
    """The task that takes a job of this kind further."""
    return SOLO_TASKS.get(kind) or (TaskNames.SCORE if intake_done else TaskNames.INTAKE)


def _queues() -> list[Any]:
    names = (QueueNames.INTERACTIVE, QueueNames.BATCH, QueueNames.TRAIN, QueueNames.IO)
    return [Queue(name) for name in names]  # type: ignore[no-untyped-call]  # kombu is untyped


def make_celery(settings: Settings) -> Celery:
    """The Celery application for the broker of ``settings``."""
    broker.register()
    app = Celery("countersign", broker=settings.redis_url)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_track_started=False,
        worker_prefetch_multiplier=1,
        worker_proc_alive_timeout=LOAD_SECONDS,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 30, "visibility_timeout": 3600},
        task_queues=_queues(),
        task_default_queue=QueueNames.IO,
        task_routes={name: {"queue": queue} for name, queue in QUEUE_OF.items()},
        beat_schedule={
            "sweep": _every(settings.sweep_seconds, TaskNames.SWEEP),
            "deliver": _every(min(settings.sweep_seconds, DELIVER_SECONDS), TaskNames.DELIVER),
            "tidy": _every(TIDY_SECONDS, TaskNames.TIDY),
        },
    )
    return app


def _every(seconds: float, task: str) -> dict[str, Any]:
    return {"task": task, "schedule": seconds, "options": {"expires": seconds}}


CHECK_SECONDS = 2.0  # that a front end waits for Redis to say that it is there


class Doorbell(Protocol):
    """What wakes workers. Tests use a fake that remembers."""

    def check(self) -> None: ...
    def ring(self, task: str, *ids: str, queue: str | None = None) -> bool: ...


# A front end says at once that the queue is away; kombu would try again for six seconds.
ONE_TRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


class CeleryDoorbell:
    """Rings through Celery. ``app`` is to be the doorbell's own: a worker's must go on trying."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        app.conf.broker_transport_options = app.conf.broker_transport_options | ONE_TRY
        self._redis = broker.client_of(app.conf.broker_url, CHECK_SECONDS)

    def check(self) -> None:
        """Make sure that the queue is there, before anything is written.

        Raises:
            Unavailable: code ``queue_unavailable``.
        """
        try:
            self._redis.ping()
        except (RedisError, OSError) as error:
            log.warning("the queue is away: %s", error)
            raise Unavailable(
                "queue_unavailable", "The queue is not reachable, so nothing was accepted. Try again in a minute."
            ) from error

    def ring(self, task: str, *ids: str, queue: str | None = None) -> bool:
        """Send the task by name; False when the queue is away (the sweep rings again later).

        Where a small job is rung for and a ring of another waits already, it stands for both: who takes it looks for
        all that wait, and this one does by now.
        """
        try:
            if queue == QueueNames.INTERACTIVE and task == TaskNames.SCORE and self._redis.llen(queue):
                return True
            self._app.send_task(task, args=list(ids), queue=queue or QUEUE_OF[task], retry=False)
        except (RedisError, OperationalError, OSError) as error:
            log.warning("could not ring %s %s, the sweep will: %s", task, ids, error)
            return False
        return True
