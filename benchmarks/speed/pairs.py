"""A thousand jobs of one pair each against one job of as many pairs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

from benchmarks.speed.referee import Referee
from benchmarks.speed.row import Plan, Row, Sample, Subject
from benchmarks.speed.samples import Images, Pairs, Samples
from benchmarks.speed.service import Service, service

MODEL = "seed"
PAIRS, CONNECTIONS = 1000, 16
LOOKED_OVER = 16  # answers


def one_by_one(stack: Service, images: Images, pairs: Pairs) -> tuple[float, list[float]]:
    """Seconds from the first submit call to the last readable result, and all distances, in the order of the pairs.

    Each connection sends its share, then fetches the results.
    """
    started = time.perf_counter()
    shares = [pairs[place::CONNECTIONS] for place in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        found = list(pool.map(_share, repeat(stack), repeat(images), shares))
    seconds = time.perf_counter() - started
    distances = [0.0] * len(pairs)
    for place, share in enumerate(found):
        distances[place::CONNECTIONS] = share
    return seconds, distances


def _share(stack: Service, images: Images, pairs: Pairs) -> list[float]:
    with stack.caller() as caller:
        jobs = [caller.submit_pair(MODEL, {name: images[name] for name in pair}) for pair in pairs]
        return [caller.result(job)["distance"] for job in jobs]


def _measure(plan: Plan) -> Iterator[Sample]:
    samples, referee, count = Samples(), Referee(MODEL), plan.size(PAIRS, 64)
    with service(plan.folder) as stack:
        stack.warm(*samples.no_reuse(4), MODEL)
        for _ in plan.turns(1):
            images, pairs = samples.no_reuse(count)
            apart, distances = one_by_one(stack, images, pairs)
            referee.check(images, pairs, dict(enumerate(distances[:LOOKED_OVER])))
            images, pairs = samples.no_reuse(count)
            together, job_id = stack.verify(MODEL, images, pairs)
            referee.check(images, pairs, stack.answers(job_id, range(LOOKED_OVER)))
            yield Sample("pairs", count / apart, count / together)


SUBJECTS = (
    Subject(
        (
            Row(
                "pairs", f"{PAIRS:,} jobs of one pair over {CONNECTIONS} connections", "pairs/s", "one job of them", 0.6
            ),
        ),
        _measure,
    ),
)
