from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ml.compare import set_distance, set_distances


@given(st.lists(st.integers(1, 5), max_size=12), st.integers(0, 2**31))
def test_in_bulk_as_by_plain_loops(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    questioned = rng.normal(size=(len(sizes), 6)).astype(np.float32)
    references = rng.integers(-1, 2, size=(sum(sizes), 6)).astype(np.float32)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    distances, whole, nearest = set_distances(questioned, references, owner)
    for index, _ in enumerate(sizes):
        rows = np.flatnonzero(owner == index)
        expected = [float(np.linalg.norm(questioned[index].astype(float) - references[row])) for row in rows]
        assert distances[rows] == pytest.approx(expected, rel=1e-5)
        assert whole[index] == pytest.approx(np.mean(expected), rel=1e-5)
        assert nearest[index] == np.argmin(distances[rows])
        alone = set_distance(questioned[index], references[rows])
        assert np.array_equal(alone.distances, distances[rows])
        assert (alone.distance, alone.nearest) == (whole[index], nearest[index])
    assert [str(part.dtype) for part in (distances, whole, nearest)] == ["float32", "float32", "int64"]


def test_nearly_equal_vectors_keep_their_small_distance() -> None:
    questioned = np.full(128, 100, np.float32)
    reference = questioned.copy()
    reference[5] += 1e-3
    exact = float(reference[5]) - 100
    assert set_distance(questioned, reference[None]).distance == pytest.approx(exact, rel=1e-5)
    assert set_distance(questioned, questioned[None]).distance == 0


def test_the_first_of_equally_near_references_is_named() -> None:
    references = np.array([[2, 0], [0, 1], [1, 0]], np.float32)
    assert set_distance(np.zeros(2, np.float32), references).nearest == 1


def test_every_row_of_a_large_batch_is_compared() -> None:
    rng = np.random.default_rng(1)
    questioned, references = rng.normal(size=(2, 70_000, 3)).astype(np.float32)
    distances, whole, nearest = set_distances(questioned, references, np.arange(70_000))
    assert distances == pytest.approx(np.linalg.norm(questioned - references, axis=1), rel=1e-5)
    assert np.array_equal(whole, distances)
    assert not nearest.any()


@pytest.mark.parametrize("owner", [[1, 0], [0, 0], [1, 1], [0, 2], [0], [0, 1, 1]])
def test_an_owner_of_another_form_is_refused(owner: list[int]) -> None:
    with pytest.raises(ValueError, match="owner"):
        set_distances(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32), np.array(owner))
