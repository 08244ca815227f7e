"""What a pen leaves behind, in numbers: statistics of the ink of one signature, at the scan's own scale.

A forger gets the shape right and the line wrong: it is slower, shakier, heavier. These statistics describe the line
(its width, ends and edges, how it turns, how dark it runs) and where it lies, and none needs training. The
families are those of writer identification: hinges of two contour legs (Bulacu and Schomaker, IEEE TPAMI 2007), width
by direction of the stroke (Brink et al., Pattern Recognition 2012), run lengths, local binary patterns (Ojala et al.,
IEEE TPAMI 2002), histograms of oriented gradients (Dalal and Triggs, CVPR 2005).

Histograms are square roots of shares, so that Euclidean distances between them are Hellinger distances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from worker.ml.inkpoints import POINTS_LENGTH, local_shapes
from worker.ml.inkshape import SHAPE_LENGTH, WIDTH_LENGTH, shape_grid, width_grid

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Mask = NDArray[np.uint8]
Kept = TypeVar("Kept")

_PAD = 10  # pixels of paper around the ink, so that no filter looks over the edge
_WIDTH_EDGES = (0, 1.2, 1.6, 2.1, 2.6, 3.1, 3.7, 4.5, 6, 50)  # half widths, pixels
_RUN_EDGES = (1, 2, 3, 4, 5, 6, 8, 11, 16, 24, 1000)
_GAP_EDGES = (1, 3, 5, 8, 12, 18, 27, 40, 60, 90, 2000)
_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
_ONES = np.array([code.bit_count() for code in range(256)])
_TURNS = np.array([(code ^ ((code >> 1) | (code & 1) << 7)).bit_count() // 2 for code in range(256)])
_LEGS = (4, 8, 16)  # pixels of contour on either side of a hinge
_HINGE_BINS = 12


@dataclass(frozen=True, eq=False)
class Ink:
    """One signature cut out of its canvas: ``mask`` (h, w) of 0 and 1, ``grey`` float32 (h, w), 0 on paper."""

    mask: Mask
    grey: Floats
    _kept: dict[tuple[str, float], Any] = field(default_factory=dict)  # what several statistics are made of

    @classmethod
    def of(cls, canvas: NDArray[np.uint8]) -> Ink:
        """The ink of a canvas that ``images.prepare`` made; ValueError where there is none."""
        mask = (canvas > 0).astype(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)
        if not width:
            raise ValueError("the canvas holds no ink")
        window = np.s_[top : top + height, left : left + width]
        return cls(np.pad(mask[window], _PAD), np.pad(canvas[window], _PAD).astype(np.float32))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the ink's bounding box, pixels."""
        return self.mask.shape[0] - 2 * _PAD, self.mask.shape[1] - 2 * _PAD

    @property
    def inner(self) -> Mask:
        """The mask without its margin."""
        return self.mask[_PAD:-_PAD, _PAD:-_PAD]

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """The mask as bools."""
        return self.mask > 0

    @cached_property
    def depth(self) -> Floats:
        """Distance of each pixel of ink from the paper."""
        return np.asarray(cv2.distanceTransform(self.mask, cv2.DIST_L2, 5), np.float32)

    @cached_property
    def ridge(self) -> NDArray[np.bool_]:
        """Where the depth is highest around: the middle of the line."""
        highest = np.asarray(cv2.dilate(self.depth, np.ones((3, 3), np.uint8)))
        return np.asarray((self.depth >= highest - 1e-6) & self.inside)

    @cached_property
    def half_widths(self) -> Floats:
        """Half the width of the line along its middle (K,), pixels."""
        return self.depth[self.ridge]

    @cached_property
    def direction(self) -> tuple[Floats, Floats]:
        """Direction in 0..pi and its clearness in 0..1 along the middle of the line, (K,) each: structure tensor."""
        across, down = self.gradient(2.0)
        xx, yy, xy = (
            cv2.GaussianBlur(product, (0, 0), 3.0) for product in (across * across, down * down, across * down)
        )
        angle = np.mod(0.5 * np.arctan2(2 * xy, xx - yy), np.pi)
        clear = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy + 1e-6)
        return np.asarray(angle[self.ridge], np.float32), np.asarray(clear[self.ridge], np.float32)

    def gradient(self, blur: float) -> tuple[Floats, Floats]:
        """Derivatives across and down of the mask, blurred by ``blur`` pixels (standard deviation): (h, w) each."""

        def make() -> tuple[Floats, Floats]:
            soft = cv2.GaussianBlur(np.asarray(self.mask, np.float32) * 255, (0, 0), blur)
            sides = (cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1))
            return np.asarray(sides[0], np.float32), np.asarray(sides[1], np.float32)

        return self._once("gradient", blur, make)

    def hinges(self, leg: int) -> tuple[Doubles, Doubles]:
        """Directions of the two legs of ``leg`` pixels at each contour pixel, radians: (C,) each."""

        def make() -> tuple[Doubles, Doubles]:
            ahead, behind = [np.zeros(0)], [np.zeros(0)]
            for path in self._outlines:
                if len(path) >= max(12, 2 * leg + 1):
                    for legs, step in ((ahead, -leg), (behind, leg)):
                        way = np.roll(path, step, 0) - path
                        legs.append(np.arctan2(way[:, 1], way[:, 0]))
            return np.concatenate(ahead), np.concatenate(behind)

        return self._once("hinges", leg, make)

    def patterns(self, radius: int) -> NDArray[np.int64]:
        """Which of the eight pixels at ``radius`` are ink, as a code of 8 bits, at each pixel of ink."""

        def make() -> NDArray[np.int64]:
            rows, columns = np.nonzero(self.mask)  # at least _PAD from every side, so that no index leaves the mask
            code = np.zeros(len(rows), np.int64)
            for bit, (down, across) in enumerate(_NEIGHBOURS):
                code |= self.mask[rows + down * radius, columns + across * radius].astype(np.int64) << bit
            return code

        return self._once("patterns", radius, make)

    @cached_property
    def _outlines(self) -> list[Doubles]:
        outlines, _ = cv2.findContours(self.mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        return [outline[:, 0].astype(np.float64) for outline in outlines]  # (C, 2) each

    def _once(self, name: str, size: float, make: Callable[[], Kept]) -> Kept:
        if (name, size) not in self._kept:
            self._kept[name, size] = make()
        kept: Kept = self._kept[name, size]
        return kept


def _shares(counts: ArrayLike) -> Floats:
    flat = np.asarray(counts, np.float64).ravel()
    return np.asarray(np.sqrt(flat / max(flat.sum(), 1e-9)), np.float32)


def _histogram(values: ArrayLike, edges: Iterable[float] | NDArray[np.float64]) -> Floats:
    return _shares(np.histogram(np.asarray(values), np.asarray(list(edges)))[0])


def _geometry(ink: Ink) -> Floats:
    height, width = ink.size
    paper_pieces = cv2.connectedComponentsWithStats(1 - ink.mask, connectivity=4)
    ink_pieces = cv2.connectedComponentsWithStats(ink.mask, connectivity=8)
    return np.array(
        [
            np.log(width), np.log(height), np.log(width / height), 4 * ink.mask.sum() / (width * height),
            2 * np.log(len(ink.half_widths) / np.sqrt(width * height)),
            np.log(ink_pieces[0]), np.log1p((ink_pieces[2][1:, cv2.CC_STAT_AREA] > 30).sum()),
            np.log(paper_pieces[0]), np.log1p((paper_pieces[2][1:, cv2.CC_STAT_AREA] > 20).sum()),
        ],
        np.float32,
    )  # fmt: skip


def _widths(ink: Ink) -> Floats:
    half = ink.half_widths
    mean, spread = half.mean(), half.std()
    shape = [*np.quantile(half, [0.1, 0.25, 0.5, 0.75, 0.9]), mean, spread, 3 * spread / mean]
    return np.array([*shape, ink.mask.sum() / len(half) / 2], np.float32)


def _orientations(blur: float) -> Callable[[Ink], Floats]:
    def orientations(ink: Ink) -> Floats:
        across, down = ink.gradient(blur)
        strength = np.hypot(across, down)
        seen = strength > 0
        angle = np.mod(np.arctan2(down[seen], across[seen]), np.pi)
        sector = np.minimum(angle * (16 / np.pi), 15).astype(np.int64)
        return _shares(np.bincount(sector, strength[seen], 16))

    return orientations


def _oriented_grid(ink: Ink) -> Floats:
    """Orientations in 4 x 8 cells of the bounding box: the coarse layout."""
    height, width = ink.size
    across, down = ink.gradient(2.0)
    strength = np.hypot(across, down)
    rows, columns = np.nonzero(strength > 0.05 * strength.max())
    angle = np.mod(np.arctan2(down, across), np.pi)[rows, columns]
    cells = np.zeros((4, 8, 8))
    place = (
        np.clip((rows - _PAD) * 4 // height, 0, 3),
        np.clip((columns - _PAD) * 8 // width, 0, 7),
        (angle / np.pi * 8).astype(int) % 8,
    )
    np.add.at(cells, place, strength[rows, columns])
    return _shares(cells)


def _hinge(leg: int) -> Callable[[Ink], Floats]:
    def hinge(ink: Ink) -> Floats:
        first, second = ((one + np.pi) / (2 * np.pi) * _HINGE_BINS for one in ink.hinges(leg))
        codes = first.astype(int) % _HINGE_BINS * _HINGE_BINS + second.astype(int) % _HINGE_BINS
        return _shares(np.bincount(codes, minlength=_HINGE_BINS**2))

    return hinge


def _turning(leg: int) -> Callable[[Ink], Floats]:
    def turning(ink: Ink) -> Floats:
        first, second = ink.hinges(leg)
        turn = np.angle(np.exp(1j * (first - second - np.pi)))
        moments = [2 * np.abs(turn).mean(), turn.std()] if len(turn) else [0.0, 0.0]
        return np.concatenate([_histogram(turn, np.linspace(-np.pi, np.pi, 17)), np.array(moments, np.float32)])

    return turning


def _pattern_kinds(radius: int) -> Callable[[Ink], Floats]:
    def kinds(ink: Ink) -> Floats:
        code = ink.patterns(radius)
        return _shares(np.bincount(_ONES[code] * 3 + np.minimum(_TURNS[code], 2), minlength=27))

    return kinds


def _pattern_codes(radius: int) -> Callable[[Ink], Floats]:
    return lambda ink: _shares(np.bincount(ink.patterns(radius), minlength=256))


def _runs(mask: Mask, edges: tuple[int, ...]) -> Floats:
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1).ravel()
    return _histogram(np.flatnonzero(steps == -1) - np.flatnonzero(steps == 1), edges)


def _profile(ink: Ink) -> Floats:
    inner = ink.inner.astype(np.float32)
    along = cv2.resize(inner.sum(0)[None], (24, 1), interpolation=cv2.INTER_AREA)
    down = cv2.resize(inner.sum(1)[None], (12, 1), interpolation=cv2.INTER_AREA)
    return np.concatenate([_shares(along), _shares(down)])


def _density(ink: Ink) -> Floats:
    return _shares(cv2.resize(ink.inner.astype(np.float32), (12, 6), interpolation=cv2.INTER_AREA))


def _quill(ink: Ink) -> Floats:
    width = np.digitize(ink.half_widths, (1.3, 1.9, 2.5, 3.3))
    sector = (ink.direction[0] / np.pi * 8).astype(int) % 8
    return _shares(np.bincount(sector * 5 + width, minlength=40))


def _strength(ink: Ink) -> Floats:
    middle, whole = ink.grey[ink.ridge], ink.grey[ink.inside]
    quantiles = np.quantile(middle, [0.05, 0.25, 0.5, 0.75, 0.95]) / 64
    return np.array(
        [whole.mean() / 64, whole.std() / 32, middle.mean() / 64, middle.std() / 32, *quantiles], np.float32
    )


def _relative(ink: Ink) -> Floats:
    """Ink along the middle of the line, against the signature's mean."""
    return np.asarray(ink.grey[ink.ridge] / max(float(ink.grey[ink.inside].mean()), 1.0), np.float32)


def _grain(ink: Ink) -> Floats:
    core = ink.inside & (ink.depth > 1.2)
    rough = np.abs(cv2.Laplacian(ink.grey, cv2.CV_32F))[core] / max(float(ink.grey[ink.inside].mean()), 1.0)
    return _histogram(rough, np.linspace(0, 1.5, 11))


def _rim(ink: Ink) -> Floats:
    rim = ink.inside & (cv2.erode(ink.mask, np.ones((3, 3), np.uint8)) == 0)
    return _histogram(ink.grey[rim] / max(float(ink.grey[ink.inside].mean()), 1.0), np.linspace(0, 1.6, 11))


def _ink_by_width(ink: Ink) -> Floats:
    pairs = np.clip(_relative(ink), 0.4, 1.7), np.clip(ink.half_widths, 0, 5)
    return _shares(np.histogram2d(*pairs, bins=(6, 5), range=((0.4, 1.7), (0, 5)))[0])


def _ink_by_direction(ink: Ink) -> Floats:
    sector = (ink.direction[0] / np.pi * 6).astype(int) % 6
    return _shares(np.bincount(sector * 4 + np.digitize(_relative(ink), (0.9, 1.05, 1.2)), minlength=24))


def _slow_ink(ink: Ink) -> Floats:
    """How the strength of the ink swells over several millimetres: the pressure of the hand."""
    soft = cv2.GaussianBlur(ink.grey, (0, 0), 6.0) / np.maximum(
        cv2.GaussianBlur(ink.mask.astype(np.float32), (0, 0), 6.0), 1e-3
    )
    return _histogram(soft[ink.ridge] / max(float(ink.grey[ink.inside].mean()), 1.0), np.linspace(0.5, 1.6, 13))


# Name, size, function. The order is part of every stored representation and of every model of the network ``ink``.
BLOCKS: tuple[tuple[str, int, Callable[[Ink], Floats]], ...] = (
    ("geometry", 9, _geometry),
    ("widths", 9, _widths),
    ("half_widths", 9, lambda ink: _histogram(ink.half_widths, _WIDTH_EDGES)),
    ("depths", 9, lambda ink: _histogram(ink.depth[ink.inside], _WIDTH_EDGES)),
    ("orientations_1", 16, _orientations(1.0)),
    ("orientations_2", 16, _orientations(2.0)),
    ("orientations_4", 16, _orientations(4.0)),
    ("oriented_grid", 256, _oriented_grid),
    *((f"hinges_{leg}", _HINGE_BINS**2, _hinge(leg)) for leg in _LEGS),
    *((f"turning_{leg}", 18, _turning(leg)) for leg in _LEGS),
    *((f"pattern_kinds_{radius}", 27, _pattern_kinds(radius)) for radius in (1, 2, 4)),
    *((f"pattern_codes_{radius}", 256, _pattern_codes(radius)) for radius in (1, 2, 4)),
    ("runs_across", 10, lambda ink: _runs(ink.mask, _RUN_EDGES)),
    ("runs_down", 10, lambda ink: _runs(ink.mask.T, _RUN_EDGES)),
    ("gaps_across", 10, lambda ink: _runs(1 - ink.inner, _GAP_EDGES)),
    ("gaps_down", 10, lambda ink: _runs(1 - ink.inner.T, _GAP_EDGES)),
    ("width_by_direction", 40, _quill),
    ("clearness", 8, lambda ink: _histogram(ink.direction[1], np.linspace(0, 1, 9))),
    ("density", 72, _density),
    ("profile", 36, _profile),
    ("strength", 9, _strength),
    ("ink_levels", 16, lambda ink: _histogram(ink.grey[ink.inside], np.linspace(0, 255, 17))),
    ("ridge_levels", 16, lambda ink: _histogram(ink.grey[ink.ridge], np.linspace(0, 255, 17))),
    ("relative_ink", 12, lambda ink: _histogram(_relative(ink), np.linspace(0.3, 1.8, 13))),
    ("grain", 10, _grain),
    ("ink_by_width", 30, _ink_by_width),
    ("ink_by_direction", 24, _ink_by_direction),
    ("slow_ink", 12, _slow_ink),
    ("rim", 10, _rim),
    ("width_grid", WIDTH_LENGTH, width_grid),
    ("shape_grid", SHAPE_LENGTH, shape_grid),
    ("pieces", POINTS_LENGTH, local_shapes),
)  # fmt: skip
# Those that tell how dark the ink runs, of which a binarised signature says nothing.
STRENGTH_BLOCKS = (
    "strength", "ink_levels", "ridge_levels", "relative_ink", "grain", "ink_by_width", "ink_by_direction", "slow_ink",
    "rim",
)  # fmt: skip
LENGTH = sum(size for _, size, _ in BLOCKS)
SLICES = {
    name: slice(*ends)
    for (name, _, _), ends in zip(BLOCKS, pairwise([0, *accumulate(size for _, size, _ in BLOCKS)]), strict=True)
}


def ink_statistics(canvas: NDArray[np.uint8]) -> Floats:
    """All statistics of one canvas, uint8 (H, W) with bright ink on zero: float32 (LENGTH,), in the order of BLOCKS.

    A canvas without ink gives zeros. Scale matters: pixels must mean the same length on all canvases compared.
    """
    if not (canvas > 0).any():
        return np.zeros(LENGTH, np.float32)
    ink = Ink.of(canvas)
    return np.concatenate([measure(ink) for _, _, measure in BLOCKS])
