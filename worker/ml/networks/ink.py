"""``ink``: no layers but statistics of the ink, compared by weights that are learned in seconds."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shared.errors import InvalidInput
from worker.ml.compare import Comparer, Floats, Integers, Representations
from worker.ml.inkpairs import AT_ONCE, COHORT, COHORT_EACH, FEATURES, WHOLES, Norm, pair_features, usual_features
from worker.ml.inkstats import LENGTH, ink_statistics

Doubles = NDArray[np.float64]

REPRESENTATION = LENGTH + 2
SHARE = 0.25  # of what is usual for two signatures, taken from what they differ by
_MOST_REMEMBERED = 4096  # 136 MiB


class _Remembered:
    """The statistics of the canvases seen last: a training looks at each several times, and so do folds of writers."""

    def __init__(self) -> None:
        self._rows: OrderedDict[bytes, Floats] = OrderedDict()
        self._lock = Lock()

    def of(self, canvas: NDArray[np.uint8]) -> Floats:
        """The statistics of one canvas, measured or remembered."""
        name = hashlib.blake2b(np.ascontiguousarray(canvas).data, digest_size=16).digest()
        with self._lock:
            row = self._rows.get(name)
        if row is None:
            row = ink_statistics(canvas)
        with self._lock:
            self._rows[name] = row
            self._rows.move_to_end(name)
            if len(self._rows) > _MOST_REMEMBERED:
                self._rows.popitem(last=False)
        return row


_REMEMBERED = _Remembered()


@dataclass(frozen=True, slots=True, eq=False)
class Usual:
    """What is usual for signatures: ``features`` (N, FEATURES) against others, and ``distances`` (N,), 1 for most."""

    features: Doubles
    distances: Doubles

    def of_pairs(self, places: Integers) -> Usual:
        """The means of the pairs at ``places`` (P, 2)."""
        first, second = places[:, 0], places[:, 1]
        return Usual(
            (self.features[first] + self.features[second]) / 2, (self.distances[first] + self.distances[second]) / 2
        )


class Ink(nn.Module):
    """Ink statistics as the representation, and a logistic comparison of two of them.

    The distance is that of Koch et al. (2015, section 3.1), a weighted sum of absolute differences, here of their
    logarithms, of the distances between whole histograms and of shapes, with the weights' signs left free: ``slopes``
    (F,) times the features of a pair. From it SHARE of what is usual for the two is taken, and the rest is divided by
    how far the two usually lie (:func:`worker.ml.inkpairs.usual_features`): the last two numbers of a representation.
    ``offset`` is the distance at which training takes one hand and a forger's for equally likely. ``cohort`` holds
    statistics of the first ``cohort_size`` signatures that others are measured by, ``unit`` how far these usually
    lie. The other buffers are those of :class:`worker.ml.inkpairs.Norm`.
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        if channels != 1:
            raise InvalidInput("channels_unfit", "The network ink looks at grey ink: it takes 1 channel.")
        self.slopes = nn.Parameter(torch.full((FEATURES,), 1 / FEATURES))
        self.offset = nn.Parameter(torch.tensor(1.0))
        self.centre: torch.Tensor
        self.spread: torch.Tensor
        self.within: torch.Tensor
        self.scale: torch.Tensor
        self.cohort: torch.Tensor
        self.cohort_size: torch.Tensor
        self.unit: torch.Tensor
        self.register_buffer("centre", torch.zeros(LENGTH))
        for name, size in (("spread", LENGTH), ("within", LENGTH), ("scale", WHOLES)):
            self.register_buffer(name, torch.ones(size))
        self.register_buffer("cohort", torch.zeros(COHORT, LENGTH))
        self.register_buffer("cohort_size", torch.tensor(0))
        self.register_buffer("unit", torch.tensor(1.0))

    def measure(self, rows: Representations, writers: NDArray[np.int64], forged: NDArray[np.bool_]) -> None:
        """Take the norm from the statistics (N, LENGTH) of training images."""
        norm = Norm.of(rows, writers, forged)
        for name in ("centre", "spread", "within", "scale"):
            getattr(self, name).copy_(torch.from_numpy(getattr(norm, name)))

    def gather(self, rows: Representations, writers: NDArray[np.int64], forged: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Make a cohort of genuine signatures, as many of each writer; returns whose they are, (C,)."""
        names = np.unique(writers[~forged])
        each = max(1, min(COHORT_EACH, COHORT // max(1, len(names))))
        places = [np.flatnonzero((writers == name) & ~forged)[:each] for name in names]
        chosen = np.concatenate([*places, np.zeros(0, np.int64)])[:COHORT]
        self.cohort.zero_()
        self.cohort[: len(chosen)] = torch.from_numpy(rows[chosen][:, :LENGTH].astype(np.float32))
        self.cohort_size.fill_(len(chosen))
        self.unit.fill_(1.0)
        if len(chosen):
            strangers = writers[chosen][:, None] != writers[chosen][None]
            self.unit.fill_(float(np.median(self.usual(rows[chosen], strangers).distances)))
        return np.asarray(writers[chosen], np.int64)

    def usual(self, rows: Representations, strangers: NDArray[np.bool_] | None = None) -> Usual:
        """What is usual for signatures of statistics (N, LENGTH or more), by the cohort.

        ``strangers`` (N, C) leaves signatures of the same writer out of the cohort.
        """
        size = int(self.cohort_size)
        if not size:
            return Usual(np.zeros((len(rows), FEATURES)), np.ones(len(rows)))
        cohort = self.cohort[:size].cpu().numpy()
        features, distances = usual_features(rows[:, :LENGTH], cohort, self.norm, strangers)
        return Usual(features, distances / float(self.unit))

    def complete(self, rows: Representations, usual: Usual | None = None) -> Floats:
        """Representations (N, REPRESENTATION) from statistics (N, LENGTH or more), with the weights as they are."""
        usual = self.usual(rows) if usual is None else usual
        slopes = self.slopes.detach().double().cpu().numpy()
        told = np.stack([usual.features @ slopes, usual.distances], 1)
        return np.concatenate([rows[:, :LENGTH], told], 1).astype(np.float32)

    @property
    def norm(self) -> Norm:
        """What differences are measured by."""
        return Norm(*(getattr(self, name).double().cpu().numpy() for name in ("centre", "spread", "within", "scale")))

    @torch.no_grad()
    def forward(self, canvases: torch.Tensor) -> torch.Tensor:
        """Representations (N, REPRESENTATION) of canvases (N, 1, H, W). There is no gradient."""
        pixels = (canvases[:, 0].float() * 255).round().to(torch.uint8).cpu().numpy()
        return torch.from_numpy(self.of_pixels(pixels)).to(canvases.device)

    def of_pixels(self, canvases: NDArray[np.uint8]) -> Floats:
        """The same of canvases (N, H, W) as they are, 0..255."""
        rows = [_REMEMBERED.of(canvas) for canvas in canvases]
        return self.complete(np.stack(rows) if rows else np.zeros((0, LENGTH), np.float32))

    def comparer(self) -> Comparer:
        """The learned distance over rows of arrays, with the weights as they are now; never below 0."""
        slopes = self.slopes.detach().double().cpu().numpy()
        norm = self.norm

        def compare(rows: Representations, first: Integers, second: Integers) -> Floats:
            out = np.empty(len(first), np.float32)
            for start in range(0, len(first), AT_ONCE):
                part = np.s_[start : start + AT_ONCE]
                one, other = rows[first[part]], rows[second[part]]
                usual = (one[:, LENGTH:].astype(np.float64) + other[:, LENGTH:]) / 2  # (P, 2)
                told = pair_features(one[:, :LENGTH], other[:, :LENGTH], norm) @ slopes
                out[part] = np.maximum((told - SHARE * usual[:, 0]) / usual[:, 1], 0)
            return out

        return compare


def measured_features(first: Representations, second: Representations, usual: Usual, norm: Norm) -> Doubles:
    """Features (P, FEATURES) of pairs, whose weighted sum is the distance; ``usual`` are the means of both."""
    told = pair_features(first[:, :LENGTH], second[:, :LENGTH], norm)
    return np.asarray((told - SHARE * usual.features) / usual.distances[:, None], np.float64)
