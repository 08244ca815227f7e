from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from worker.ml import trials
from worker.ml.sampling import Labels
from worker.ml.trials import GENUINE, RANDOM, SKILLED, choose_pairs, choose_sets, listed_pairs

WRITER = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])
FORGED = np.array([False, False, True, False, False, False, True, False, True])
LABELS = Labels(WRITER, FORGED)
GENUINE_ROWS = np.flatnonzero(~FORGED).tolist()


def chosen(first: object, second: object, kind: object, wanted: int) -> set[tuple[int, int]]:
    rows = zip(np.asarray(first).tolist(), np.asarray(second).tolist(), np.asarray(kind).tolist(), strict=True)
    return {(a, b) for a, b, k in rows if k == wanted}


def test_all_pairs_of_a_writer_and_of_two() -> None:
    pairs = choose_pairs(LABELS, seed=1)
    same = {(a, b) for a, b in combinations(GENUINE_ROWS, 2) if WRITER[a] == WRITER[b]}
    other = {(a, b) for a, b in combinations(GENUINE_ROWS, 2) if WRITER[a] != WRITER[b]}
    skilled = {(a, b) for a, b in product(GENUINE_ROWS, [2, 6, 8]) if WRITER[a] == WRITER[b]}
    for kind, wanted in ((GENUINE, same), (SKILLED, skilled), (RANDOM, other)):
        assert chosen(pairs.first, pairs.second, pairs.kind, kind) == wanted
        assert pairs.possible[kind] == len(wanted)


def test_too_many_pairs_are_thinned_the_same_way_by_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "MOST_RANDOM_PAIRS", 4)
    monkeypatch.setattr(trials, "MOST_PAIRS", 2)
    one, again, other = (choose_pairs(LABELS, seed) for seed in (1, 1, 2))
    assert np.bincount(one.kind).tolist() == [2, 2, 4]
    assert one.possible == (4, 6, 11)
    assert np.array_equal(one.second, again.second)
    assert not np.array_equal(one.second, other.second)


def test_of_very_many_images_pairs_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_ALL_PAIRS_UP_TO", 3)
    pairs = choose_pairs(LABELS, seed=1)
    drawn = chosen(pairs.first, pairs.second, pairs.kind, RANDOM)
    assert drawn == {(a, b) for a, b in combinations(GENUINE_ROWS, 2) if WRITER[a] != WRITER[b]}


def test_the_first_genuine_ones_are_the_references() -> None:
    sets = choose_sets(LABELS, references=1, seed=1)
    assert {writer: rows.tolist() for writer, rows in sets.references.items()} == {0: [0], 1: [3]}
    assert sets.left_out == (2,)
    asked = {kind: chosen(sets.questioned, sets.writer, sets.kind, kind) for kind in (GENUINE, SKILLED, RANDOM)}
    assert asked[GENUINE] == {(1, 0), (4, 1), (5, 1)}
    assert asked[SKILLED] == {(2, 0), (6, 1)}
    assert asked[RANDOM] == {(1, 1), (4, 0), (5, 0)}
    assert sets.possible == (3, 2, 3)


def test_of_very_many_questioned_some_strangers_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_ALL_SETS_UP_TO", 1)
    monkeypatch.setattr(trials, "MOST_RANDOM_SETS", 2)
    sets = choose_sets(LABELS, references=1, seed=1)
    drawn = chosen(sets.questioned, sets.writer, sets.kind, RANDOM)
    assert len(drawn) == 2
    assert drawn < {(1, 1), (4, 0), (5, 0)}


def test_nobody_with_enough_signatures_gives_no_sets() -> None:
    sets = choose_sets(LABELS, references=8, seed=1)
    assert (len(sets.kind), sets.left_out, sets.possible) == (0, (0, 1, 2), (0, 0, 0))


def test_listed_pairs_are_taken_as_they_are() -> None:
    pairs = listed_pairs(LABELS, np.array([0, 0, 0]), np.array([1, 2, 3]), np.array([True, False, False]))
    assert pairs.kind.tolist() == [GENUINE, SKILLED, RANDOM]
    assert pairs.possible == (1, 1, 1)
