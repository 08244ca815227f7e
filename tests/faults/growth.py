"""What the processes of a stack hold as their jobs go by: growth after they have warmed up.

The stack as a whole says nothing: a worker holds half a gigabyte more from its first job on, and each kill begins that
anew. So every process is held against itself, stretch by stretch of its jobs, from when it has done each kind of them.
What the C library keeps for what comes next grows by a step now and then, ever more seldom, and stays; a leak goes on
in most stretches, so the median of the later half of them tells it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from tests.faults.processes import MARKS, children, command
from tests.servers import Stack

ALL_KINDS = ("verify", "identify", "train")
KINDS = {"score": ("verify", "identify"), "train": ("train",)}  # the rest sees jobs of all kinds
WARM = 2  # jobs of each of its kinds that a process must have seen
STRETCH, STRETCH_OF = 10, {"train": 5}  # jobs; trainings are few
LONG = 8  # stretches; who lived for fewer is not judged, and the first half of them is taken for warming up
MOST_MEGABYTES = 0.2  # a job
MOST_FILES = 0.2  # one or two are open while a job is under way


@dataclass(frozen=True, slots=True)
class Held:
    """What one process holds, after so many jobs of the stack."""

    megabytes: float  # anonymous: its own, and what it was forked with
    files: int
    jobs: int  # of the kinds that its program serves


@dataclass(frozen=True, slots=True)
class Growth:
    """How one process grew, a job, in the median of the later half of its stretches, and over how many jobs."""

    megabytes: float
    files: float
    jobs: int

    @property
    def excess(self) -> float:
        """The larger of its growths as a share of what is allowed."""
        return max(self.megabytes / MOST_MEGABYTES, self.files / MOST_FILES)

    def told(self) -> str:
        """The growth, for people."""
        return f"{self.megabytes:.2f} MB and {self.files:.2f} files a job, over {self.jobs} jobs"


@dataclass(slots=True)
class Life:
    """One process, from when it was first seen."""

    seen: Counter[str]  # jobs by kind that had ended then
    marks: list[Held] = field(default_factory=list)  # where its stretches begin and end; empty until it is warm

    def growth(self) -> Growth | None:
        """That since it was warm; None where it did not live long enough."""
        if len(self.marks) <= LONG:
            return None
        later = self.marks[(len(self.marks) - 1) // 2 :]
        stretches = list(pairwise(later))
        megabytes = median((b.megabytes - a.megabytes) / (b.jobs - a.jobs) for a, b in stretches)
        files = median((b.files - a.files) / (b.jobs - a.jobs) for a, b in stretches)
        return Growth(megabytes, files, later[-1].jobs - later[0].jobs)


class Lives:
    """All processes that a stack ever had."""

    def __init__(self) -> None:
        self._lives: dict[tuple[str, int, str], Life] = {}

    def look(self, stack: Stack, ended: Mapping[str, int]) -> None:
        """Note what each process holds now, ``ended`` jobs by kind after the beginning."""
        for name, pid in processes(stack):
            self.note(name, pid, begun(pid), ended, megabytes(pid), open_files(pid))

    def note(
        self, name: str, pid: int, start: str, ended: Mapping[str, int], held: float | None, files: int | None
    ) -> None:
        """Note what one process holds; None of one that has ended."""
        if held is None or files is None:
            return
        life = self._lives.setdefault((name, pid, start), Life(Counter(ended)))
        program = name.partition("'")[0]
        kinds, stretch = KINDS.get(program, ALL_KINDS), STRETCH_OF.get(program, STRETCH)
        now = Held(held, files, sum(ended.get(kind, 0) for kind in kinds))
        warm = all(ended.get(kind, 0) - life.seen[kind] >= WARM for kind in kinds)
        if (not life.marks and warm) or (life.marks and now.jobs - life.marks[-1].jobs >= stretch):
            life.marks.append(now)

    def growth(self) -> dict[str, Growth]:
        """By program, that of its process which grew most; none where none lived long enough."""
        found: dict[str, Growth] = {}
        for (name, _, _), life in self._lives.items():
            grown = life.growth()
            if grown and (name not in found or grown.excess > found[name].excess):
                found[name] = grown
        return found


def processes(stack: Stack) -> list[tuple[str, int]]:
    """The processes of a stack: ``up`` itself, its programs by name, and their children as ``NAME's child``."""
    found = [("up", stack.pid)]
    for pid in stack.children():
        name = next((name for name, mark in MARKS.items() if mark in command(pid)), "")
        if name:
            found += [(name, pid), *((f"{name}'s child", each) for each in children(pid))]
    return found


def begun(pid: int) -> str:
    """When a process began, so that its number used again is not taken for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def megabytes(pid: int) -> float | None:
    """The anonymous memory of a process, resident; None for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Anonymous:")), None)


def open_files(pid: int) -> int | None:
    """How many files, sockets and pipes a process has open; None for one that has ended."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return None
