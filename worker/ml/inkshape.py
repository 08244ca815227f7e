"""Where the ink lies: grids that two signatures are laid over each other by, and how far one bends to fit the other.

A short signature says little by its line, and much by its shape. Both grids stand in the signature's own frame: its
centre of mass is the middle, and its standard deviations across and down are the units, so that a long last stroke
moves them less than it moves a bounding box. Histograms are square roots of shares, as in :mod:`worker.ml.inkstats`.
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

DIRECTIONS, HEIGHT, WIDTH = 6, 16, 28  # of the shape grid
SHAPE_LENGTH = DIRECTIONS * HEIGHT * WIDTH
_WIDTHS, _WIDTH_ROWS, _WIDTH_COLUMNS = (1.5, 2.3, 3.2), 8, 12  # half widths in pixels that part the width grid's layers
WIDTH_LENGTH = (len(_WIDTHS) + 1) * _WIDTH_ROWS * _WIDTH_COLUMNS
_REACH = 2.2  # standard deviations from the middle to the edge of a grid; what lies beyond counts at the edge
_PART = 4  # cells a side of a part, which moves as one
_DOWN, _ACROSS = 2, 3  # cells that a part may move
_COST = 0.01  # of the cosine, for each cell that a part moves
_NOTHING, _ROUNDING = 1e-24, 1e-5
MATCHES = 3  # numbers that :func:`match` gives for a pair
_PAIRS = 64  # at a time: they stay in the cache


def shape_grid(ink: Ink) -> Floats:
    """Directions of the line by place: (SHAPE_LENGTH,), of unit length, layers of 16 x 28 cells one after the other."""
    angle, clear = ink.direction
    layer = (angle / np.pi * DIRECTIONS).astype(int) % DIRECTIONS
    layers = _layers(ink, layer, clear, (DIRECTIONS, HEIGHT, WIDTH), 0.8)
    beside = np.roll(layers, 1, 0) + np.roll(layers, -1, 0)  # so that a slant of some degrees changes little
    return _shares(0.6 * layers + 0.2 * beside)


def width_grid(ink: Ink) -> Floats:
    """Widths of the line by place: (WIDTH_LENGTH,), of unit length; the hand presses at the same places each time."""
    layer = np.digitize(ink.half_widths, _WIDTHS)
    shape = (len(_WIDTHS) + 1, _WIDTH_ROWS, _WIDTH_COLUMNS)
    return _shares(_layers(ink, layer, np.ones(len(layer), np.float32), shape, 1.0))


def match(first: Rows, second: Rows) -> NDArray[np.float64]:
    """How far two shape grids (P, SHAPE_LENGTH) are from fitting each other, (P, MATCHES), each 0 where they are equal.

    The grid of one is moved as a whole over the other's, by up to 2 cells down and 3 across: one less the highest
    cosine. Then each part of 4 x 4 cells moves by itself, as the parts of a deformable model do (Felzenszwalb et al.,
    IEEE TPAMI 2010): one less the mean cosine, weighted by ink; and how unlike these moves are to each other, as their
    standard deviation in cells. Each is the mean of both ways round.
    """
    found = np.empty((len(first), MATCHES))
    shape = (-1, DIRECTIONS, HEIGHT, WIDTH)
    for start in range(0, len(first), _PAIRS):
        part = np.s_[start : start + _PAIRS]
        one, other = (
            torch.from_numpy(np.array(rows[part], np.float32, order="C")).reshape(shape) for rows in (first, second)
        )
        found[part] = ((_moved(one, other) + _moved(other, one)) / 2).numpy()
    return found


def _moved(still: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
    padded = torch.nn.functional.pad(moving, (_ACROSS, _ACROSS, _DOWN, _DOWN))  # (P, D, H + 4, W + 6)
    ink, padded_ink = (grid.square().sum(1) for grid in (still, padded))
    weight = _by_part(ink)  # (P, h, w)
    wholes, parts, moves = [], [], []
    for down in range(2 * _DOWN + 1):
        for across in range(2 * _ACROSS + 1):
            window = np.s_[..., down : down + HEIGHT, across : across + WIDTH]
            common = (still * padded[window]).sum(1)  # (P, H, W)
            wholes.append(common.sum((1, 2)))
            way = ((down - _DOWN) ** 2 + (across - _ACROSS) ** 2) ** 0.5
            cosine = _by_part(common) / (weight * _by_part(padded_ink[window]) + _NOTHING).sqrt()
            parts.append(cosine - _COST * way)
            moves.append((down - _DOWN, across - _ACROSS))
    best, which = torch.stack(parts, 1).max(1)  # (P, h, w)
    move = torch.tensor(moves, dtype=still.dtype)[which]  # (P, h, w, 2)
    mean = (move * weight[..., None]).sum((1, 2), keepdim=True)
    uneven = ((move - mean).square().sum(-1) * weight).sum((1, 2)).sqrt()
    fit = (best.clamp(min=0) * weight).sum((1, 2))
    far = torch.stack([1 - torch.stack(wholes, 1).amax(1), 1 - fit, uneven], 1)
    return torch.where(far < _ROUNDING, 0.0, far)


def _by_part(cells: torch.Tensor) -> torch.Tensor:
    """Sums (P, H / 4, W / 4) of the cells (P, H, W) of each part."""
    return cells.reshape(len(cells), HEIGHT // _PART, _PART, WIDTH // _PART, _PART).sum((2, 4))


def _layers(ink: Ink, layer: NDArray[np.int64], weight: Floats, shape: tuple[int, int, int], blur: float) -> Floats:
    """Weights of the middle of the line added up by layer and place, and blurred: ``shape``."""
    rows, columns = np.nonzero(ink.ridge)
    places = []
    for values, cells in ((rows, shape[1]), (columns, shape[2])):
        own = (values - values.mean()) / (values.std() + 1)  # one pixel more: a dot has no deviation
        places.append(np.clip((own / _REACH + 1) / 2 * cells, 0, cells - 1e-3).astype(int))
    grid = np.zeros(shape, np.float32)
    np.add.at(grid, (layer, places[0], places[1]), weight)
    return np.stack([cv2.GaussianBlur(one, (0, 0), blur, borderType=cv2.BORDER_CONSTANT) for one in grid])


def _shares(layers: Floats) -> Floats:
    return np.asarray(np.sqrt(layers / max(float(layers.sum()), 1e-9)), np.float32).ravel()
