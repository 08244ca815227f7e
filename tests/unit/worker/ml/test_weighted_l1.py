from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shared.model_files import ModelMeta
from shared.specs import Preprocessing
from worker.ml.checkpoint import load_model, save_model
from worker.ml.compare import comparer
from worker.ml.networks import build
from worker.ml.weighted_l1 import WeightedL1, begin_with, comparison_of, give_comparison


def learned(*weights: float) -> WeightedL1:
    comparison = WeightedL1(len(weights))
    comparison.load_state_dict({"weights": torch.tensor(weights), "offset": torch.tensor(1.0)})
    return comparison


def test_distances_by_hand_are_symmetric_and_never_below_zero() -> None:
    rows = np.array([[0, 0, 0], [1, -2, 0], [1, -2, 5]], np.float32)
    compare = learned(2.0, -0.5, 0.0).comparer()
    assert compare(rows, np.array([0, 1, 1, 0]), np.array([1, 0, 2, 0])).tolist() == [3.0, 3.0, 0.0, 0.0]


def test_training_and_inference_see_the_same_distance() -> None:
    rows = torch.randn(70, 6, generator=torch.Generator().manual_seed(1))
    comparison = learned(1.0, 0.5, -2.0, 0.0, 3.0, 0.1)
    first, second = np.divmod(np.arange(70 * 70, dtype=np.int64), 70)
    trained = comparison(rows[first], rows[second])
    assert comparison.comparer()(rows.numpy(), first, second) == pytest.approx(trained.detach().numpy(), rel=1e-5)
    halves = rows.half().numpy()
    assert comparison.comparer()(halves, first, second).dtype == np.float32


def test_it_starts_about_as_long_as_the_euclidean_distance_times_a_steepness() -> None:
    rows = torch.randn(200, 128, generator=torch.Generator().manual_seed(2))
    euclidean = (rows[:100] - rows[100:]).norm(dim=1)
    ratio = WeightedL1(128)(rows[:100], rows[100:]) / euclidean
    assert ratio.min() > 2.5
    assert ratio.max() < 4


def test_its_weights_travel_in_the_model_file() -> None:
    network = build("compact")
    comparison = give_comparison(network, 128)
    with torch.no_grad():
        comparison.weights.copy_(torch.linspace(0, 1, 128))
    meta = ModelMeta(
        network="compact", preprocessing=Preprocessing(height=96, width=192), threshold=1.0, comparer="weighted-l1"
    )
    loaded, said = load_model(save_model(network, meta))
    rows = np.random.default_rng(1).normal(size=(4, 128)).astype(np.float32)
    pairs = np.array([0, 1]), np.array([2, 3])
    expected = comparer("weighted-l1", network)(rows, *pairs)
    assert comparer(said.comparer, loaded)(rows, *pairs).tolist() == expected.tolist()
    assert expected[0] == pytest.approx(np.abs(rows[0] - rows[2]) @ np.linspace(0, 1, 128), rel=1e-5)


def test_a_network_without_it_has_no_such_comparer() -> None:
    assert comparison_of(nn.Linear(2, 2)) is None
    with pytest.raises(ValueError, match="comparer of its own"):
        comparer("weighted-l1", nn.Linear(2, 2))


@pytest.mark.parametrize(("has", "brings"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_training_begins_with_the_weights_of_another_whichever_learned_its_distance(has: bool, brings: bool) -> None:
    network, other = nn.Linear(3, 2), nn.Linear(3, 2)
    own = give_comparison(network, 2) if has else None
    if brings:
        with torch.no_grad():
            give_comparison(other, 2).offset.fill_(7.0)
    begin_with(network, other.state_dict())
    assert torch.equal(network.weight, other.weight)
    if own is not None:
        assert own.offset.item() == (7.0 if brings else 2.0)


@pytest.mark.parametrize("other", [nn.Linear(4, 2), nn.Linear(3, 2, bias=False), nn.Conv2d(1, 1, 3), nn.BatchNorm1d(2)])
def test_the_weights_of_another_network_are_refused(other: nn.Module) -> None:
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    with pytest.raises(ValueError, match="another network"):
        begin_with(network, other.state_dict())
    assert torch.equal(network.weight, before)
