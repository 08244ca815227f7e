from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.calibration import Curve
from tests.factories import ModelFile, calibration
from worker import comparing
from worker.comparing import compare_blocks, represent, score_pairs, score_reference_sets
from worker.ml.checkpoint import load_model
from worker.ml.compare import Floats, Integers, Representations, cosine, euclidean
from worker.ml.embedder import Embedder
from worker.ml.metrics import frr_at_far, roc
from worker.ml.refsets import score_sets, shape_of
from worker.ml.sampling import Labels
from worker.ml.trials import GENUINE, SKILLED, choose_pairs, choose_sets

ROWS = np.random.default_rng(4).normal(size=(14, 6)).astype(np.float32)
CALIBRATION = calibration()
LABELS = Labels(np.repeat([0, 1], 7), np.tile([False] * 5 + [True] * 2, 2))


def silent(done: int, total: int) -> None:
    """Nobody watches."""


def test_blocks_compare_like_all_at_once_and_read_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "BLOCK", 3)
    pairs, most, said = choose_pairs(LABELS, 1), [], []

    def watched(rows: Representations, first: Integers, second: Integers) -> Floats:
        most.append(len(rows))
        return cosine(rows, first, second)

    found = compare_blocks(ROWS, pairs.first, pairs.second, watched, lambda done, total: said.append((done, total)))
    assert found == pytest.approx(cosine(ROWS, pairs.first, pairs.second))
    assert max(most) <= 6
    count = len(pairs.kind)
    assert said[-1] == (count, count)
    assert len(said) == -(-count // 3)


def test_representations_lie_in_a_file(tmp_path: Path, tiny_model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "BATCH", 2)
    network, meta = load_model(tiny_model.content)
    embedder = Embedder(network, meta.preprocessing)
    shape = (5, meta.preprocessing.height, meta.preprocessing.width)
    canvases = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    rows = represent(embedder, canvases, tmp_path, silent)
    assert isinstance(rows, np.memmap)
    assert rows == pytest.approx(embedder.embed(canvases), abs=1e-5)
    with pytest.raises(ValueError, match="no canvas"):
        represent(embedder, canvases[:0], tmp_path, silent)


def test_a_set_is_scored_by_its_mean_distance() -> None:
    sets = choose_sets(LABELS, references=3, seed=1)
    scores = score_reference_sets(sets, LABELS, ROWS, euclidean, None, silent)
    for number, (questioned, writer) in enumerate(zip(sets.questioned, sets.writer.tolist(), strict=True)):
        apart = [np.linalg.norm(ROWS[questioned] - ROWS[one]) for one in sets.references[writer]]
        assert scores.distance[number] == pytest.approx(np.mean(apart), rel=1e-5)
    assert (scores.llr, scores.fused) == (None, None)
    assert scores.signer.tolist() == LABELS.writer[sets.questioned].tolist()


def test_no_sets_give_no_scores() -> None:
    sets = choose_sets(LABELS, references=9, seed=1)
    assert len(score_reference_sets(sets, LABELS, ROWS, euclidean, CALIBRATION, silent).distance) == 0


def test_a_calibrated_set_is_scored_as_a_verification_scores_it() -> None:
    sets = choose_sets(LABELS, references=3, seed=1)
    scores = score_reference_sets(sets, LABELS, ROWS, euclidean, CALIBRATION, silent)
    assert scores.llr is not None
    assert scores.fused is not None
    for number, (questioned, writer) in enumerate(zip(sets.questioned.tolist(), sets.writer.tolist(), strict=True)):
        members = ROWS[sets.references[writer]]
        own = np.linalg.norm(members[:, None] - members[None], axis=2)
        apart = np.linalg.norm(ROWS[questioned] - members, axis=1)
        expected = score_sets(CALIBRATION, apart, np.array([3]), [shape_of(own, CALIBRATION.pool)])
        assert scores.llr[number] == pytest.approx(expected[0], abs=1e-4)
    inside = (scores.llr > -2) & (scores.llr < 1.75)  # the bounds of CALIBRATION
    assert scores.fused[inside] == pytest.approx(-scores.llr[inside])
    assert np.all(scores.fused[scores.llr == -2] >= 2)


@pytest.mark.parametrize("method", ["logistic", "isotonic"])
def test_sets_that_a_calibration_can_no_longer_tell_apart_are_ranked_all_the_same(method: str) -> None:
    """Genuine ones tied with a few near forgeries at the upper bound made every threshold accept or refuse them all."""
    curve = Curve(scores=[-9.0, -1.0, 1.0], llr=[-2.0, -1.0, 1.5]) if method == "isotonic" else None
    fitted = [one.model_copy(update={"highest": 0.1, "curve": curve}) for one in CALIBRATION.sets]
    bounded = CALIBRATION.model_copy(update={"sets": fitted})
    stream = np.random.default_rng(2)
    rows = np.concatenate([stream.normal(0, 0.1, (10, 6)), stream.normal(0, 0.1, (5, 6)) + 0.15]).astype(np.float32)
    labels = Labels(np.zeros(15, np.int64), np.arange(15) >= 10)
    sets = choose_sets(labels, references=3, seed=1)
    scores = score_reference_sets(sets, labels, rows, euclidean, bounded, silent)
    assert scores.llr is not None
    assert scores.llr.max() == 0.1, "what is told stays within the bounds"
    assert np.unique(scores.llr).size < len(scores.llr)
    assert np.unique(scores.score).size == len(scores.score)
    genuine, forged = scores.side(GENUINE, scores.score), scores.side(SKILLED, scores.score)
    assert frr_at_far(roc(genuine, forged), 0.01) < 0.5
    told = scores.side(GENUINE, -scores.llr), scores.side(SKILLED, -scores.llr)
    assert frr_at_far(roc(*told), 0.01) == 1.0, "as it was"


def test_a_calibrated_pair_is_a_set_of_one() -> None:
    pairs = choose_pairs(LABELS, 1)
    scores = score_pairs(pairs, LABELS, ROWS, euclidean, CALIBRATION, silent)
    assert scores.llr is not None
    order = np.argsort(scores.distance)
    assert np.all(np.diff(scores.llr[order]) <= 0), "the farther apart, the less likely one hand"
    assert scores.fused is None
