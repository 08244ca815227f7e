from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ml.compare import euclidean
from worker.ml.identification import (
    CONFUSIONS_SHOWN,
    FEWEST_CATEGORIES,
    Tally,
    classify,
    distances_to,
    figures,
    nearest_strange,
    strangers,
    wilson,
)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 5), st.integers(0, 2**31))
def test_as_by_plain_loops(sizes: list[int], tests: int, seed: int) -> None:
    """Whole numbers, so that ties and distances upon the threshold are common; the gallery in any order."""
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    distances = rng.integers(0, 4, (tests, len(owner))).astype(np.float32)
    found = classify(distances, owner, 1.5)
    for test in range(tests):
        means = [
            sum(float(distances[test, m]) for m in range(len(owner)) if owner[m] == category) / sizes[category]
            for category in range(len(sizes))
        ]
        ranked = sorted(range(len(sizes)), key=lambda category: (means[category], category))
        assert found.nearest[test] == ranked[0]
        assert found.distance[test] == pytest.approx(means[ranked[0]])
        assert found.none[test] == (means[ranked[0]] > 1.5)
        if len(sizes) == 1:
            assert found.runner_up[test] == -1
            assert math.isnan(found.runner_up_distance[test])
        else:
            assert found.runner_up[test] == ranked[1]
            assert found.runner_up_distance[test] == pytest.approx(means[ranked[1]])


@pytest.mark.parametrize("owner", [[], [0], [0, 2], [1, 1], [0, 1, 1]])
def test_an_owner_of_another_form_is_refused(owner: list[int]) -> None:
    with pytest.raises(ValueError, match="owner"):
        classify(np.zeros((3, 2), np.float32), np.array(owner, np.int64), 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_distances_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        classify(np.array([[0.0, value]], np.float32), np.array([0, 1]), 1.0)


def test_every_test_image_is_compared_with_every_one_of_the_gallery() -> None:
    rows = np.random.default_rng(2).normal(size=(7, 3)).astype(np.float32)
    found = distances_to(rows, np.array([5, 6, 4]), np.array([0, 3]), euclidean)
    expected = [[np.linalg.norm(rows[test] - rows[image]) for image in (0, 3)] for test in (5, 6, 4)]
    assert found == pytest.approx(np.array(expected), rel=1e-5)
    assert distances_to(rows, np.array([], np.int64), np.array([0, 3]), euclidean).shape == (0, 2)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        (0, 0, 0.0, 1.0),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_of_shares(count: int, of: int, low: float, high: float) -> None:
    assert wilson(count, of) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 300), st.integers(1, 300))
def test_an_interval_holds_its_share_and_stays_within_bounds(count: int, of: int) -> None:
    count = min(count, of)
    low, high = wilson(count, of)
    assert 0 <= low <= count / of + 1e-12
    assert count / of - 1e-12 <= high <= 1


def counts(document: dict[str, object]) -> dict[str, tuple[int, int]]:
    return {name: (value["count"], value["of"]) for name, value in document.items() if isinstance(value, dict)}


def test_each_figure_counts_what_it_says() -> None:
    tallies = [
        Tally("a", "a", "a", 10),
        Tally("a", "b", "b", 3),  # known, taken for another
        Tally("a", None, "a", 2),  # known, the right one but too far
        Tally("b", None, "a", 1),
        Tally("x", None, "a", 4),  # truly none
        Tally("x", "b", "b", 5),
        Tally("y", "b", "b", 1),
    ]
    found = figures(tallies, {"a", "b"})
    assert found["labelled"] == 26
    assert counts(found) == {
        "accuracy": (14, 26),
        "top1": (12, 16),
        "named": (10, 16),
        "rejected": (3, 16),
        "false_accepts": (6, 10),
    }
    assert found["named"]["rate"] == 10 / 16
    assert (found["named"]["low"], found["named"]["high"]) == wilson(10, 16)
    assert found["confusions"] == [
        {"truth": "x", "category": "b", "count": 5},
        {"truth": "a", "category": "b", "count": 3},
        {"truth": "y", "category": "b", "count": 1},
    ]


def test_figures_of_nothing_are_unknown_not_zero() -> None:
    found = figures([Tally("a", "a", "a", 1)], {"a"})
    assert (found["false_accepts"]["rate"], found["false_accepts"]["of"]) == (None, 0)
    assert found["confusions"] == []


def test_only_the_most_frequent_confusions_are_listed() -> None:
    tallies = [Tally(f"t{n:03}", "c", "c", 1 + (n == 70)) for n in range(80)]
    shown = figures(tallies, {"c"})["confusions"]
    assert len(shown) == CONFUSIONS_SHOWN
    assert [row["truth"] for row in shown[:3]] == ["t070", "t000", "t001"]


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(0, 2**31))
def test_the_nearest_strange_category_by_plain_loops(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    distances = rng.integers(0, 9, (len(owner), len(owner))).astype(np.float32)
    found = nearest_strange(distances, owner, owner)
    for image in range(len(owner)):
        means = [distances[image, owner == other].mean() for other in range(len(sizes)) if other != owner[image]]
        assert found[image] == pytest.approx(min(means))


def test_a_threshold_that_names_too_many_strangers_has_a_stricter_one_beside_it() -> None:
    nearest = np.arange(1.0, 101.0)
    told = strangers(nearest, 25, 30.0)
    assert (told["count"], told["of"]) == (30, 100)
    assert (told["low"], told["high"]) == wilson(25 * told["rate"], 25), (
        "images of one category are no independent draws"
    )
    assert (nearest <= told["threshold"]).sum() == 4, "5 of 100 among 24 categories are more among 25"
    assert strangers(nearest, 25, told["threshold"])["threshold"] is None, "it names few enough"
    assert strangers(np.full(50, 7.0), 50, 7.0)["threshold"] < 7, "equal distances are named all or none"
    assert strangers(nearest, FEWEST_CATEGORIES - 1, 30.0)["threshold"] is None, "too few to tell one by"


def test_a_stranger_meets_one_category_more_than_the_images_that_stand_for_it() -> None:
    """Of 5 categories each is near enough at even odds: 15 of 16 images are named among 4, 31 of 32 among 5."""
    told = strangers(np.repeat([1.0, 3.0], [15, 1]), 5, 2.0)
    assert (told["count"], told["of"]) == (15, 16)
    assert told["rate"] == pytest.approx(31 / 32)
