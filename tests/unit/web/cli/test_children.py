"""Programs that ``countersign up`` has to stop."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.processes import children, gone
from tests.servers import wait_for
from web.cli.children import Child, stop_together

OBEDIENT = "import time; print('up', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {OBEDIENT}"
DEAF_PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {DEAF!r}]); {DEAF}"

Start = Callable[[str], Child]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Python programs and waits until they are up."""
    started: list[Child] = []

    def act(program: str) -> Child:
        log = tmp_path / f"{len(started)}.log"
        child = Child(f"program {len(started)}", [sys.executable, "-c", program], dict(os.environ), log)
        child.start()
        started.append(child)
        expected = 2 if program == DEAF_PARENT else 1
        wait_for(lambda: log.read_text().count("up") == expected, "the program")
        return child

    yield act
    for child in started:
        if child.process is not None and child.process.poll() is None:
            child.kill()
            child.process.wait(20)


def pid(child: Child) -> int:
    assert child.process is not None
    return child.process.pid


def test_programs_that_do_not_stop_are_killed_together_with_their_children(start: Start) -> None:
    """However many there are, it takes hardly longer than they were given; the supervisor's stop has an end."""
    obedient, *deaf = [start(program) for program in (OBEDIENT, DEAF_PARENT, *[DEAF] * 3)]
    (grandchild,) = children(pid(deaf[0]))
    os.kill(pid(deaf[1]), signal.SIGSTOP)
    begun = time.monotonic()
    stop_together([obedient, *deaf], 1.0)
    assert time.monotonic() - begun < 5
    assert obedient.process is not None
    assert obedient.process.returncode == -signal.SIGTERM
    assert [child.process and child.process.returncode for child in deaf] == [-signal.SIGKILL] * 4
    wait_for(lambda: gone(grandchild), "the killed program's child to end")


def test_a_program_that_does_not_even_die_holds_up_nobody(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """The kernel ends a process only when its write to a busy disk is done; that may take minutes."""

    class Undying(Child):
        def kill(self) -> None:
            """As if it had no effect yet."""

    first, second = start(DEAF), start(DEAF)
    undying = Undying("undying", first.command, first.environment, first.log_path, first.process)
    begun = time.monotonic()
    stop_together([undying, second], 0.5, 1.0)
    assert time.monotonic() - begun < 5
    assert second.process is not None
    assert second.process.returncode == -signal.SIGKILL
    assert "undying was killed and has not ended yet" in caplog.text


def test_programs_that_ended_or_never_began_need_no_stop(start: Start, tmp_path: Path) -> None:
    ended = start(OBEDIENT)
    os.kill(pid(ended), signal.SIGKILL)
    wait_for(lambda: gone(pid(ended)), "its end")
    never = Child("never", [], {}, tmp_path / "log")
    begun = time.monotonic()
    stop_together([ended, never], 30.0)
    assert time.monotonic() - begun < 5
