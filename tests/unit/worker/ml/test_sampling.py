from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import TrainingFailed
from worker.ml.sampling import Labels, WriterBatches, fold_writers, refuse_leak, split_writers


def labels_of(counts: list[tuple[int, int]]) -> Labels:
    """Labels of writers 0, 1, ... with so many genuine and forged signatures each."""
    writer = [index for index, (genuine, forged) in enumerate(counts) for _ in range(genuine + forged)]
    forged_flags = [place >= genuine for genuine, forged in counts for place in range(genuine + forged)]
    return Labels(np.array(writer, np.int64), np.array(forged_flags, bool))


@given(st.sets(st.text(min_size=1, max_size=3), min_size=2), st.floats(0.01, 0.99), st.integers(0, 99))
def test_every_writer_is_on_exactly_one_side(writers: set[str], share: float, seed: int) -> None:
    split = split_writers(writers, share, seed)
    assert sorted([*split.training, *split.validation]) == sorted(writers)
    assert split.training
    assert split.validation
    assert abs(len(split.validation) - share * len(writers)) <= 1


def test_the_split_depends_on_the_seed_not_on_the_order() -> None:
    writers = [f"w{number}" for number in range(20)]
    split = split_writers(writers, 0.2, 1)
    assert len(split.validation) == 4
    assert split == split_writers([*reversed(writers), "w3"], 0.2, 1)
    assert split != split_writers(writers, 0.2, 2)


@pytest.mark.parametrize("writers", [[], ["anna"], ["anna", "anna"]])
def test_too_few_writers(writers: list[str]) -> None:
    with pytest.raises(TrainingFailed) as caught:
        split_writers(writers, 0.2, 1)
    assert caught.value.code == "too_few_writers"


def test_one_image_on_both_sides_is_a_leak() -> None:
    with pytest.raises(TrainingFailed) as caught:
        refuse_leak([("a/1.png", "x"), ("a/2.png", "y")], [("b/1.png", "z"), ("b/7.png", "y")])
    assert caught.value.code == "leak"
    assert "a/2.png" in caught.value.message
    assert "b/7.png" in caught.value.message


def test_one_image_twice_on_one_side_is_no_leak() -> None:
    twice, other = [("a/1.png", "x"), ("a/2.png", "x")], [("b/1.png", "z"), ("b/2.png", "z")]
    refuse_leak(twice, other)
    with pytest.raises(TrainingFailed):  # the same pairs are a leak once they stand on both sides
        refuse_leak(twice, [*other, twice[0]])


def test_a_full_batch_has_its_writers_genuine_and_forged() -> None:
    labels = labels_of([(12, 12)] * 8)
    batches = list(WriterBatches(labels, 4, 3, 2, seed=1, epoch=1))
    assert len(batches) == 8  # 12 / 3 turns of 8 / 4 batches
    for batch in batches:
        assert len(batch) == 4 * 5
        genuine = batch[~labels.forged[batch]]
        assert set(Counter(labels.writer[genuine].tolist()).values()) == {3}
        assert len(set(labels.writer[batch].tolist())) == 4


def test_one_pass_shows_every_genuine_signature_once() -> None:
    labels = labels_of([(12, 5), (12, 30), (12, 12)])
    seen = Counter(np.concatenate(list(WriterBatches(labels, 3, 4, 4, seed=1, epoch=1))).tolist())
    assert all(seen[index] == 1 for index in np.flatnonzero(~labels.forged).tolist() if labels.writer[index])
    assert seen.total() == 3 * 3 * 8


def test_more_passes_give_more_batches() -> None:
    labels = labels_of([(12, 12)] * 4)
    assert len(list(WriterBatches(labels, 4, 6, 4, seed=1, epoch=1, passes=2.0))) == 4


def test_missing_forgeries_are_replaced_by_genuine_and_the_other_way_round() -> None:
    labels = labels_of([(10, 0), (10, 1), (2, 10)])
    (batch,) = WriterBatches(labels, 3, 4, 2, seed=1, epoch=1, passes=0.1)
    genuine = Counter(labels.writer[batch[~labels.forged[batch]]].tolist())
    forged = Counter(labels.writer[batch[labels.forged[batch]]].tolist())
    assert genuine == {0: 6, 1: 5, 2: 2}
    assert forged == {1: 1, 2: 4}


