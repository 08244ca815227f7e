"""End to end against the article's loop and against the hardware: every image once, and a batch as banks send it."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.speed.article import loop_rate
from benchmarks.speed.limit import limit
from benchmarks.speed.referee import Referee
from benchmarks.speed.row import Plan, Row, Sample, Subject
from benchmarks.speed.samples import Images, Pairs, Samples
from benchmarks.speed.service import MODELS, Service, service
from shared.boxed import NAME as BOXED
from worker.ml.images import decode, pixel_digest

LOOP = "the article's loop, seed"
LIMIT = "network (float32) and preparation alone"
UNIT = "comparisons/s"
NO_REUSE, REAL = 5000, 7668  # comparisons
FEWER = 1000  # comparisons without reuse by the model in the box
LOOKED_OVER = 20  # answers


def _no_reuse(plan: Plan) -> Iterator[Sample]:
    samples = Samples(plan.size(9, 2))
    with service(plan.folder) as stack:
        stack.warm(*samples.no_reuse(4), *MODELS)
        for _ in range(plan.rounds):
            for model in MODELS:
                rate = _rate(stack, model, *samples.no_reuse(plan.size(NO_REUSE, 200)))
                yield Sample(f"no-reuse-{model}", rate, _loop(plan, samples))
                yield Sample(f"limit-{model}", rate, limit(model, samples.no_reuse(plan.size(128, 32))[0]) / 2)


def _real(plan: Plan) -> Iterator[Sample]:
    samples = Samples(plan.size(9, 2))
    with service(plan.folder) as stack:
        stack.warm(*samples.no_reuse(4), *MODELS)
        for _ in range(plan.rounds):
            for model in MODELS:
                rate = _rate(stack, model, *samples.real_batch(plan.size(REAL, 800)))
                yield Sample(f"real-{model}", rate, _loop(plan, samples))


def _boxed(plan: Plan) -> Iterator[Sample]:
    """What a new installation answers with: a model of the network ``ink``."""
    samples = Samples(plan.size(9, 2))
    with service(plan.folder) as stack:
        stack.warm(*samples.no_reuse(4), BOXED)
        for _ in range(plan.rounds):
            rate = _rate(stack, BOXED, *samples.no_reuse(plan.size(FEWER, 50)))
            yield Sample("no-reuse-ink", rate, _loop(plan, samples))
            images, pairs = samples.real_batch(plan.size(REAL, 800))
            loop = _loop(plan, samples)
            yield Sample("real-ink", _rate(stack, BOXED, images, pairs), loop)
            known = {name: pixel_digest(decode(data)) for name, data in images.items()}
            named = [(known[one], known[two]) for one, two in pairs]
            yield Sample("known-ink", len(named) / stack.seconds(BOXED, {}, named), loop)


def _loop(plan: Plan, samples: Samples) -> float:
    return loop_rate(*samples.no_reuse(plan.size(100, 20)), plan.folder / "loop")


def _rate(stack: Service, model: str, images: Images, pairs: Pairs) -> float:
    """Comparisons per second; some of the answers are checked afterwards."""
    seconds, job_id = stack.verify(model, images, pairs)
    places = range(0, len(pairs), max(1, len(pairs) // LOOKED_OVER))
    Referee(model).check(images, pairs, stack.answers(job_id, places))
    return len(pairs) / seconds


SUBJECTS = (
    Subject(
        (
            Row("no-reuse-seed", "no image twice, seed", UNIT, LOOP, 2.2),
            Row("no-reuse-compact", "no image twice, compact", UNIT, LOOP, 12.0),
            Row("limit-seed", "the same, of what the hardware allows", UNIT, LIMIT, 0.8),
            Row("limit-compact", "the same, of what the hardware allows", UNIT, LIMIT, 0.8),
        ),
        _no_reuse,
    ),
    Subject(
        (
            Row("real-seed", "all pairs of 9 writers, seed", UNIT, LOOP, 40.0),
            Row("real-compact", "all pairs of 9 writers, compact", UNIT, LOOP, 150.0),
        ),
        _real,
    ),
    Subject(
        (
            Row("no-reuse-ink", "no image twice, the model in the box", UNIT, LOOP, 1.0),
            Row("real-ink", "all pairs of 9 writers, the model in the box", UNIT, LOOP, 20.0),
            Row("known-ink", "the same again, by digest: no image is encoded", UNIT, LOOP, 100.0),
        ),
        _boxed,
    ),
)
