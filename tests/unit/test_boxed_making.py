"""The model in the box is made from a seed, and measured and tuned as its users would."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.boxed.gaining import SIZES, part_writers, row_of
from benchmarks.boxed.making import RECIPE, Plan, generate, make, write
from benchmarks.boxed.measuring import RealSet, measure
from shared.boxed import FILE
from shared.calibration import calibration_of
from worker.digests import summary_of
from worker.ml.checkpoint import digest, load_model
from worker.ml.inkpairs import FEATURES, pair_features
from worker.ml.inkstats import LENGTH, SLICES, STRENGTH_BLOCKS
from worker.ml.networks.ink import Ink

FEW = Plan(
    training=3, selection=2, calibration=3, spread=2, genuine=3, forged=2, calibration_genuine=3, calibration_forged=2
)


@pytest.fixture(scope="module")
def made() -> bytes:
    return make(FEW)


def test_the_same_plan_gives_the_same_file_with_any_number_of_processes(made: bytes) -> None:
    assert digest(make(FEW, processes=2)) == digest(made)


def test_the_seed_makes_another_file(made: bytes) -> None:
    assert digest(make(Plan(**{name: getattr(FEW, name) for name in FEW.__slots__} | {"seed": 5}))) != digest(made)


def test_what_the_file_says_of_itself(made: bytes) -> None:
    _, meta = load_model(made)
    data = meta.summary["data"]
    assert (data["writers"], data["genuine"], data["forged"]) == (8, 24, 16)
    assert data["generator"]["seed"] == FEW.seed
    assert re.fullmatch("sha256:[0-9a-f]{64}", data["digest"])
    assert meta.summary["images_seen"] == summary_of(b"")
    assert meta.summary["recipe"]["generated"]
    calibration = calibration_of(meta.summary)
    assert calibration is not None
    assert (calibration.generated, calibration.population, calibration.data) == (
        True,
        "skilled",
        data["calibration_digest"],
    )
    assert calibration.writers == ["5", "6", "7"], "who neither taught nor selected"


@pytest.mark.parametrize("which", ["few", "the box"])
def test_how_dark_the_ink_runs_makes_no_difference(made: bytes, which: str) -> None:
    network, _ = load_model(made if which == "few" else FILE)
    assert isinstance(network, Ink)
    rows = np.random.default_rng(1).random((2, LENGTH)).astype(np.float32)
    ends = np.array([0]), np.array([1])

    def distance() -> float:
        return float(network.comparer()(network.complete(rows), *ends)[0])

    before, told = distance(), pair_features(rows[:1], rows[1:], network.norm)
    assert before > 0
    for name in STRENGTH_BLOCKS:
        rows[1, SLICES[name]] += 1.0
    assert (pair_features(rows[:1], rows[1:], network.norm) != told).any()
    assert distance() == pytest.approx(before, rel=1e-6)
    rows[1, SLICES["half_widths"]] += 1.0
    assert distance() != pytest.approx(before, rel=1e-4)


def test_the_box_holds_what_the_plan_and_the_recipe_say() -> None:
    network, meta = load_model(FILE)
    assert meta.training["data"]["generator"]["training"] == Plan().training
    assert meta.training["recipe"] == RECIPE.model_dump(mode="json")
    assert meta.training["network"]["parameters"] == FEATURES + 1 == sum(each.numel() for each in network.parameters())


def test_it_is_measured_on_writers_it_never_saw(made: bytes) -> None:
    network, meta = load_model(made)
    other = generate(99, range(4), (10, 3), meta.preprocessing)
    found = measure(RealSet(other.rows, other.labels, ("a", "b", "c", "d")), network, meta.calibration)
    assert 0 <= found.pair_random < found.pair_skilled <= 0.6
    assert found.set_verdicts is not None
    assert all(0 <= share <= 1 for share in found.set_verdicts)
    assert found.set_skilled == found.fused_skilled


def test_test_writers_are_never_tuned_on() -> None:
    tested, others = part_writers(range(45), seed=3)
    assert not set(tested) & set(others)
    assert sorted(tested + others) == list(range(45))
    assert len(others) > max(SIZES), "or all draws would be the same"
    assert part_writers(range(45), seed=4) != (tested, others)


def test_rows_tell_mean_and_extremes() -> None:
    assert row_of([0.1, 0.2, 0.15]) == "15.0 (10.0 to 20.0)"


def test_the_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    assert write(b"abc", path) == digest(b"abc")
    assert [each.name for each in tmp_path.iterdir()] == ["one.safetensors"]
