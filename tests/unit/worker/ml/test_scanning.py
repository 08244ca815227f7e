from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.ml.scanning import Pen, Scanner, render
from worker.ml.shortcuts import shortcut_statistics
from worker.ml.strokes import Strand

PEN = Pen(width=0.5, flex=0.4, ink=0.8, fade=0.3, texture=0.0)
SCANNER = Scanner(dpi=150.0, background=240.0, shade=0.0, noise=0.0, blur=0.4, margins=(10, 12, 14, 16))


def stroke(speeds: list[float]) -> Strand:
    """A level line of 40 mm, written at ``speeds`` one after the other."""
    x = np.linspace(0.0, 40.0, 200)
    return Strand(np.stack((x, np.zeros(200)), axis=1), np.repeat(np.array(speeds), 200 // len(speeds)))


def scan(strand: Strand, pen: Pen = PEN, scanner: Scanner = SCANNER) -> NDArray[np.uint8]:
    return render([strand], pen, scanner, np.random.default_rng(0))


def test_the_margins_and_the_resolution_give_the_size() -> None:
    image = scan(stroke([100.0]))
    assert image.dtype == np.uint8
    assert image.shape[1] == pytest.approx(40 * 150 / 25.4 + 10 + 14, abs=1)
    assert image.shape[0] == pytest.approx(12 + 16, abs=1)


def test_y_upwards_is_up_in_the_image() -> None:
    rising = Strand(np.linspace([0.0, 0.0], [10.0, 10.0], 50), np.full(50, 10.0))
    rows, columns = np.nonzero(scan(rising) < 150)
    assert np.corrcoef(rows, columns)[0, 1] < -0.9


def test_paper_and_ink_are_the_drawn_ones() -> None:
    image = scan(stroke([100.0]), replace(PEN, width=1.2))
    assert np.median(image) == 240
    assert image.min() == pytest.approx(240 * (1 - 0.8), abs=3)


@pytest.mark.parametrize("speed", [10.0, 300.0])
def test_the_pace_of_the_whole_leaves_no_trace(speed: float) -> None:
    np.testing.assert_array_equal(scan(stroke([speed])), scan(stroke([60.0])))


def test_within_a_sample_the_slow_part_is_wider_and_darker() -> None:
    image = scan(stroke([20.0, 200.0])).astype(np.float64)
    ink = (240.0 - image).sum(axis=0)
    width = image.shape[1]
    assert ink[20 : width // 2 - 10].mean() > 1.3 * ink[width // 2 + 10 : width - 20].mean()


def test_a_wide_pen_draws_the_wider_line() -> None:
    thin, thick = (shortcut_statistics(scan(stroke([50.0]), replace(PEN, width=w))) for w in (0.4, 0.8))
    assert thick["stroke_width"] == pytest.approx(0.8 * 150 / 25.4, rel=0.2)
    assert thin["stroke_width"] == pytest.approx(0.4 * 150 / 25.4, rel=0.35)


def test_noise_and_shade_reach_the_paper() -> None:
    clean, rough = scan(stroke([50.0])), scan(stroke([50.0]), scanner=replace(SCANNER, noise=3.0, shade=12.0))
    assert clean[:5].std() == 0.0
    assert rough[:5, :40].std() == pytest.approx(3.0, abs=0.7)
    assert rough[:5, -40:].mean() - rough[:5, :40].mean() == pytest.approx(12.0 * (1 - 40 / rough.shape[1]), abs=1.5)
