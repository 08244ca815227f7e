"""The distances that answers must have: computed here, in this process, by the same network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.samples import Images, Pairs
from benchmarks.speed.service import random_network
from shared.boxed import FILE, NAME
from shared.specs import canvas_of
from worker.ml.checkpoint import load_model
from worker.ml.compare import comparer
from worker.ml.embedder import Embedder
from worker.ml.images import decode, prepare

NEAR = 0.01  # how far an answer may be from what is computed here, as a share of it


class Referee:
    """One of the measured models, or the one in the box, to look over answers with."""

    def __init__(self, model: str) -> None:
        self.embedder = _boxed() if model == NAME else Embedder(random_network(model), canvas_of(model))
        self.preprocessing = self.embedder.preprocessing

    def canvases(self, images: Images) -> NDArray[np.uint8]:
        """Images as the network sees them, (N, H, W)."""
        return np.stack([prepare(decode(data), self.preprocessing) for data in images.values()])

    def distances(self, images: Images, pairs: Pairs) -> NDArray[np.float32]:
        """The distance of each pair."""
        wanted = dict.fromkeys(name for pair in pairs for name in pair)
        place = {name: number for number, name in enumerate(wanted)}
        rows = self.embedder.embed(self.canvases({name: images[name] for name in wanted}))
        first, second = np.array([[place[one], place[two]] for one, two in pairs]).T
        return self.embedder.compare(rows, first, second)

    def check(self, images: Images, pairs: Pairs, answers: Mapping[int, float]) -> None:
        """Look over some answers, by the places of their pairs, from 0.

        Raises:
            RuntimeError: an answer is another than it must be.
        """
        expected = self.distances(images, [pairs[place] for place in answers])
        seen = np.array(list(answers.values()))
        if not np.allclose(seen, expected, rtol=NEAR):
            raise RuntimeError(f"distances {seen[:5]} were answered where {expected[:5]} are right")


def _boxed() -> Embedder:
    network, meta = load_model(FILE.read_bytes())
    return Embedder(network, meta.preprocessing, compare=comparer(meta.comparer, network))
