"""What the processes of a stack hold as their jobs go by: growth after they have warmed up.

The stack as a whole says nothing: a worker holds half a gigabyte more from its first job on, and each kill begins that
anew. So every process is held against itself, from when it has done each kind of its jobs. What the C library keeps for
what comes next grows by a step now and then, which ``SLACK`` allows for; a leak goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.processes import MARKS, children, command
from tests.servers import Stack

ALL_KINDS = ("verify", "identify", "train")
KINDS = {"score": ("verify", "identify"), "train": ("train",)}  # the rest sees jobs of all kinds
WARM = 2  # jobs of each of its kinds that a process must have seen
LONG = 5  # jobs after that, or it is not judged
MOST = (0.1, 0.02)  # megabytes and files a job
SLACK = (16.0, 6.0)


@dataclass(frozen=True, slots=True)
class Held:
    """What one process holds, after so many jobs of the stack."""

    megabytes: float  # anonymous: its own, and what it was forked with
    files: int
    jobs: int  # of the kinds that its program serves


@dataclass(frozen=True, slots=True)
class Growth:
    """Growth of one process since it was warm, over so many jobs."""

    megabytes: float
    files: int
    jobs: int

    @property
    def excess(self) -> tuple[float, float]:
        """By how many megabytes and files it grew more than it may; negative where it did not."""
        allowed = [slack + most * self.jobs for most, slack in zip(MOST, SLACK, strict=True)]
        return self.megabytes - allowed[0], self.files - allowed[1]

    @property
    def too_much(self) -> list[str]:
        """What grew more than it may."""
        found = zip(("megabytes", "files"), (self.megabytes, self.files), self.excess, strict=True)
        return [f"{grown:.0f} {name} in {self.jobs} jobs" for name, grown, excess in found if excess > 0]


@dataclass(slots=True)
class Life:
    """One process, from when it was first seen."""

    seen: Counter[str]  # jobs by kind that had ended then
    warm: Held | None = None
    last: Held | None = None

    def growth(self) -> Growth:
        """That since it was warm."""
        if not self.warm or not self.last:
            return Growth(0.0, 0, 0)
        before, now = self.warm, self.last
        return Growth(now.megabytes - before.megabytes, now.files - before.files, now.jobs - before.jobs)


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
        kinds = KINDS.get(name.partition("'")[0], ALL_KINDS)
        life.last = Held(held, files, sum(ended.get(kind, 0) for kind in kinds))
        if life.warm is None and all(ended.get(kind, 0) - life.seen[kind] >= WARM for kind in kinds):
            life.warm = life.last

    def growth(self) -> dict[str, Growth]:
        """By program, that of its process which comes nearest to too much; none where none lived long enough."""
        found: dict[str, Growth] = {}
        for (name, _, _), life in self._lives.items():
            grown = life.growth()
            if grown.jobs >= LONG and (name not in found or max(grown.excess) > max(found[name].excess)):
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
