"""Whether an image ends the process that decodes it, found out in a process of its own.

As a program: ``python -m worker.probing`` decodes the image on its standard input, as the :class:`Probe` in its one
argument (JSON) says, and ends with status 0 if it survives that.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

from pydantic import BaseModel

from shared.errors import UnusableImage
from worker.ml.images import ImageLimits, decode

PROBE_SECONDS = 60.0  # a decoder that hangs is as deadly as one that crashes


class Probe(BaseModel):
    """The part of a file to decode, as :func:`worker.ml.images.decode` takes it."""

    page: int
    box: tuple[int, int, int, int] | None
    max_pixels: int

    def is_deadly(self, data: bytes) -> bool:
        """Whether decoding ``data`` ends a process, or never ends."""
        command = [sys.executable, "-m", "worker.probing", self.model_dump_json()]
        try:
            done = subprocess.run(command, input=data, capture_output=True, timeout=PROBE_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return True
        return done.returncode != 0

    def decode(self, data: bytes) -> None:
        """Decode ``data``; one that only cannot be used does no harm."""
        with suppress(UnusableImage):
            decode(data, self.page, self.box, ImageLimits(max_pixels=self.max_pixels))


if __name__ == "__main__":
    Probe.model_validate_json(sys.argv[1]).decode(sys.stdin.buffer.read())
