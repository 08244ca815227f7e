"""Pieces of a drawing around points of its line, and how well each is found again in another signature.

The grids of :mod:`worker.ml.inkshape` move in parts of a fixed raster. Here each of some points looks for its like
wherever it may be, and what it may not find is a piece that the other hand draws otherwise. Positions are in the
signature's own frame, as there; pieces are as large as they are on paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.ml.inkstats import Ink

Floats = NDArray[np.float32]
Rows = NDArray[np.floating[Any]]

POINTS = 64
_RADIUS, _STEP = 96, 4  # pixels from the middle of a piece to its edge, 8 mm at 300 dpi; of one cell of the field
_DIRECTIONS, _CELLS, _WAVES = 6, 6, 3  # of a piece; cells and, of their cosine transform, waves a side that are kept
_NUMBERS = _DIRECTIONS * _WAVES**2
_APART = 6  # pixels a side of a square that holds one point at most
POINTS_LENGTH = POINTS * (_NUMBERS + 2)
_COSTS = (0.15, 0.6, 2.0)  # of a place one standard deviation away, against half the squared distance of two pieces
_SHARES = (0.5, 0.8)  # of the points: how far the piece is from its like that so many are nearer to theirs than
FOUND = len(_COSTS) * (1 + len(_SHARES))  # numbers that :func:`find_pieces` gives for a pair
_NOWHERE, _ROUNDING = 16.0, 1e-5  # as far as any two signatures of people were seen to be at one point
_PAIRS = 64  # at a time: they stay in the cache

_WAVE = np.sqrt(2 / _CELLS) * np.cos(np.pi * np.outer(np.arange(_WAVES), np.arange(_CELLS) + 0.5) / _CELLS)
_WAVE[0] /= np.sqrt(2)


def local_shapes(ink: Ink) -> Floats:
    """Up to POINTS pieces around points of the line, evenly from left to right: (POINTS_LENGTH,).

    First the numbers of each piece, the slow waves of the square roots of directions by place, then both
    coordinates of its point, rows first, in standard deviations from the middle. A point that is missing is all zeros.
    """
    rows, columns = np.nonzero(ink.ridge)
    ordered = np.lexsort((rows, columns))
    squares = rows // _APART * ink.mask.shape[1] + columns // _APART
    ordered = ordered[np.sort(np.unique(squares[ordered], return_index=True)[1])]
    count = min(POINTS, len(ordered))
    chosen = ordered[(np.arange(count) * len(ordered)) // count]
    pieces = np.zeros((POINTS, _NUMBERS), np.float32)
    pieces[:count] = _pieces(ink, rows[chosen], columns[chosen])
    places = np.zeros((POINTS, 2), np.float32)
    for side, values in enumerate((rows, columns)):
        places[:count, side] = (values[chosen] - values.mean()) / (values.std() + 1)
    return np.concatenate([pieces.ravel(), places.ravel()])


def _pieces(ink: Ink, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
    """The numbers of pieces around points (K,): (K, _NUMBERS), near unit length."""
    field = _field(ink)
    cell = 2 * _RADIUS / _CELLS / _STEP
    offsets = (np.arange(_CELLS) - (_CELLS - 1) / 2) * cell
    margin = _RADIUS // _STEP + 1
    down, across = (
        np.rint(values[:, None] / _STEP + margin + offsets).astype(int) for values in (rows, columns)
    )  # (K, CELLS) each
    cells = field[down[:, :, None], across[:, None, :]]  # (K, CELLS, CELLS, D)
    shares = np.sqrt(cells / np.maximum(cells.sum((1, 2, 3), keepdims=True), 1e-9))
    waves = np.einsum("kyxd,ay,bx->kabd", shares, _WAVE, _WAVE, optimize=True)
    return np.asarray(waves.reshape(len(rows), _NUMBERS), np.float32)


def _field(ink: Ink) -> Floats:
    """Directions of the line by place, (h, w, D), a cell for _STEP pixels, blurred by half a cell of a piece."""
    angle, clear = ink.direction
    rows, columns = np.nonzero(ink.ridge)
    margin = _RADIUS // _STEP + 1
    shape = tuple(side // _STEP + 2 * margin + 1 for side in ink.mask.shape)
    layers = np.zeros((*shape, _DIRECTIONS), np.float32)
    exact = angle / np.pi * _DIRECTIONS
    lower = np.floor(exact).astype(int)
    place = rows // _STEP + margin, columns // _STEP + margin
    np.add.at(layers, (*place, lower % _DIRECTIONS), clear * (lower + 1 - exact))
    np.add.at(layers, (*place, (lower + 1) % _DIRECTIONS), clear * (exact - lower))
    return np.asarray(
        cv2.GaussianBlur(layers, (0, 0), _RADIUS / _CELLS / _STEP, borderType=cv2.BORDER_CONSTANT), np.float32
    )


def find_pieces(first: Rows, second: Rows) -> NDArray[np.float64]:
    """How far the pieces of two signatures (P, POINTS_LENGTH) are from their like, (P, FOUND), 0 where all are found.

    A piece's like is the one of the other signature at the least half squared distance and, times a cost, squared
    distance of place. For each of three costs: the mean over the points, the median and the upper fifth, each the
    mean of both ways round.
    """
    found = np.empty((len(first), FOUND))
    for start in range(0, len(first), _PAIRS):
        part = np.s_[start : start + _PAIRS]
        found[part] = _found(*_parted(first[part]), *_parted(second[part])).numpy()
    return found


def _parted(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Pieces (P, POINTS, _NUMBERS) and places (P, POINTS, 2)."""
    both = torch.from_numpy(np.array(rows, np.float32, order="C"))
    pieces, places = both[:, : POINTS * _NUMBERS], both[:, POINTS * _NUMBERS :]
    return pieces.reshape(-1, POINTS, _NUMBERS), places.reshape(-1, POINTS, 2)


def _found(first: torch.Tensor, here: torch.Tensor, second: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    sizes = [pieces.square().sum(2) for pieces in (first, second)]
    some = [size > 0 for size in sizes]
    apart = (sizes[0][:, :, None] + sizes[1][:, None]) / 2 - torch.bmm(first, second.transpose(1, 2))
    apart = torch.where(some[0][:, :, None] & some[1][:, None], apart, _NOWHERE)
    far = (here[:, :, None] - there[:, None]).square().sum(3)
    told = []
    for cost in _COSTS:
        total = far.mul(cost).add_(apart)
        told.append((_summed(total.amin(2), some[0]) + _summed(total.amin(1), some[1])) / 2)
    both = torch.cat(told, 1)
    return torch.where(both < _ROUNDING, 0.0, both)


def _summed(least: torch.Tensor, some: torch.Tensor) -> torch.Tensor:
    """Mean and quantiles (P, 1 + len(_SHARES)) of what the points (P, POINTS) that there are have found."""
    least = torch.where(some, least.clamp(0, _NOWHERE), 0.0)
    count = some.sum(1)
    ordered = torch.where(some, least, _NOWHERE).sort(1).values
    places = torch.stack([(count * share).long().clamp(max=POINTS - 1) for share in _SHARES], 1)
    quantiles = torch.where(count[:, None] > 0, ordered.gather(1, places), 0.0)
    return torch.cat([(least.sum(1) / count.clamp(min=1))[:, None], quantiles], 1)
