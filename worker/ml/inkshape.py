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
_PAIRS = 32  # at a time: they stay in the cache
_WINDOWS = [
    (slice(down, down + HEIGHT), slice(across, across + WIDTH))
    for down in range(2 * _DOWN + 1)
    for across in range(2 * _ACROSS + 1)
]
_MOVES = torch.tensor([(rows.start - _DOWN, columns.start - _ACROSS) for rows, columns in _WINDOWS]).float()


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
    for start in range(0, len(first), _PAIRS):
        part = np.s_[start : start + _PAIRS]
        found[part] = _matched(_grids(first[part]), _grids(second[part])).numpy()
    return found


def _grids(rows: Rows) -> torch.Tensor:
    """Grids (D, H, W, P), the pairs last: sums over directions and parts then run along the memory."""
    layers = torch.from_numpy(np.array(rows, np.float32, order="C")).reshape(-1, DIRECTIONS, HEIGHT, WIDTH)
    return layers.permute(1, 2, 3, 0).contiguous()


def _matched(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    padded = _padded(second)
    common = torch.stack([(first * padded[:, rows, columns]).sum(0) for rows, columns in _WINDOWS])  # (M, H, W, P)
    # What the first has in common with the second moved by m, the second has with the first moved by -m, elsewhere.
    widened = _padded(common)
    back = torch.stack([widened[-1 - at, rows, columns] for at, (rows, columns) in enumerate(_WINDOWS)])
    inks = first.square().sum(0), second.square().sum(0)  # (H, W, P)
    both = [_fit(one, *grids) for one, grids in ((common, inks), (back, inks[::-1]))]
    far = (both[0] + both[1]) / 2
    return torch.where(far < _ROUNDING, 0.0, far)


def _fit(common: torch.Tensor, still: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
    """From what two have in common (M, H, W, P) by move, and the ink (H, W, P) of both: (P, MATCHES)."""
    weight = _by_part(still)  # (h, w, P)
    places = _by_place(_padded(moving))
    other = torch.stack([places[rows, columns][::_PART, ::_PART] for rows, columns in _WINDOWS])  # (M, h, w, P)
    cosine = _by_part(common) / (weight * other + _NOTHING).sqrt()
    best, which = (cosine - _COST * _MOVES.norm(dim=1)[:, None, None, None]).max(0)  # (h, w, P)
    move = _MOVES[which]  # (h, w, P, 2)
    mean = (move * weight[..., None]).sum((0, 1))
    uneven = ((move - mean).square().sum(-1) * weight).sum((0, 1)).sqrt()
    fit = (best.clamp(min=0) * weight).sum((0, 1))
    all_ink = weight.sum((0, 1))  # 1, or 0 of an empty canvas
    most = (all_ink * moving.sum((0, 1))).sqrt()
    return torch.stack([most - common.sum((1, 2)).amax(0), all_ink - fit, uneven], 1)


def _padded(cells: torch.Tensor) -> torch.Tensor:
    """(..., H, W, P) with empty cells around, as many as a part may move."""
    return torch.nn.functional.pad(cells, (0, 0, _ACROSS, _ACROSS, _DOWN, _DOWN))


def _by_part(cells: torch.Tensor) -> torch.Tensor:
    """Sums (..., H / 4, W / 4, P) of the cells (..., H, W, P) of each part."""
    rows = sum(cells[..., row::_PART, :, :] for row in range(1, _PART)) + cells[..., ::_PART, :, :]
    return sum(rows[..., column::_PART, :] for column in range(1, _PART)) + rows[..., ::_PART, :]


def _by_place(cells: torch.Tensor) -> torch.Tensor:
    """Sums (H - 3, W - 3, P) of the cells (H, W, P) that a part has at each place."""
    height, width = cells.shape[0] - _PART + 1, cells.shape[1] - _PART + 1
    rows = sum(cells[row : row + height] for row in range(1, _PART)) + cells[:height]
    return sum(rows[:, column : column + width] for column in range(1, _PART)) + rows[:, :width]


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
