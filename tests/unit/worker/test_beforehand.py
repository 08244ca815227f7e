"""What workers load before their first task, seen in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys

import pytest

SEEN = ("torch", "worker.verification", "worker.intake", "worker.training")
# Queues, and what a parent loads, and what a child of it loads then.
CASES: dict[str, tuple[list[str], list[str], list[str]]] = {
    "scoring": (["batch", "interactive"], [], ["torch", "worker.verification"]),
    "io": (["io"], ["worker.intake"], []),
    "training": (["train"], [], []),
}


@pytest.mark.parametrize(("queues", "parent", "child"), CASES.values(), ids=CASES.keys())
def test_what_a_worker_loads_beforehand(queues: list[str], parent: list[str], child: list[str]) -> None:
    code = f"""
import gc, sys, worker.app
from worker.beforehand import load_before_fork, load_in_child
def seen(): return [name for name in {SEEN!r} if name in sys.modules]
print(seen())
load_before_fork({queues!r}); print(seen())
load_in_child({queues!r}); print(seen())
print(gc.isenabled())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [str(each) for each in ([], parent, parent + child, True)]
