from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from worker.ml.inkstats import BLOCKS, LENGTH, SLICES, Ink, ink_statistics


def canvas(thickness: int = 3, ink: int = 200, shift: int = 0, shake: float = 0.0) -> NDArray[np.uint8]:
    """A wavy line on the canvas of the network."""
    across = np.linspace(30, 300, 60)
    wave = 60 + 30 * np.sin(across / 25) + shake * np.random.default_rng(1).normal(size=60)
    path = np.stack([across + shift, wave + shift], 1).astype(np.int32)
    page = np.zeros((288, 640), np.uint8)
    cv2.polylines(page, [path], False, ink, thickness)
    return page


def block(name: str, page: NDArray[np.uint8]) -> NDArray[np.float32]:
    return ink_statistics(page)[SLICES[name]]


def test_every_block_is_as_long_as_it_says() -> None:
    ink = Ink.of(canvas())
    assert {name: len(measure(ink)) for name, _, measure in BLOCKS} == {name: size for name, size, _ in BLOCKS}
    assert sum(size for _, size, _ in BLOCKS) == LENGTH


def test_where_the_ink_lies_does_not_matter() -> None:
    assert ink_statistics(canvas(shift=40)) == pytest.approx(ink_statistics(canvas()), abs=1e-6)


def test_histograms_are_roots_of_shares() -> None:
    for name in ("half_widths", "hinges_8", "pattern_codes_2", "runs_across", "oriented_grid", "ink_levels"):
        assert np.square(block(name, canvas())).sum() == pytest.approx(1, abs=1e-5), name


def test_a_wider_pen_shows_in_the_widths_and_a_fainter_one_in_the_strength() -> None:
    thin, wide, faint = canvas(), canvas(thickness=7), canvas(ink=90)
    assert block("widths", wide)[2] > 1.5 * block("widths", thin)[2]
    assert block("strength", faint)[0] == pytest.approx(90 / 64, abs=0.01)
    assert block("widths", faint) == pytest.approx(block("widths", thin))
    assert block("relative_ink", faint) == pytest.approx(block("relative_ink", thin))


def test_a_shaky_line_turns_more() -> None:
    assert block("turning_4", canvas(shake=4))[-1] > 1.2 * block("turning_4", canvas())[-1]


def test_a_canvas_without_ink_gives_zeros() -> None:
    assert not ink_statistics(np.zeros((288, 640), np.uint8)).any()
    with pytest.raises(ValueError, match="no ink"):
        Ink.of(np.zeros((288, 640), np.uint8))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_dot_has_finite_statistics(size: int) -> None:
    page = np.zeros((288, 640), np.uint8)
    page[100 : 100 + size, 50 : 50 + size] = 255
    assert np.isfinite(ink_statistics(page)).all()
