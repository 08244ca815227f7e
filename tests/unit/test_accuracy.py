"""The folds of the accuracy benchmark, and the benchmark itself from folders to the page, on a handful of writers."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.folds import CALIBRATION, FOLDS, SELECTION, Parts, WritersLeak, cross_set, folds_of
from benchmarks.accuracy.page import machine, render
from benchmarks.accuracy.results import Row, rows_of, summary_of
from benchmarks.accuracy.runs import Outcome, Run, carry_out, key_of
from benchmarks.accuracy.sets import PreparedSet, Source, prepared
from shared.errors import TrainingFailed
from shared.specs import TrainSpec
from tests.factories import training_files, write_files
from worker.ml.evaluation import Scores

CEDAR = [str(number) for number in range(1, 46)]
ICDAR = [f"{number:03}" for number in range(2, 70, 2)]
RECIPE = TrainSpec(network="compact", epochs=1, augmentation="none")


@pytest.fixture(scope="module")
def folds() -> tuple[Parts, ...]:
    return folds_of("cedar", CEDAR)


def test_the_parts_of_a_fold_are_disjoint_and_hold_everybody(folds: tuple[Parts, ...]) -> None:
    everybody = sorted(f"cedar/{name}" for name in CEDAR)
    assert len(folds) == FOLDS
    for fold in folds:
        for one, other in combinations(fold.by_name.values(), 2):
            assert not set(one) & set(other)
        assert sorted(sum(fold.by_name.values(), ())) == everybody
        assert (len(fold.selection), len(fold.calibration)) == (SELECTION, CALIBRATION)


def test_every_writer_is_tested_in_one_fold(folds: tuple[Parts, ...]) -> None:
    tested = sum((fold.test for fold in folds), ())
    assert len(tested) == len(set(tested)) == len(CEDAR)


def test_folds_repeat_in_whatever_order_writers_come_and_are_as_the_seed_says(folds: tuple[Parts, ...]) -> None:
    assert folds_of("cedar", CEDAR[::-1]) == folds
    order = np.random.default_rng(20261123).permutation(45)
    wanted = {f"cedar/{place + 1}" for place in order[1::5]}  # sorted by number: 2 before 10
    assert set(folds[1].test) == wanted


def test_from_one_set_to_the_other_all_writers_of_the_other_are_tested() -> None:
    parts = cross_set("icdar", ICDAR, "cedar", CEDAR)
    assert sorted(parts.test) == sorted(f"cedar/{name}" for name in CEDAR)
    assert len(parts.training) == len(ICDAR) - SELECTION - CALIBRATION
    assert all(name.startswith("icdar/") for name in parts.training + parts.selection + parts.calibration)


@pytest.mark.parametrize("part", ["training", "selection", "calibration"])
def test_a_writer_in_two_parts_is_refused(folds: tuple[Parts, ...], part: str) -> None:
    leaking = folds[0].by_name | {part: (*folds[0].by_name[part], folds[0].test[0])}
    with pytest.raises(WritersLeak, match=folds[0].test[0]):
        Parts(**leaking)


def test_too_few_writers_are_refused() -> None:
    with pytest.raises(ValueError, match="cedar has too few writers"):
        folds_of("cedar", CEDAR[:8])


def test_it_asks_for_the_folders() -> None:
    missing = CliRunner().invoke(main, [], env={"COUNTERSIGN_CEDAR": None, "COUNTERSIGN_ICDAR": None})
    assert missing.exit_code == 2
    assert "make accuracy CEDAR=DIR ICDAR=DIR" in missing.output


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    """7 writers of 9 genuine signatures and 2 forgeries."""
    folder = tmp_path_factory.mktemp("accuracy")
    files = training_files(writers=7, genuine=9, forged=2)
    source = Source.pack("cedar", write_files(folder / "images", files), folder)
    return prepared(source, "binary-ink", RECIPE.preprocessing, folder, "code", lambda _words: None)


def parts_of(packed: PreparedSet) -> Parts:
    names = sorted(set(packed.writers))
    return Parts(training=tuple(names[:1]), selection=(names[1],), calibration=tuple(names[2:5]), test=tuple(names[5:]))


def told_by(run: Run, packed: PreparedSet, folder: Path) -> tuple[Outcome, str]:
    said: list[str] = []
    outcome = carry_out(run, {"cedar": packed}, RECIPE, folder, "code", said.append)
    return outcome, said[-1]


def test_a_run_is_done_once_and_its_figures_make_a_page(packed: PreparedSet, tmp_path: Path) -> None:
    run = Run("cedar-fold-1", "binary-ink", parts_of(packed))
    first, said = told_by(run, packed, tmp_path)
    assert "done already" not in said
    again, said = told_by(run, packed, tmp_path)
    assert "done already" in said
    assert (again.figures, again.about) == (first.figures, first.about)
    for one, other in zip(again.scores["cedar"], first.scores["cedar"], strict=True):
        assert np.array_equal(np.asarray(one.llr), np.asarray(other.llr))
    assert first.about["writers"]["test"] == list(run.parts.test)
    assert key_of(run, {"cedar": packed}, RECIPE, "code") != key_of(run, {"cedar": packed}, RECIPE, "other code")
    page = render(document_of([first]))
    assert "| CEDAR | binary-ink | < 8.0" in page
    assert "stroke width" in page


def document_of(outcomes: list[Outcome]) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for row in rows_of(outcomes):
        results.setdefault(row.name, {})[row.protocol] = summary_of(row)
    return {
        "date": "2026-01-01",
        "code": "code",
        "machine": machine(),
        "recipe": RECIPE.model_dump(mode="json"),
        "data": {"cedar": {"writers": 7, "genuine": 63, "forged": 14}},
        "results": results,
        "runs": [one.about | {"figures": one.figures} for one in outcomes],
    }


def test_an_image_under_two_names_is_refused(packed: PreparedSet, tmp_path: Path) -> None:
    parts = parts_of(packed)
    digests = list(packed.digests)
    digests[packed.rows_of(parts.test)[0]] = digests[packed.rows_of(parts.training)[0]]
    fields = {name: getattr(packed, name) for name in PreparedSet.__slots__}
    with pytest.raises(TrainingFailed) as caught:
        told_by(Run("cedar-fold-1", "binary-ink", parts), PreparedSet(**fields | {"digests": digests}), tmp_path)
    assert caught.value.code == "leak"


def figures_of(eer: float) -> dict[str, Any]:
    kind = {"eer": eer, "eer_low": 0.0, "eer_high": 1.0, "genuine": 2, "forged": 2}
    both = {"skilled": kind, "random": kind}
    told = {"cllr": 0.5, "cllr_min": 0.25, "floor_model_auc": 0.9, "floor": {"aspect": {"auc": eer, "raw_auc": 0.5}}}
    curve = [{"references": 1, "writers": 1, "skilled": eer, "random": None}]
    return {"pair": both, "refs8": both, "curve": curve} | told


def scores_of(shift: float) -> Scores:
    """One writer whose genuine and forged comparisons lie a ratio of 2 apart, around ``shift``."""
    kind, writer = np.array([0, 0, 1, 1, 2, 2]), np.zeros(6, np.int64)
    llr = np.where(kind == 0, 1.0, -1.0) + shift
    return Scores(kind, writer, writer, -llr, llr)


def test_folds_are_averaged_with_their_interval_and_pooled_under_one_threshold() -> None:
    apart = [(scores_of(shift), scores_of(shift)) for shift in (0.0, 2.0)]
    found = summary_of(Row("cedar", "grey-ink", [figures_of(0.1), figures_of(0.3)], apart))
    skilled = found["pair"]["skilled"]
    assert skilled["eer"] == pytest.approx(0.2)
    assert (skilled["eer_low"], skilled["eer_high"]) == (0.0, 1.0), "two folds that differ say very little"
    assert skilled["pooled"]["eer"] == pytest.approx(0.25), "one fold's genuine lie on the other's forged"
    assert found["floor"]["aspect"] == {"auc": pytest.approx(0.2), "raw_auc": 0.5}
    assert found["curve"] == [{"references": 1, "writers": 2, "skilled": pytest.approx(0.2), "random": None}]
