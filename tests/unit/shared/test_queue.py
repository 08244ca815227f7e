from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.config import Settings
from shared.errors import Unavailable
from shared.queue import QUEUE_OF, CeleryDoorbell, QueueNames, TaskNames, make_celery
from tests.servers import RedisServer, start_redis


def doorbell_to(url: str) -> CeleryDoorbell:
    return CeleryDoorbell(make_celery(Settings(REDIS_URL=url)))


def names(of: type) -> set[str]:
    return {value for name, value in vars(of).items() if name.isupper()}


def test_each_task_has_a_queue() -> None:
    assert set(QUEUE_OF) == names(TaskNames)
    assert set(QUEUE_OF.values()) <= names(QueueNames)


def test_messages_are_json_with_ids_only(redis: RedisServer) -> None:
    client = redis.client()
    client.flushall()
    bell = doorbell_to(redis.url)
    bell.check()
    assert bell.ring(TaskNames.TRAIN, "job_1")
    assert bell.ring(TaskNames.SCORE, "job_2", queue=QueueNames.INTERACTIVE)
    message = json.loads(client.lpop(QueueNames.TRAIN))  # type: ignore[arg-type]  # redis types its asynchronous client too
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == TaskNames.TRAIN
    assert client.llen(QueueNames.INTERACTIVE) == 1
    assert client.llen(QueueNames.BATCH) == 0
    client.close()


def test_one_ring_stands_for_all_small_jobs_that_wait(redis: RedisServer) -> None:
    """Other work is rung for each time: a message about it may be of a job that keeps its worker for hours."""
    client = redis.client()
    client.flushall()
    bell = doorbell_to(redis.url)
    for job in ("job_1", "job_2"):
        assert bell.ring(TaskNames.SCORE, job, queue=QueueNames.INTERACTIVE)
        assert bell.ring(TaskNames.SCORE, job)
    assert (client.llen(QueueNames.INTERACTIVE), client.llen(QueueNames.BATCH)) == (1, 2)
    client.lpop(QueueNames.INTERACTIVE)  # a worker has taken it
    assert bell.ring(TaskNames.SCORE, "job_3", queue=QueueNames.INTERACTIVE)
    assert client.llen(QueueNames.INTERACTIVE) == 1
    client.close()


def test_workers_acknowledge_late_and_take_json_only() -> None:
    conf = make_celery(Settings()).conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.accept_content == ["json"]
    assert conf.worker_prefetch_multiplier == 1
    assert conf.beat_schedule["sweep"]["task"] == TaskNames.SWEEP


def test_an_absent_queue(settings: Settings) -> None:
    bell = doorbell_to(settings.redis_url)
    with pytest.raises(Unavailable) as caught:
        bell.check()
    assert caught.value.code == "queue_unavailable"
    assert not bell.ring(TaskNames.TRAIN, "job_1")


def test_the_bell_works_again_after_the_queue_was_away(short_tmp: Path) -> None:
    server = start_redis(short_tmp / "redis-that-restarts")
    bell = doorbell_to(server.url)
    bell.check()
    assert bell.ring(TaskNames.TRAIN, "job_1")
    server.stop()
    with pytest.raises(Unavailable):
        bell.check()
    assert not bell.ring(TaskNames.TRAIN, "job_2")
    server = start_redis(server.folder)
    try:
        bell.check()
        assert bell.ring(TaskNames.TRAIN, "job_3")
        client = server.client()
        assert client.llen(QueueNames.TRAIN) == 1
        client.close()
    finally:
        server.stop()
