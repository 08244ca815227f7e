from __future__ import annotations

import numpy as np
import pytest

from worker.ml.letterforms import CAPITALS, SMALL, WORN, form


@pytest.mark.parametrize("name", [*SMALL, *CAPITALS])
def test_every_form_can_be_written(name: str) -> None:
    letter = form(name)
    for points, bends in letter.runs:
        assert points.shape == (len(bends), 2)
        assert np.abs(bends).max() < np.radians(220)
        assert points[:, 1].min() > -1.2
        assert points[:, 1].max() < 2.5
    assert 0.4 < letter.advance < 2.0


@pytest.mark.parametrize("name", CAPITALS)
def test_a_run_of_a_capital_has_a_stroke(name: str) -> None:
    assert all(len(points) >= 2 for points, _ in form(name).runs)


def test_an_i_has_a_dot_above_its_stem() -> None:
    stem, dot = form("i").runs
    assert dot[0][:, 1].min() > stem[0][:, 1].max()


@pytest.mark.parametrize(("name", "joins"), [("C", True), ("D", False), ("B", False), ("M", True)])
def test_a_pen_runs_on_where_it_ends_at_the_right_of_a_single_run(name: str, joins: bool) -> None:
    assert form(name).joins is joins


def test_worn_letters_are_small_letters() -> None:
    assert set(WORN) <= set(SMALL)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(KeyError):
        form("?")
