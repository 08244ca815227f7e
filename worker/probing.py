"""Whether an image ends the process that decodes it, found out in a process of its own.

As a program: ``python -m worker.probing MAX_PIXELS`` says ``+`` once it is ready, then decodes what comes on its
standard input and answers each with ``+``. An image comes as a line of JSON (page, box, size) and ``size`` bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from threading import Lock, Timer
from typing import BinaryIO

from shared.errors import UnusableImage
from worker.ml.images import Box, ImageLimits, decode

PROBE_SECONDS = 60.0  # a decoder that hangs is as deadly as one that crashes
_ALIVE = b"+"


class Prober:
    """Decodes images in another process first, which takes a second to start; safe to use from several threads."""

    def __init__(self, max_pixels: int, patience: float = PROBE_SECONDS) -> None:
        self._max_pixels, self._patience = max_pixels, patience
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def is_deadly(self, data: bytes, page: int = 1, box: Box | None = None) -> bool:
        """Whether decoding ``data`` ends a process, or does not end.

        Raises:
            OSError: there is no process to ask; that is the host's fault, not the image's.
        """
        head = json.dumps({"page": page, "box": box, "size": len(data)}).encode()
        with self._lock:
            if self._process is None:
                self._process = self._begin()
            if self._answers(self._process, head + b"\n" + data):
                return False
            self._end()
            return True

    def check(self, data: bytes) -> None:
        """Raise UnusableImage with code ``crashed`` for an image that :meth:`is_deadly`."""
        if self.is_deadly(data):
            raise UnusableImage("crashed", "Decoding this image ends the worker: it is damaged. Export it again.")

    def _begin(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "worker.probing", str(self._max_pixels)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if self._answers(process, b""):
            return process
        _stop(process)
        raise OSError("the process that tries images out cannot be started")

    def _answers(self, process: subprocess.Popen[bytes], question: bytes) -> bool:
        if process.stdin is None or process.stdout is None:
            raise TypeError("the process was started with pipes")
        timer = Timer(self._patience, process.kill)
        timer.start()
        try:
            process.stdin.write(question)
            process.stdin.flush()
            return process.stdout.read(1) == _ALIVE
        except BrokenPipeError:
            return False
        finally:
            timer.cancel()

    def _end(self) -> None:
        if self._process is not None:
            _stop(self._process)
        self._process = None


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with suppress(BrokenPipeError):  # what it has not read of an image
        process.__exit__(None, None, None)


def _serve(questions: BinaryIO, answers: BinaryIO, limits: ImageLimits) -> None:
    answers.write(_ALIVE)
    answers.flush()
    while head := questions.readline():
        asked = json.loads(head)
        data = questions.read(asked["size"])
        with suppress(UnusableImage):  # one that only cannot be used does no harm
            decode(data, asked["page"], asked["box"], limits)
        answers.write(_ALIVE)
        answers.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer, ImageLimits(max_pixels=int(sys.argv[1])))
