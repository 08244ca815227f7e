"""Work done ahead by threads, bounded, so that memory stays flat."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def ahead(work: Callable[[T], R], items: Iterable[T], threads: int, most: int) -> Iterator[Iterator[R]]:
    """Within the block, the results of ``work`` on ``items`` in their order, at most ``most`` of them in advance.

    Leaving the block drops what was not begun, so that a stop does not wait for it.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    iterator = iter(items)

    def results() -> Iterator[R]:
        waiting.extend(pool.submit(work, item) for item in islice(iterator, most))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(iterator, 1))
            yield result

    try:
        yield results()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
