"""What a worker loads before its first task, so that the first to ask need not wait for it.

A worker that scores loads torch and all that verification needs in its child: the parent must not hold what a fork
would break. One that reads manifests loads, in its parent, what all its children use. Training waits for its first
task: it is seldom asked, and never answers at once.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module

from shared.queue import QueueNames

_BEFORE_FORK = {QueueNames.IO: ("worker.intake", "shared.jobs.sweep", "shared.jobs.partial", "worker.webhooks")}
_IN_CHILD = {QueueNames.BATCH: ("worker.verification",), QueueNames.INTERACTIVE: ("worker.verification",)}


def load_before_fork(queues: Collection[str]) -> None:
    """Load what the children of a worker of these queues share."""
    _load(_BEFORE_FORK, queues)


def load_in_child(queues: Collection[str]) -> None:
    """Load what a child of a worker of these queues needs for itself."""
    _load(_IN_CHILD, queues)


def _load(needed: Mapping[str, tuple[str, ...]], queues: Collection[str]) -> None:
    with _uncollected():
        for module in sorted({module for queue in queues for module in needed.get(queue, ())}):
            import_module(module)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage while modules are loaded, which leave hardly any; nor among what they made ever after.

    A fifth of the time that torch takes to load goes into looking.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
