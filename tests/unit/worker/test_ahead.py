from __future__ import annotations

import threading
from itertools import islice

import pytest

from worker.ahead import ahead


def test_results_come_in_order() -> None:
    with ahead(lambda n: n * n, range(100), threads=4, most=10) as results:
        assert list(results) == [n * n for n in range(100)]


def test_no_more_is_begun_in_advance_than_allowed() -> None:
    begun: list[int] = []
    with ahead(begun.append, range(1000), threads=2, most=5) as results:
        list(islice(results, 10))
        assert len(begun) <= 10 + 5


def test_leaving_drops_what_was_not_begun() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if number:
            gate.wait(20)

    with ahead(work, range(100), threads=1, most=50) as results:
        next(results)
        threading.Timer(0.2, gate.set).start()  # while the block is being left
    assert begun in ([0], [0, 1])


def test_an_error_of_the_work_is_raised_where_its_result_is_asked_for() -> None:
    def work(number: int) -> int:
        return 1 // (3 - number)

    with ahead(work, range(10), threads=2, most=4) as results:
        assert list(islice(results, 3)) == [0, 0, 1]
        with pytest.raises(ZeroDivisionError):
            next(results)
