"""One pair: how long its answer takes on an idle system, and beside a large batch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median

import numpy as np

from benchmarks.speed.known import KnownImages
from benchmarks.speed.referee import Referee
from benchmarks.speed.row import Plan, Row, Sample, Subject
from benchmarks.speed.samples import Images, Samples, archive
from benchmarks.speed.service import Service, service
from web.client import Document, ended

MODEL = "compact"
BATCH = 100_000  # comparisons of the batch beside which a pair is sent
FRESH = 12_000  # images in it that nobody has encoded; enough for the network while pairs are sent
PAUSE = 0.05  # seconds between two pairs, in which an idle system becomes idle again


class Pairs:
    """Sends one pair after another, each of images that are new, and looks over the answers."""

    def __init__(self, stack: Service, model: str) -> None:
        self._stack, self._model, self._caller = stack, model, stack.caller()
        self._samples, self._referee = Samples(writers=2), Referee(model)

    def seconds(self, images: Images) -> float:
        """From the submit call of one pair to its readable result, which is checked afterwards."""
        started = time.perf_counter()
        result = self._caller.result(self._caller.submit_pair(self._model, images))
        seconds = time.perf_counter() - started
        first, second = images
        self._referee.check(images, [(first, second)], {0: result["distance"]})
        return seconds

    def some(self, count: int) -> list[float]:
        """So many pairs, with a pause after each."""
        return [self._one() for _ in range(count)]

    def while_running(self, job: Document, longest: float) -> list[float]:
        """Pairs until a job has ended, or for so many seconds."""
        taken, end = [], time.monotonic() + longest
        while time.monotonic() < end and not ended(self._stack.client.job(job["id"])):
            taken.append(self._one())
        return taken

    def network_seconds(self) -> float:
        """What the network alone takes for the two images of a pair."""
        canvases = self._referee.canvases(self._samples.no_reuse(1)[0])
        taken = []
        for _ in range(30):
            started = time.perf_counter()
            self._referee.embedder.embed(canvases)
            taken.append(time.perf_counter() - started)
        return median(taken)

    def _one(self) -> float:
        images, _ = self._samples.no_reuse(1)
        time.sleep(PAUSE)
        return self.seconds(images)


def percentile(seconds: list[float], share: float) -> float:
    """The least of the times that at least ``share`` per cent of them do not exceed."""
    return float(np.percentile(seconds, share, method="higher"))


def _idle(plan: Plan) -> Iterator[Sample]:
    with service(plan.folder) as stack:
        pairs = Pairs(stack, MODEL)
        pairs.some(10)
        for _ in range(plan.rounds):
            network = pairs.network_seconds()
            taken = [seconds - network for seconds in pairs.some(plan.size(200, 30))]
            for row, share in (("latency-p50", 50), ("latency-p99", 99)):
                yield Sample(row, 1e3 * percentile(taken, share), 1e3 * network)


def _beside_known(plan: Plan) -> Iterator[Sample]:
    with service(plan.folder) as stack:
        database = stack.database()
        known = KnownImages(database)
        database.close()
        pairs = Pairs(stack, MODEL)
        pairs.some(10)
        for _ in range(plan.rounds):
            named, _ = known.pairs(plan.size(BATCH, 20_000))
            with _batch(stack, MODEL, {}, named) as job:
                taken = pairs.while_running(job, 60)
            yield Sample("beside-known", percentile(taken, 99), percentile(taken, 50))


def _beside_fresh(plan: Plan) -> Iterator[Sample]:
    samples = Samples()
    with service(plan.folder) as stack:
        pairs = Pairs(stack, "seed")
        pairs.some(5)
        for _ in plan.turns(1):
            images, named = samples.no_reuse(plan.size(FRESH, 1000) // 2)
            named += [(one, two) for (one, _), (_, two) in pairwise(named)]
            rows = (named * (BATCH // len(named) + 1))[:BATCH]
            with _batch(stack, "seed", images, rows) as job:
                taken = pairs.while_running(job, plan.size(60, 20))
                if stack.client.job(job["id"])["done"] >= len(images) // 2:
                    raise RuntimeError("the network had nothing to do while pairs were sent; raise FRESH")
            yield Sample("beside-fresh", percentile(taken, 99), percentile(taken, 50))


@contextmanager
def _batch(stack: Service, model: str, images: Images, pairs: list[tuple[str, str]]) -> Iterator[Document]:
    """A batch that is being scored; what is left of it afterwards is cancelled."""
    job = stack.submit(model, archive(images, pairs))
    while not (ended(job) or job["done"]):
        job = stack.client.job(job["id"])
        time.sleep(0.05)
    yield job
    if not ended(stack.client.job(job["id"])):
        stack.client.cancel(job["id"])
    job = stack.client.wait(job["id"])
    if job["state"] not in ("succeeded", "cancelled"):
        raise RuntimeError(f"the batch ended as {job['state']}: {job['error']}")


SUBJECTS = (
    Subject(
        (
            Row("latency-p50", "one pair, idle system", "ms", "the network's own", 40, "ours", lower=True),
            Row("latency-p99", "the same", "ms", "the network's own", 150, "ours", lower=True),
        ),
        _idle,
    ),
    Subject(
        (Row("beside-known", f"one pair beside {BATCH:,} of known images, p99", "s", "p50", 2, "ours", lower=True),),
        _beside_known,
    ),
    Subject(
        (Row("beside-fresh", f"one pair beside {BATCH:,} of new images, p99", "s", "p50", 2, "ours", lower=True),),
        _beside_fresh,
    ),
)
