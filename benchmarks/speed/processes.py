"""What the kernel says of the processes of a stack."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

MIB = 2**20


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    with suppress(FileNotFoundError, ProcessLookupError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(each for child in children for each in tree(int(child)))]
    return []


def command(pid: int) -> str:
    """The command line of a process; nothing for one that is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def peaks(pid: int, mark: str = "") -> dict[int, float]:
    """The most resident memory, MiB, that each process of a tree ever had; ``mark`` is in their commands."""
    found = {each: _peak(each) for each in tree(pid) if mark in command(each)}
    return {each: peak for each, peak in found.items() if peak}


def largest_growth(before: dict[int, float], after: dict[int, float]) -> tuple[float, float]:
    """By how much the process grew that grew most, and its peak before, MiB.

    Raises:
        RuntimeError: a process ended meanwhile, or was started: its growth cannot be told.
    """
    if before.keys() != after.keys():
        raise RuntimeError(f"the processes changed, so their growth cannot be told: {before}, then {after}")
    return max((after[pid] - before[pid], before[pid]) for pid in before)


def _peak(pid: int) -> float:
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / MIB
    return 0.0
