"""What was found in an archive of labelled signatures, and its counts for a person to check."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

WRITERS_SHOWN = 200  # rows of the table of writers in a report
_NAMED = 20  # writers named one by one in a report
_NAME_SHOWN = 100  # characters of a writer's name in a report


@dataclass(frozen=True, slots=True)
class Sample:
    """One signature: its entry in the archive, the writer whose name it bears, and whether it is a skilled forgery."""

    entry: str
    writer: str
    forged: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """Two entries that a list asks to compare. ``genuine``: one writer wrote both."""

    first: str
    second: str
    genuine: bool


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry, or one line of a CSV file, that is not used, and why. ``line`` counts from 1; 0: the whole entry."""

    entry: str
    reason: str
    code: str = "not_a_sample"
    line: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Fit for JSON; ``line`` only where there is one."""
        told: dict[str, Any] = {"entry": self.entry, "code": self.code, "reason": self.reason}
        return told | {"line": self.line} if self.line else told


@dataclass(frozen=True, slots=True)
class Layout:
    """What was found, all in name order (pairs in the order of their list).

    ``name`` is ``bhsig260``, ``cedar``, ``sigcomp2011``, ``icdar2011``, ``writers`` or ``pairs``. ``pairs`` are the
    comparisons that a CSV file of the archive lists, empty where there is none; both entries of a pair are samples.
    ``notes`` are sentences on how the archive was read.
    """

    name: str
    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...]
    pairs: tuple[Pair, ...] = ()
    notes: tuple[str, ...] = ()


def count_writers(samples: Iterable[Sample]) -> dict[str, Any]:
    """Counts in total and a writer, fit for JSON.

    Keys: ``writers``, ``genuine``, ``forged``: totals. ``per_writer``: ``genuine`` and ``forged``, each with the
    ``smallest``, ``median`` and ``largest`` number a writer has; ``rows``, one a writer in natural order (2 before
    10), at most WRITERS_SHOWN; ``left_off``, the number of writers without a row; ``single_genuine`` and
    ``no_genuine``, each with ``count`` and the first ``names`` of the writers who make no genuine pair.
    """
    counts: dict[str, list[int]] = {}
    for sample in samples:
        counts.setdefault(sample.writer, [0, 0])[sample.forged] += 1
    writers = sorted(counts, key=_natural)
    genuine, forged = ([counts[writer][side] for writer in writers] for side in (0, 1))
    return {
        "writers": len(writers),
        "genuine": sum(genuine),
        "forged": sum(forged),
        "per_writer": {
            "genuine": _spread(genuine),
            "forged": _spread(forged),
            "rows": [
                {"writer": writer[:_NAME_SHOWN], "genuine": counts[writer][0], "forged": counts[writer][1]}
                for writer in writers[:WRITERS_SHOWN]
            ],
            "left_off": max(0, len(writers) - WRITERS_SHOWN),
            "single_genuine": _named([writer for writer in writers if counts[writer][0] == 1]),
            "no_genuine": _named([writer for writer in writers if counts[writer][0] == 0]),
        },
    }


def _spread(numbers: list[int]) -> dict[str, float]:
    if not numbers:
        return {"smallest": 0, "median": 0, "largest": 0}
    middle = median(numbers)  # 2.0 is told as 2
    return {
        "smallest": min(numbers),
        "median": int(middle) if middle == int(middle) else middle,
        "largest": max(numbers),
    }


def _named(writers: list[str]) -> dict[str, Any]:
    return {"count": len(writers), "names": [writer[:_NAME_SHOWN] for writer in writers[:_NAMED]]}


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sorts numbers within names by their value."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d{1,18})", text) if part]
