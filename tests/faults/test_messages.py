"""Messages that come twice, in any order, or for nothing: the database decides, not they."""

from __future__ import annotations

import random

from shared.config import Settings
from shared.queue import SOLO_TASKS, CeleryDoorbell, QueueNames, TaskNames, make_celery
from tests.faults.night import Night
from tests.faults.processes import children, frozen, program, redis_url, second_worker

QUEUES = (QueueNames.INTERACTIVE, QueueNames.BATCH, QueueNames.TRAIN, QueueNames.IO)
JOBS = 4


def test_every_message_twice_in_random_order_and_some_for_a_job_that_is_gone(night: Night) -> None:
    """Two workers get four jobs' messages so: each chunk is claimed once, each row written once."""
    doorbell = CeleryDoorbell(make_celery(Settings(REDIS_URL=redis_url(night.stack))))
    log = night.stack.home / "logs" / "score.log"
    told = log.stat().st_size
    with second_worker(night.stack) as second:
        workers = [*(program(night.stack, name) for name in ("io", "score", "train")), second]
        with frozen(*workers, *(process for worker in workers for process in children(worker))):
            jobs = [night.submit() for _ in range(JOBS)]
            for task in (TaskNames.INTAKE, TaskNames.SCORE, *SOLO_TASKS.values()):
                assert doorbell.ring(task, "job_gone")
            for job in jobs:
                assert doorbell.ring(TaskNames.SCORE, job["id"])  # before there is anything to score
            sent = [twice_and_shuffled(night, queue) for queue in QUEUES]
            rung = 2 * JOBS + 2 + len(SOLO_TASKS)  # a frozen worker is handed one all the same if it waited for it
            assert sum(sent) >= 2 * (rung - len(workers)), "the workers had taken the messages already"
        for job in jobs:
            night.ends_undisturbed(job)
            assert {(chunk.fence, chunk.tries) for chunk in night.chunks(job)} == {(1, 1)}
    assert "Traceback" not in log.read_text()[told:]


def twice_and_shuffled(night: Night, queue: str) -> int:
    """Double what waits in a queue and shuffle it; returns how many messages it then holds."""
    redis = night.stack.redis_client()
    messages = redis.lrange(queue, 0, -1) * 2
    random.Random(queue).shuffle(messages)  # noqa: S311 (no secret)
    if messages:
        redis.delete(queue)
        redis.rpush(queue, *messages)
    return len(messages)
