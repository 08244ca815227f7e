"""End to end against the article's loop: every image once, and a batch as banks send it."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.speed.article import loop_rate
from benchmarks.speed.row import Plan, Row, Sample, Subject
from benchmarks.speed.samples import Samples
from benchmarks.speed.service import MODELS, service

LOOP = "the article's loop, seed"
UNIT = "comparisons/s"


def _measure(plan: Plan, workload: str, full: int, quick: int) -> Iterator[Sample]:
    samples = Samples(plan.size(9, 2))
    make = samples.no_reuse if workload == "no-reuse" else samples.real_batch
    with service(plan.folder) as stack:
        stack.warm(*samples.no_reuse(4), *MODELS)
        for _ in range(plan.rounds):
            for model in MODELS:
                comparisons = plan.size(full, quick)
                images, pairs = make(comparisons)
                seconds = stack.seconds(model, images, pairs)
                loop = loop_rate(*samples.no_reuse(plan.size(100, 20)), plan.folder / "loop")
                yield Sample(f"{workload}-{model}", len(pairs) / seconds, loop)


SUBJECTS = (
    Subject(
        (
            Row("no-reuse-seed", "no image twice, seed", UNIT, LOOP, 2.2),
            Row("no-reuse-compact", "no image twice, compact", UNIT, LOOP, 12.0),
        ),
        lambda plan: _measure(plan, "no-reuse", 5000, 200),
    ),
    Subject(
        (
            Row("real-seed", "all pairs of 9 writers, seed", UNIT, LOOP, 40.0),
            Row("real-compact", "all pairs of 9 writers, compact", UNIT, LOOP, 150.0),
        ),
        lambda plan: _measure(plan, "real", 7668, 800),
    ),
)
