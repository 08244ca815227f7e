"""How many comparisons a worker claims at a time."""

from __future__ import annotations

CLAIM_SECONDS = 2.0  # of work in one claim, where it is quick: the pause between two claims no longer counts then
MOST_ROWS = 4096  # so that what a claim holds in memory stays small
GROWTH = 4.0


class ClaimSize:
    """Starts at ``least`` and follows the rate: rows whose images are known take microseconds, others a network."""

    def __init__(self, least: int) -> None:
        self._least = least
        self.rows = least

    def after(self, rows: int, seconds: float) -> None:
        """A claim of ``rows`` took ``seconds``."""
        wanted = min(rows / max(seconds, 1e-6) * CLAIM_SECONDS, self.rows * GROWTH, MOST_ROWS)
        self.rows = max(int(wanted), self._least)
