"""``ink``: no layers but statistics of the ink, compared by weights that are learned in seconds."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shared.errors import InvalidInput
from worker.ml.compare import Comparer, Floats, Integers, Representations
from worker.ml.inkstats import BLOCKS, LENGTH, SLICES, ink_statistics

Doubles = NDArray[np.float64]

SMALL = 40  # numbers; of larger blocks only the distance between two of them counts, not each number
_SINGLE = np.concatenate([np.arange(LENGTH)[SLICES[name]] for name, size, _ in BLOCKS if size <= SMALL])
_BLOCK_SCALE = 6.0  # brings distances between blocks to the size of the other features
# What kind of signature a pair is, by its means: how large, how wide and curved its line, how dense, how dark.
KIND_BLOCKS = (
    "geometry", "widths", "turning_4", "turning_8", "turning_16", "clearness", "half_widths", "pattern_kinds_2",
    "pattern_kinds_4", "runs_across", "runs_down", "gaps_across", "gaps_down", "orientations_4", "strength",
    "relative_ink",
)  # fmt: skip
_KIND = np.concatenate([np.arange(LENGTH)[SLICES[name]] for name in KIND_BLOCKS])
_FAR_FROM_MEAN = 3.0  # standard deviations: a kind of signature that training never saw is taken for its extreme
_LEAST_SPREAD = 1e-3
_PAIRS = 4096  # compared at a time: 30 MiB
_MOST_REMEMBERED = 4096  # 33 MiB
DIFFERENCES = len(_SINGLE) + len(BLOCKS)
FEATURES = DIFFERENCES + len(_KIND)


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


class Ink(nn.Module):
    """Ink statistics as the representation, and a logistic comparison of two of them.

    The distance is that of Koch et al. (2015, section 3.1), a weighted sum of absolute differences, here of their
    logarithms and of the distances between whole histograms, with the weights' signs left free: ``slopes`` (F,) times
    the features of a pair. What a difference weighs depends on the kind of signature: a short one varies more than a
    long one. ``offset`` is the distance at which training takes one hand and a forger's for equally likely. ``centre``
    and ``spread`` (R,) are the mean and the standard deviation of each statistic.
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        if channels != 1:
            raise InvalidInput("channels_unfit", "The network ink looks at grey ink: it takes 1 channel.")
        self.slopes = nn.Parameter(torch.full((FEATURES,), 1 / FEATURES))
        self.offset = nn.Parameter(torch.tensor(1.0))
        self.centre: torch.Tensor
        self.spread: torch.Tensor
        self.register_buffer("centre", torch.zeros(LENGTH))
        self.register_buffer("spread", torch.ones(LENGTH))

    def measure(self, rows: Representations) -> None:
        """Take centre and spread from the statistics (N, R) of the training images."""
        self.centre.copy_(torch.from_numpy(rows.mean(0)))
        self.spread.copy_(torch.from_numpy(rows.std(0) + _LEAST_SPREAD))

    @property
    def norm(self) -> tuple[Doubles, Doubles]:
        """Centre and spread as :func:`pair_features` takes them."""
        return self.centre.double().cpu().numpy(), self.spread.double().cpu().numpy()

    @torch.no_grad()
    def forward(self, canvases: torch.Tensor) -> torch.Tensor:
        """Statistics (N, R) of canvases (N, 1, H, W). There is nothing in it to learn, and no gradient."""
        pixels = (canvases[:, 0].float() * 255).round().to(torch.uint8).cpu().numpy()
        rows = (
            np.stack([ink_statistics(canvas) for canvas in pixels])
            if len(pixels)
            else np.zeros((0, LENGTH), np.float32)
        )
        return torch.from_numpy(rows).to(canvases.device)

    def comparer(self) -> Comparer:
        """The learned distance over rows of arrays, with the weights as they are now; never below 0."""
        slopes = self.slopes.detach().double().cpu().numpy()
        norm = self.norm

        def compare(rows: Representations, first: Integers, second: Integers) -> Floats:
            out = np.empty(len(first), np.float32)
            for start in range(0, len(first), _PAIRS):
                part = np.s_[start : start + _PAIRS]
                out[part] = np.maximum(pair_features(rows[first[part]], rows[second[part]], norm) @ slopes, 0)
            return out

        return compare


def pair_features(first: Representations, second: Representations, norm: tuple[Doubles, Doubles]) -> Doubles:
    """Features (P, FEATURES) of pairs of statistics (P, R) and (P, R): 0 where the two are equal.

    ``norm`` are the centre and the spread of the statistics, (R,) each.
    ln(1 + 2 |a - b| / spread) of each number of the small blocks, then the Euclidean distance between each block's two
    sets of numbers (of histograms: their Hellinger distance). The logarithm keeps one odd number from deciding all.
    Behind these DIFFERENCES stands their mean times the kind of signature, the standardised mean of both statistics
    in KIND_BLOCKS: so their slopes make the distance of one kind count for more than that of another.
    """
    centre, spread = norm
    left, right = first.astype(np.float64), second.astype(np.float64)
    difference = left - right
    single = np.log1p(2 * np.abs(difference[:, _SINGLE]) / spread[_SINGLE])
    blocks = [np.linalg.norm(difference[:, SLICES[name]], axis=1) for name, _, _ in BLOCKS]
    differences = np.concatenate([single, _BLOCK_SCALE * np.stack(blocks, 1)], axis=1)
    kind = ((left[:, _KIND] + right[:, _KIND]) / 2 - centre[_KIND]) / spread[_KIND]
    kind = np.clip(kind, -_FAR_FROM_MEAN, _FAR_FROM_MEAN)
    return np.concatenate([differences, kind * differences.mean(1, keepdims=True)], axis=1)
