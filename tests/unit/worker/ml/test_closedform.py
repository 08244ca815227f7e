from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shared.model_files import ModelMeta
from shared.specs import TrainSpec, canvas_of
from worker.ml.checkpoint import digest, load_model, save_model
from worker.ml.closedform import RIDGES, fit_ink, fit_statistics, ridge_logistic
from worker.ml.compare import comparer
from worker.ml.embedder import Embedder
from worker.ml.fit import fit
from worker.ml.images import prepare
from worker.ml.inkpairs import DIFFERENCES, FEATURES, OF_STRENGTH, WHOLES, Norm, pair_features, usual_features
from worker.ml.inkpoints import FOUND
from worker.ml.inkstats import LENGTH, SLICES
from worker.ml.networks.ink import REPRESENTATION, SHARE, Ink
from worker.ml.sampling import Labels, Split
from worker.ml.synthesis import generate_writer
from worker.ml.trained import EpochRow, FitResult, Stopped

CANVAS = canvas_of("ink")
SPLIT: Split[int] = Split(training=(0, 1, 2, 3), validation=(4, 5))


@pytest.fixture(scope="module")
def data() -> tuple[NDArray[np.uint8], Labels]:
    signatures = [one for writer in range(6) for one in generate_writer(3, writer, 5, 3)]
    canvases = np.stack([prepare(one.image, CANVAS) for one in signatures])
    return canvases, Labels(np.array([one.writer for one in signatures]), np.array([one.forged for one in signatures]))


def trained(data: tuple[NDArray[np.uint8], Labels], **changes: object) -> tuple[FitResult, list[EpochRow]]:
    rows: list[EpochRow] = []
    recipe = TrainSpec.model_validate({"network": "ink", "epochs": 20} | changes)
    result = fit(
        *data, SPLIT, recipe, on_epoch=rows.append, should_stop=lambda: False, on_checkpoint=lambda _: None
    )  # fmt: skip
    return result, rows


def test_it_learns_in_one_step_to_tell_forgeries_from_genuine_signatures(
    data: tuple[NDArray[np.uint8], Labels],
) -> None:
    result, rows = trained(data)
    assert [row.epoch for row in rows] == [result.epochs] == [1]
    assert result.eer < 0.4
    embedder = Embedder(result.network, CANVAS, compare=comparer(result.comparer, result.network))
    one, other, forged = 0, 1, 5  # of a training writer
    near, far, same = embedder.compare(
        embedder.embed(data[0][:7]), np.array([one, one, one]), np.array([other, forged, one])
    )
    assert 0 == same < near < far


def test_the_same_data_give_the_same_weights(data: tuple[NDArray[np.uint8], Labels]) -> None:
    meta = ModelMeta(network="ink", preprocessing=CANVAS, threshold=1.0, comparer="local")
    files = [save_model(trained(data)[0].network, meta) for _ in range(2)]
    assert digest(files[0]) == digest(files[1])
    network, again = load_model(files[0])
    assert again == meta
    assert isinstance(network, Ink)
    assert torch.equal(network.slopes, trained(data)[0].network.state_dict()["slopes"])


def test_fine_tuning_stays_near_where_it_began(data: tuple[NDArray[np.uint8], Labels]) -> None:
    first = trained(data)[0].network.state_dict()
    rows = Embedder(Ink(), CANVAS).embed(data[0])
    split: Split[int] = Split(training=(0, 1), validation=(4, 5))

    def distance(initial: dict[str, torch.Tensor] | None) -> float:
        result, _ = fit_statistics(rows, data[1], split, TrainSpec(network="ink"), initial, 1000.0)
        return float((result.network.state_dict()["slopes"] - first["slopes"]).norm())

    assert distance(first) < 0.5 * distance(None)  # whose beginning is one weight for all


def test_labels_without_meaning_move_the_weights_little() -> None:
    """The cross-validation sees that they do not carry over, and holds the weights to where they began."""
    rows = random_rows(96, 8)
    labels = Labels(np.repeat(np.arange(12), 8), np.tile([False, False, False, False, True, True, True, True], 12))
    split: Split[int] = Split(training=tuple(range(10)), validation=(10, 11))
    begun = Ink().state_dict() | {"offset": torch.tensor(4.0)}

    def moved(ridge: float | None) -> float:
        result, _ = fit_statistics(rows, labels, split, TrainSpec(network="ink"), begun, ridge)
        return float((result.network.state_dict()["slopes"] - begun["slopes"]).norm())

    assert moved(None) < 0.2 * moved(RIDGES[-1])


def test_it_stops_when_asked(data: tuple[NDArray[np.uint8], Labels]) -> None:
    with pytest.raises(Stopped):
        fit_ink(*data, SPLIT, TrainSpec(network="ink"), on_epoch=lambda _: None, should_stop=lambda: True)


