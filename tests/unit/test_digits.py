"""The example of other pictures than signatures, on a handful of them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.digits import QUERIES, Pictures, canvases_of, episodes_of, load, many_categories, one_shot, train
from shared.specs import TrainSpec
from worker.ml.compare import euclidean


def handful(digits: tuple[int, ...], each: int) -> Pictures:
    pictures = load().of(digits)
    rows = np.concatenate([np.flatnonzero(pictures.categories == digit)[:each] for digit in digits])
    return Pictures(pictures.pixels[rows], pictures.categories[rows])


def test_a_network_trained_on_a_few_digits_embeds_others() -> None:
    recipe = TrainSpec(network="conv4", preset="photo", epochs=2, batch_writers=4, batch_genuine=4)
    embedder = train(many_categories(handful((0, 1), 8), 8, seed=1), recipe, side=16, quiet=True)
    new = handful((2, 3, 4), QUERIES + 1)
    rows = embedder.embed(canvases_of(new.pixels, embedder.preprocessing))
    assert rows.shape == (3 * (QUERIES + 1), 128)
    found = one_shot(rows, episodes_of(new.categories, 20, seed=1), embedder.compare)
    assert found.mean > 0.4, "a third is chance"


def test_categories_are_made_of_halves_and_quarter_turns() -> None:
    pixels = np.stack([np.full((8, 8), value, np.uint8) for value in (50, 50, 200, 200)])
    made = many_categories(Pictures(pixels, np.array([3, 3, 7, 7])), each=2, seed=1)
    assert len(made.pixels) == len(made.categories) == 2 * 3 * 4 * 2
    looks = {one.tobytes() for one in made.pixels}
    plain, halved = 2, 4  # one value all over; 50 on either side of 200, across and down
    assert len(looks) == plain + halved


def test_rows_that_lie_by_category_are_told_apart_always_and_rows_all_alike_by_chance() -> None:
    categories = np.repeat(np.arange(4), QUERIES + 5)
    episodes = episodes_of(categories, 10, seed=2)
    apart = one_shot(np.eye(4, dtype=np.float32)[categories], episodes, euclidean)
    assert (apart.mean, apart.reach) == (1.0, 0.0)
    alike = one_shot(np.zeros((len(categories), 2), np.float32), episodes, euclidean)
    assert alike.mean == pytest.approx(1 / 4)


def test_no_example_is_among_its_own_queries() -> None:
    categories = np.repeat(np.arange(3), QUERIES + 1)
    for examples, queries in episodes_of(categories, 5, seed=3):
        assert categories[examples].tolist() == [0, 1, 2]
        assert sorted([*examples, *queries]) == list(range(len(categories)))