writer_sets = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=2, max_size=9)


@given(writer_sets, st.integers(2, 4), st.integers(1, 4), st.integers(0, 4), st.integers(0, 99))
def test_batches_hold_together_for_any_writers(
    counts: list[tuple[int, int]], writers: int, genuine: int, forged: int, seed: int
) -> None:
    labels = labels_of(counts)
    batches = list(WriterBatches(labels, writers, genuine, forged, seed, epoch=3))
    seen = np.concatenate(batches)
    assert set(labels.writer[seen].tolist()) == set(range(len(counts)))
    for batch in batches:
        assert len(set(batch.tolist())) == len(batch)
        per_writer = Counter(labels.writer[batch].tolist())
        assert max(per_writer.values()) <= genuine + forged
        assert len(per_writer) <= writers + 1


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    labels = labels_of([(6, 6)] * 6)

    def order(seed: int, epoch: int) -> list[int]:
        return [index for batch in WriterBatches(labels, 3, 3, 2, seed, epoch) for index in batch.tolist()]

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)


def test_no_labels_give_no_batches() -> None:
    assert list(WriterBatches(labels_of([]), 3, 3, 2, 1, 1)) == []


@pytest.mark.parametrize(
    ("writers", "share", "calibration", "sizes"),
    [
        (40, 0.2, 0.2, (24, 8, 8)),
        (13, 0.2, 0.2, (7, 3, 3)),
        (10, 0.2, 0.2, (5, 2, 3)),  # fewer than three would tell too little
        (9, 0.2, 0.2, (7, 2, 0)),  # and here too few would remain to learn from
        (3, 0.2, 0.2, (2, 1, 0)),
        (40, 0.2, 0.0, (32, 8, 0)),
        (40, 0.2, 0.01, (29, 8, 3)),
        (10, 0.5, 0.4, (2, 5, 3)),
        (6, 0.5, 0.9, (3, 3, 0)),
    ],
)
def test_the_sizes_of_three_sides(writers: int, share: float, calibration: float, sizes: tuple[int, int, int]) -> None:
    split = split_writers(range(writers), share, 1, calibration)
    sides = (split.training, split.validation, split.calibration)
    assert tuple(map(len, sides)) == sizes
    assert sorted(writer for side in sides for writer in side) == list(range(writers))
    assert split.validation == split_writers(range(writers), share, 1).validation


def test_an_image_on_any_two_of_three_sides_is_a_leak() -> None:
    one, two, three = ([(f"{side}.png", side)] for side in "abc")
    refuse_leak(one, two, three)
    for sides in ((one, two, one), (one, two, two), (one, one, three)):
        with pytest.raises(TrainingFailed) as caught:
            refuse_leak(*sides)
        assert caught.value.code == "leak"


@given(st.sets(st.text(max_size=3), min_size=2, max_size=30), st.integers(2, 10), st.integers(0, 100))
def test_every_writer_judges_in_exactly_one_fold(writers: set[str], folds: int, seed: int) -> None:
    folds = min(folds, len(writers))
    splits = fold_writers(writers, folds, seed)
    assert Counter(writer for split in splits for writer in split.validation) == Counter(writers)
    assert all(set(split.training) == writers - set(split.validation) for split in splits)
    sizes = [len(split.validation) for split in splits]
    assert (len(sizes), max(sizes) - min(sizes) <= 1) == (folds, True)


def test_the_folds_depend_on_the_seed_not_on_the_order() -> None:
    assert fold_writers(range(20), 4, 1) == fold_writers(reversed(range(20)), 4, 1)
    assert fold_writers(range(20), 4, 1) != fold_writers(range(20), 4, 2)


def test_fewer_writers_than_folds() -> None:
    with pytest.raises(TrainingFailed, match="3 folds need signatures of 3 writers") as caught:
        fold_writers(["a", "b", "a"], 3, 1)
    assert caught.value.code == "too_few_writers"
