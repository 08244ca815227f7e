"""Acknowledgements that do not reach Redis."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from shared.config import Settings
from shared.queue import CeleryDoorbell, QueueNames, TaskNames, make_celery
from tests.servers import RedisServer, start_redis, wait_for


@pytest.fixture
def own_redis(short_tmp: Path) -> Iterator[RedisServer]:
    """A Redis that may be stopped."""
    server = start_redis(short_tmp / "redis-that-stops")
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.stop()


@pytest.mark.parametrize("way", ["ack", "reject", "requeue"])
def test_a_worker_whose_acknowledgement_is_lost_takes_the_next_message(own_redis: RedisServer, way: str) -> None:
    """It takes one message at a time, as ours do, and Redis is away when it is done with the first."""
    settings = Settings(REDIS_URL=own_redis.url)
    own_redis.client().flushall()
    for job in ("job_1", "job_2"):
        assert CeleryDoorbell(make_celery(settings)).ring(TaskNames.SCORE, job)
    app, taken = make_celery(settings), list[Any]()
    with app.connection_for_read(transport_options={"socket_timeout": 1}) as connection:
        queue = app.amqp.queues[QueueNames.BATCH]
        consumer = connection.Consumer([queue], callbacks=[lambda _, message: taken.append(message)])
        consumer.qos(prefetch_count=1)
        consumer.consume()
        wait_for(lambda: drained(connection, taken, 1), "the first message")
        assert not consumer.channel.qos.can_consume()
        os.kill(own_redis.process.pid, signal.SIGSTOP)
        with pytest.raises(RedisError):
            {"ack": taken[0].ack, "reject": taken[0].reject, "requeue": taken[0].requeue}[way]()
        os.kill(own_redis.process.pid, signal.SIGCONT)
        wait_for(lambda: drained(connection, taken, 2), "the next message")
    assert [message.payload[0] for message in taken] == [["job_1"], ["job_2"]]


def drained(connection: Any, taken: list[Any], count: int) -> bool:
    with suppress(TimeoutError):
        connection.drain_events(timeout=0.2)
    return len(taken) == count
