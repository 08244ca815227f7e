"""How many comparisons are claimed at a time."""

from __future__ import annotations

from worker.claim_size import CLAIM_SECONDS, MOST_ROWS, ClaimSize


def test_it_follows_the_rate_step_by_step_and_never_leaves_its_bounds() -> None:
    size = ClaimSize(256)
    size.after(256, 30.0)  # unknown images
    assert size.rows == 256
    size.after(256, 0.02)  # known ones
    assert size.rows == 1024
    size.after(1024, 1.0)
    assert size.rows == int(1024 * CLAIM_SECONDS)
    for _ in range(9):
        size.after(size.rows, 0.001)
    assert size.rows == MOST_ROWS
    size.after(MOST_ROWS, 60.0)
    assert size.rows == 256


def test_a_setting_above_the_bounds_is_obeyed() -> None:
    size = ClaimSize(10_000)
    size.after(10_000, 0.5)
    assert size.rows == 10_000


def test_no_time_at_all() -> None:
    size = ClaimSize(8)
    size.after(1, 0.0)
    assert size.rows == 32
