from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ml.compare import Comparer, comparer, cosine, euclidean, set_distances


@given(st.lists(st.integers(1, 5), max_size=12), st.integers(0, 2**31))
def test_in_bulk_as_by_plain_loops(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, size=(9, 6)).astype(np.float32)
    questioned, references = rng.integers(0, 9, len(sizes)), rng.integers(0, 9, sum(sizes))
    owner = np.repeat(np.arange(len(sizes)), sizes)
    distances, whole, nearest = set_distances(rows, questioned, references, owner)
    for index, _ in enumerate(sizes):
        own = np.flatnonzero(owner == index)
        expected = [float(np.linalg.norm(rows[questioned[index]] - rows[references[one]])) for one in own]
        assert distances[own] == pytest.approx(expected, rel=1e-5)
        assert whole[index] == pytest.approx(np.mean(expected), rel=1e-5)
        assert nearest[index] == np.argmin(distances[own])
    assert [str(part.dtype) for part in (distances, whole, nearest)] == ["float32", "float32", "int64"]


def test_nearly_equal_vectors_keep_their_small_distance() -> None:
    rows = np.full((2, 128), 100, np.float32)
    rows[1, 5] += 1e-3
    exact = float(rows[1, 5]) - 100
    assert euclidean(rows, np.array([0, 0]), np.array([1, 0])) == pytest.approx([exact, 0], rel=1e-5)


def test_cosine_is_one_minus_the_cosine() -> None:
    rows = np.random.default_rng(4).normal(size=(6, 5)).astype(np.float32)
    rows[5] = 0  # has no direction: as far as a right angle would be, halved
    first, second = np.array([0, 1, 2, 3]), np.array([1, 1, 4, 0])
    expected = [
        1 - rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j])
        for i, j in zip(first, second, strict=True)
    ]
    assert cosine(rows, first, second) == pytest.approx(expected, abs=1e-6)
    assert cosine(rows, np.array([5]), np.array([0])) == pytest.approx([0.5], abs=1e-6)


def test_the_first_of_equally_near_references_is_named() -> None:
    rows = np.array([[0, 0], [2, 0], [0, 1], [1, 0]], np.float32)
    nearest = set_distances(rows, np.array([0]), np.array([1, 2, 3]), np.zeros(3, np.int64))[2]
    assert nearest.tolist() == [1]


def test_the_set_is_compared_with_the_comparer_given() -> None:
    rows = np.array([[1, 0], [0, 2], [3, 0]], np.float32)
    distances = set_distances(rows, np.array([0]), np.array([1, 2]), np.zeros(2, np.int64), cosine)[0]
    assert distances == pytest.approx([1, 0])


def test_every_row_of_a_large_batch_is_compared() -> None:
    rows = np.random.default_rng(1).normal(size=(140_000, 3)).astype(np.float32)
    one, other = np.arange(70_000), np.arange(70_000, 140_000)
    distances, whole, nearest = set_distances(rows, one, other, one)
    assert distances == pytest.approx(np.linalg.norm(rows[one] - rows[other], axis=1), rel=1e-5)
    assert np.array_equal(whole, distances)
    assert not nearest.any()


@pytest.mark.parametrize("owner", [[1, 0], [0, 0], [1, 1], [0, 2], [0], [0, 1, 1]])
def test_an_owner_of_another_form_is_refused(owner: list[int]) -> None:
    with pytest.raises(ValueError, match="owner"):
        set_distances(np.zeros((2, 3), np.float32), np.array([0, 1]), np.array([0, 1]), np.array(owner))


def test_a_comparer_is_chosen_by_name() -> None:
    class OfItsOwn:
        def comparer(self) -> Comparer:
            return cosine

    assert comparer("euclidean", OfItsOwn()) is euclidean
    assert comparer("cosine", object()) is cosine
    assert comparer("local", OfItsOwn()) is cosine
    with pytest.raises(ValueError, match="of its own"):
        comparer("local", object())
