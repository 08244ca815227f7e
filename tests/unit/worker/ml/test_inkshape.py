"""Grids of where the ink lies, and how far one bends to fit another."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from worker.ml.inkshape import DIRECTIONS, HEIGHT, MATCHES, SHAPE_LENGTH, WIDTH, match, shape_grid, width_grid
from worker.ml.inkstats import Ink

Grids = NDArray[np.float32]


def drawn(*lines: tuple[tuple[int, int], ...], thickness: int = 4) -> Ink:
    canvas = np.zeros((300, 600), np.uint8)
    for line in lines:
        cv2.polylines(canvas, [np.array(line, np.int32)], False, 255, thickness)
    return Ink.of(canvas)


ZIGZAG = ((60, 200), (120, 80), (180, 200), (240, 90), (420, 150))
TAIL = ((300, 210), (420, 240), (520, 200))


def test_grids_have_unit_length_and_ignore_place_and_size() -> None:
    ink = drawn(ZIGZAG, TAIL)
    moved = drawn(*(tuple((x + 40, y + 30) for x, y in line) for line in (ZIGZAG, TAIL)))
    for grid in (shape_grid, width_grid):
        assert np.linalg.norm(grid(ink)) == pytest.approx(1.0, abs=1e-5)
        assert np.array_equal(grid(ink), grid(moved))
    half = drawn(*(tuple((x // 2, y // 2) for x, y in line) for line in (ZIGZAG, TAIL)), thickness=2)
    other = drawn(((60, 90), (500, 90)), ((60, 200), (300, 120)))
    assert shape_grid(ink) @ shape_grid(half) > shape_grid(ink) @ shape_grid(other) + 0.2


def test_a_dot_has_grids_too() -> None:
    dot = drawn(((100, 100), (101, 100)))
    assert np.isfinite(shape_grid(dot)).all()
    assert np.isfinite(width_grid(dot)).all()


def test_thicker_strokes_change_the_grid_of_widths() -> None:
    thin, thick = (width_grid(drawn(ZIGZAG, thickness=thickness)) for thickness in (2, 9))
    assert thin @ thick < 0.5


def test_equal_shapes_fit_and_the_order_makes_no_difference() -> None:
    grids = np.stack([shape_grid(drawn(ZIGZAG, TAIL)), shape_grid(drawn(ZIGZAG))])
    assert not match(grids, grids).any()
    assert not match(np.zeros((1, SHAPE_LENGTH)), np.zeros((1, SHAPE_LENGTH))).any(), "two empty canvases are alike"
    there, back = match(grids[:1], grids[1:]), match(grids[1:], grids[:1])
    assert there == pytest.approx(back, abs=1e-6)
    assert (there > 0.02).all()


def test_a_part_that_moved_costs_less_than_one_that_is_another() -> None:
    still = shape_grid(drawn(ZIGZAG, TAIL))
    moved = shape_grid(drawn(ZIGZAG, tuple((x + 12, y + 8) for x, y in TAIL)))
    other = shape_grid(drawn(ZIGZAG, ((300, 60), (360, 260), (420, 60), (480, 260))))
    near, far = match(np.stack([still, still]), np.stack([moved, other]))
    assert (near[:2] < far[:2]).all()


def test_it_is_the_search_that_it_is_said_to_be() -> None:
    """Against plain loops over moves and parts."""
    random = np.random.default_rng(3)
    grids = random.random((2, SHAPE_LENGTH)).astype(np.float32) ** 6
    grids /= np.linalg.norm(grids, axis=1, keepdims=True)
    first, second = grids.reshape(2, DIRECTIONS, HEIGHT, WIDTH).astype(np.float64)
    expected = (searched(first, second) + searched(second, first)) / 2
    assert match(grids[:1], grids[1:])[0] == pytest.approx(expected, abs=1e-4)


def searched(still: NDArray[np.float64], moving: NDArray[np.float64]) -> NDArray[np.float64]:
    whole, fit, moves, weights = 0.0, 0.0, [], []
    shifted = {
        (down, across): np.pad(moving, ((0, 0), (2, 2), (3, 3)))[
            :, 2 + down : 2 + down + HEIGHT, 3 + across : 3 + across + WIDTH
        ]
        for down in range(-2, 3)
        for across in range(-3, 4)
    }
    whole = max(float((still * other).sum()) for other in shifted.values())
    for top in range(0, HEIGHT, 4):
        for left in range(0, WIDTH, 4):
            part = np.s_[:, top : top + 4, left : left + 4]
            weight = float(np.square(still[part]).sum())
            cosines = {
                move: float((still[part] * other[part]).sum())
                / np.sqrt(weight * float(np.square(other[part]).sum()) + 1e-24)
                - 0.01 * np.hypot(*move)
                for move, other in shifted.items()
            }
            best = max(cosines, key=lambda move: cosines[move])
            fit += weight * max(cosines[best], 0.0)
            moves.append(best)
            weights.append(weight)
    way, share = np.array(moves, np.float64), np.array(weights)
    mean = (way * share[:, None]).sum(0)
    uneven = np.sqrt((np.square(way - mean).sum(1) * share).sum())
    found = np.array([1 - whole, 1 - fit, uneven])
    assert found.shape == (MATCHES,)
    return found
