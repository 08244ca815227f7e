"""A row of the table: what is measured beside what, what is wanted of it, and what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``beside`` names the other thing that is measured, in the same unit.

    ``wanted`` is of the ratio, ours by the other's, or of ours alone; the least of it, or with ``lower`` the most.
    """

    name: str
    what: str
    unit: str
    beside: str
    wanted: float
    of: Literal["ratio", "ours"] = "ratio"
    lower: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One turn: both figures of a row, measured one after the other."""

    row: str
    ours: float
    other: float

    @property
    def ratio(self) -> float:
        return self.ours / self.other if self.other else 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. ``folder`` is for what a measurement leaves behind; it is removed afterwards."""

    folder: Path
    rounds: int
    quick: bool

    def size(self, full: int, quick: int) -> int:
        """One of the two, by how thorough the run is."""
        return quick if self.quick else full

    def turns(self, most: int) -> range:
        """The turns of a long measurement, at most so many."""
        return range(min(self.rounds, most))


Measure = Callable[[Plan], Iterator[Sample]]


@dataclass(frozen=True, slots=True)
class Subject:
    """Rows that one measurement gives."""

    rows: tuple[Row, ...]
    measure: Measure


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row with what was seen: medians over the turns, and the spread of the ratio."""

    row: Row
    samples: tuple[Sample, ...]

    @property
    def ours(self) -> float:
        return median(sample.ours for sample in self.samples)

    @property
    def other(self) -> float:
        return median(sample.other for sample in self.samples)

    @property
    def ratios(self) -> tuple[float, float, float]:
        """Median, lowest and highest."""
        ratios = [sample.ratio for sample in self.samples]
        return median(ratios), min(ratios), max(ratios)

    @property
    def seen(self) -> float:
        """What is held against ``wanted``."""
        return self.ratios[0] if self.row.of == "ratio" else self.ours

    @property
    def held(self) -> bool:
        return self.seen <= self.row.wanted if self.row.lower else self.seen >= self.row.wanted

    @classmethod
    def of(cls, document: dict[str, Any]) -> Outcome:
        """As :meth:`document` wrote it."""
        row = Row(**{name: document[name] for name in (field.name for field in fields(Row))})
        return cls(row, tuple(Sample(row.name, turn["ours"], turn["other"]) for turn in document["turns"]))

    def document(self) -> dict[str, Any]:
        """As it is written to the JSON file."""
        middle, lowest, highest = self.ratios
        return asdict(self.row) | {
            "ours": self.ours,
            "other": self.other,
            "ratio": {"median": middle, "lowest": lowest, "highest": highest},
            "held": self.held,
            "turns": [{"ours": sample.ours, "other": sample.other} for sample in self.samples],
        }
