"""The programs that ``countersign up`` starts, starts again, and stops."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger("countersign.up")

RESTART_PAUSE = 1.0
RESTART_LONGEST = 30.0
KILL_SECONDS = 5.0  # for the kernel to end what it was told to kill: on a busy disk that is not done at once
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(slots=True)
class Child:
    """One program of the stack; restarted when it ends by itself, later each time it fails early."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = field(default=RESTART_PAUSE)

    def start(self) -> None:
        with self.log_path.open("ab") as log_file:
            # A session of its own: Ctrl-C reaches the supervisor only, which then stops the children in order.
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self.started = time.monotonic()

    def revive(self) -> None:
        """Start it again if it ended."""
        if self.process is None or self.process.poll() is None:
            return
        lived = time.monotonic() - self.started
        if lived < self.pause:
            return
        log.warning(
            "%s ended with status %s, starting it again; see %s", self.name, self.process.returncode, self.log_path
        )
        self.pause = RESTART_PAUSE if lived > RESTART_LONGEST else min(2 * self.pause, RESTART_LONGEST)
        self.start()

    def stop(self) -> None:
        """Ask it to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it with all its children."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def ended_by(self, until: float) -> bool:
        """Wait for its end, to ``until`` (``time.monotonic``) at most; whether it has ended."""
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(max(0.1, until - time.monotonic()))
        return self.process is None or self.process.returncode is not None


def stop_together(children: Sequence[Child], seconds: float, kill_seconds: float = KILL_SECONDS) -> None:
    """Ask programs to end, and kill those that have not after ``seconds``.

    It takes ``kill_seconds`` longer at most, whatever they do.
    """
    until = time.monotonic() + seconds
    for child in children:
        child.stop()
    late = [child for child in children if not child.ended_by(until)]
    for child in late:
        log.warning("%s does not stop, killing it", child.name)
        child.kill()
    until = time.monotonic() + kill_seconds
    for child in late:
        if not child.ended_by(until):
            log.error(
                "%s was killed and has not ended yet, process %s", child.name, child.process and child.process.pid
            )


def _end_with_parent() -> None:
    """Have the kernel stop this child should the supervisor be killed: nothing is left running unwatched."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