def test_the_logistic_fit_is_at_its_minimum() -> None:
    random = np.random.default_rng(5)
    features = np.abs(random.normal(size=(200, 3)))
    genuine = features @ [1.0, 0.5, 0.0] + 0.5 * random.normal(size=200) < 1.0
    weights = np.full(200, 1 / 200)
    prior = np.array([0.2, 0.0, 0.1, 0.0])

    def cost(values: NDArray[np.float64]) -> float:
        chance = 1 / (1 + np.exp(features @ values[:-1] - values[-1]))
        fitted = -np.log(np.where(genuine, chance, 1 - chance)).mean()
        return float(fitted + 0.01 * np.square(values[:-1] - prior[:-1]).sum() / 2)

    found, loss = ridge_logistic(features, genuine, weights, 0.01, prior)
    assert loss == pytest.approx(cost(found), abs=1e-4)
    for step in np.vstack([np.eye(4), -np.eye(4)]) * 0.05:
        assert cost(found) < cost(found + step)


def norm_of(centre: float = 0.5) -> Norm:
    one = np.ones(LENGTH)
    return Norm(centre * one, one, one, np.ones(WHOLES))


def random_rows(count: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).random((count, LENGTH)).astype(np.float32)
    rows[:, SLICES["shape_grid"]] /= np.linalg.norm(rows[:, SLICES["shape_grid"]], axis=1, keepdims=True)
    rows[:, SLICES["pieces"]] *= 0.1
    return rows


def test_equal_statistics_have_no_features_and_any_difference_has() -> None:
    rows = random_rows(2, 2)
    assert not pair_features(rows, rows, norm_of()).any()
    features = pair_features(rows[:1], rows[1:], norm_of())
    assert features.shape == (1, FEATURES)
    assert (features[:, :DIFFERENCES] > 0).all()
    assert features == pytest.approx(pair_features(rows[1:], rows[:1], norm_of()), abs=1e-6)


def test_the_kind_of_signature_says_what_a_difference_weighs() -> None:
    rows = random_rows(2, 2)
    below, above = (pair_features(rows[:1], rows[1:], norm_of(centre)) for centre in (-9.0, 9.0))
    assert np.array_equal(below[:, :DIFFERENCES], above[:, :DIFFERENCES])
    strongest = 3 * below[:, :DIFFERENCES].mean()
    assert below[:, DIFFERENCES:] == pytest.approx(strongest), (
        "a kind beyond all that was seen is taken for its extreme"
    )
    assert above[:, DIFFERENCES:] == pytest.approx(-strongest)


def test_a_signature_is_measured_by_those_that_resemble_it_most() -> None:
    """Against plain loops over the cohort: the nearest are skipped, the next ones averaged, strangers alone count."""
    rows, cohort = random_rows(3, 4), random_rows(40, 5)
    strangers = np.random.default_rng(4).random((3, 40)) < 0.7
    features, found = usual_features(rows, cohort, norm_of(), strangers)
    assert not features[:, :DIFFERENCES][:, OF_STRENGTH].any(), "how dark the ink runs is not measured by others"
    for row, known, told in zip(rows, strangers, found, strict=True):
        differences = pair_features(np.repeat(row[None], known.sum(), 0), cohort[known], norm_of())[:, :DIFFERENCES]
        far = differences[:, :-FOUND][:, ~OF_STRENGTH[:-FOUND]].mean(1)
        near = np.argsort(far)[4 : 4 + min(12, len(far) // 4)]
        pieces = differences[near, -FOUND:].mean() / 6  # a whole weighs 6 numbers
        assert told == pytest.approx(0.7 * far[near].mean() + 0.3 * pieces, rel=1e-5)


def test_a_writer_in_the_cohort_is_not_measured_by_his_own_signatures() -> None:
    cohort, mine = random_rows(40, 6), random_rows(1, 7)
    with_own = np.concatenate([cohort[:36], mine, mine, mine, mine])
    apart, among = (float(usual_features(mine, each, norm_of())[1][0]) for each in (cohort, with_own))
    assert 0.9 * apart < among <= apart


def test_distances_are_measured_by_what_is_usual_for_both(data: tuple[NDArray[np.uint8], Labels]) -> None:
    network = trained(data)[0].network
    assert isinstance(network, Ink)
    rows = Embedder(network, CANVAS).embed(data[0])
    assert rows.shape[1] == REPRESENTATION
    assert int(network.cohort_size) == 16, "four genuine signatures of each of four training writers"
    pair = np.array([0]), np.array([9])
    once = network.comparer()(rows, *pair)
    further = rows.copy()
    further[:, LENGTH] += 1.0
    usually = (rows[0, LENGTH + 1] + rows[9, LENGTH + 1]) / 2
    assert network.comparer()(further, *pair) == pytest.approx(once - SHARE / usually, rel=1e-3)
    further = rows.copy()
    further[:, LENGTH + 1] *= 2
    assert network.comparer()(further, *pair) == pytest.approx(once / 2)
