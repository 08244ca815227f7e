"""Pieces around points of the line, found again in another signature or not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from worker.ml.inkpoints import FOUND, POINTS, POINTS_LENGTH, find_pieces, local_shapes
from worker.ml.inkstats import Ink

Line = tuple[tuple[int, int], ...]
ZIGZAG: Line = ((60, 200), (120, 80), (180, 200), (240, 90), (420, 150))
TAIL: Line = ((300, 210), (420, 240), (520, 200))


def drawn(*lines: Line, thickness: int = 4) -> NDArray[np.float32]:
    canvas = np.zeros((300, 640), np.uint8)
    for line in lines:
        cv2.polylines(canvas, [np.array(line, np.int32)], False, 255, thickness)
    return local_shapes(Ink.of(canvas))


def shifted(line: Line, across: int, down: int) -> Line:
    return tuple((x + across, y + down) for x, y in line)


def compared(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    return find_pieces(first[None], second[None]).ravel()


def test_equal_drawings_find_all_pieces_wherever_they_stand() -> None:
    here, there = drawn(ZIGZAG, TAIL), drawn(shifted(ZIGZAG, 40, 24), shifted(TAIL, 40, 24))
    assert here.shape == (POINTS_LENGTH,)
    assert not compared(here, here).any()
    assert (compared(here, there) < 0.01).all()


def test_a_piece_that_moved_is_nearer_than_one_that_is_another() -> None:
    still = drawn(ZIGZAG, TAIL)
    moved = compared(still, drawn(ZIGZAG, shifted(TAIL, 12, 8)))
    other = compared(still, drawn(ZIGZAG, ((300, 60), (360, 260), (420, 60), (480, 260))))
    assert moved.shape == (FOUND,)
    assert (moved[::3] > 0).all()
    assert (moved < other).all()


def test_the_order_makes_no_difference() -> None:
    first, second = drawn(ZIGZAG, TAIL), drawn(ZIGZAG)
    assert compared(first, second) == pytest.approx(compared(second, first), abs=1e-6)


def test_little_or_no_ink_gives_finite_numbers() -> None:
    dot, empty = drawn(((100, 100), (101, 100))), np.zeros(POINTS_LENGTH, np.float32)
    for one in (dot, empty):
        for other in (drawn(ZIGZAG), dot, empty):
            assert np.isfinite(compared(one, other)).all()
        assert not compared(one, one).any()
    assert (compared(dot, drawn(ZIGZAG)) > 0).any()


def test_it_is_the_search_that_it_is_said_to_be() -> None:
    """Against plain loops over points."""
    first, second = drawn(ZIGZAG, TAIL), drawn(TAIL, thickness=6)
    expected = (searched(first, second) + searched(second, first)) / 2
    assert compared(first, second) == pytest.approx(expected, abs=1e-4)


def searched(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    (pieces, places), (others, elsewhere) = (
        (row[: -2 * POINTS].reshape(POINTS, -1), row[-2 * POINTS :].reshape(POINTS, 2)) for row in (first, second)
    )
    told = []
    for cost in (0.15, 0.6, 2.0):
        least = sorted(
            min(
                float(np.square(piece - other).sum()) / 2 + cost * float(np.square(place - there).sum())
                for other, there in zip(others, elsewhere, strict=True)
                if other.any()
            )
            for piece, place in zip(pieces, places, strict=True)
            if piece.any()
        )
        bounded = np.minimum(least, 16.0)
        told += [bounded.mean(), bounded[int(len(least) * 0.5)], bounded[int(len(least) * 0.8)]]
    return np.array(told)
