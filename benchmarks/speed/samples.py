"""Batches of generated signatures, no image of which was ever sent before."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator
from itertools import combinations, count, product
from typing import BinaryIO

import cv2
import numpy as np

from worker.ml.images import Pixels
from worker.ml.synthesis import generate_writer

Images = dict[str, bytes]
Pairs = list[tuple[str, str]]

WRITERS, EACH = 9, 24  # as many as CEDAR's writers 37 to 45 have, of genuine signatures and of forgeries
BITS = 40


class Samples:
    """Images are generated once and marked with a number each, in paper that stays paper: other pixels, equal work."""

    def __init__(self, writers: int = WRITERS) -> None:
        self._writers = [
            ([s.image for s in own if not s.forged], [s.image for s in own if s.forged])
            for own in (list(generate_writer(7, writer, EACH, EACH)) for writer in range(writers))
        ]
        self._numbers = count(1)

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Images that differ from all before, for ever: (name, PNG)."""
        while True:
            for genuine, forged in self._writers:
                for image in genuine + forged:
                    yield self._fresh(image)

    def no_reuse(self, comparisons: int) -> tuple[Images, Pairs]:
        """Every image in one comparison only."""
        stream = self.images()
        images = dict(next(stream) for _ in range(2 * comparisons))
        names = list(images)
        return images, list(zip(names[::2], names[1::2], strict=True))

    def real_batch(self, most: int) -> tuple[Images, Pairs]:
        """Every genuine-genuine and genuine-forgery pair of the writers, up to ``most``: 7,668 over 432 images."""
        images: Images = {}
        pairs: Pairs = []
        for writer in self._writers:
            if len(pairs) >= most:
                break
            genuine, forged = (dict(map(self._fresh, side)) for side in writer)
            images |= genuine | forged
            pairs += [*combinations(genuine, 2), *product(genuine, forged)]
        return images, pairs[:most]

    def _fresh(self, image: Pixels) -> tuple[str, bytes]:
        number = next(self._numbers)
        marked = image.copy()
        bits = np.array([number >> place & 1 for place in range(BITS)], np.uint8)
        marked[0, :BITS] = 254 + bits
        return f"{number}.png", cv2.imencode(".png", marked, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def archive(images: Images, pairs: Iterable[tuple[str, str]]) -> BinaryIO:
    """The ZIP archive of a batch, with its manifest; ids count from 1."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in images.items():
            file.writestr(name, data)
        manifest = io.StringIO()
        writer = csv.writer(manifest)
        writer.writerow(("id", "questioned", "reference"))
        writer.writerows((number, *pair) for number, pair in enumerate(pairs, 1))
        file.writestr("manifest.csv", manifest.getvalue())
    buffer.seek(0)
    return buffer
