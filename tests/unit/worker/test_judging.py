"""Answers of a calibrated model; those by distance are tested with verification."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shared.tables import ModelVersion
from tests.factories import calibration
from tests.unit.worker.test_verification import encoded_as, pending
from worker.judging import judge
from worker.ml.compare import Floats, Integers, Representations, euclidean
from worker.ml.refsets import shape_of

CALIBRATION = calibration()
MODEL = ModelVersion(
    id=7, name="m", version=1, threshold=1.0, summary={"calibration": CALIBRATION.model_dump(mode="json")}
)


@pytest.mark.parametrize(
    ("distance", "llr", "verdict", "code"),
    [
        (0.25, 0.75, "accept", None),
        (0.5, 0.5, "accept", None),
        (1.0, 0.0, "review", "between_bands"),
        (1.5, -0.5, "review", "between_bands"),
        (1.75, -0.75, "reject", None),
        (9.0, -2.0, "reject", None),
    ],
)
def test_one_reference_goes_by_the_bands(distance: float, llr: float, verdict: str, code: str | None) -> None:
    (result,) = judge([pending(1, 2)], encoded_as({1: (0, 0), 2: (0, distance)}), MODEL)
    assert (result["llr"], result["verdict"], result["code"]) == (llr, verdict, code)
    assert (result["scale"], result["accept_from"], result["reject_below"]) == ("llr", 0.5, -0.5)
    assert (result["distance"], result["threshold"]) == (distance, 1.0)
    assert bool(result["message"]) == (verdict == "review")


def test_a_set_is_scored_against_its_own_distances() -> None:
    points = {1: (0.0, 0.0), 2: (1.0, 0.0), 3: (0.0, 0.5), 4: (1.0, 0.5)}
    (result,) = judge([pending(1, 2, 3, 4)], encoded_as(points), MODEL)
    rows = np.array([points[n] for n in (2, 3, 4)])
    shape = shape_of(np.linalg.norm(rows[:, None] - rows[None], axis=2), CALIBRATION.pool)
    excess = np.linalg.norm(rows, axis=1) - shape.expected
    assert result["llr"] == pytest.approx(2 - 2 * excess.mean())
    assert (result["verdict"], result["nearest"]) == ("accept", 1)


def test_references_that_cannot_be_used_make_the_set_smaller() -> None:
    found = encoded_as({1: (0, 0), 3: (0, 1.0)}, {2: "image_blank"})
    (result,) = judge([pending(1, 2, 3)], found, MODEL)
    assert (result["llr"], result["distances"]) == (0.0, [None, 1.0])
    assert (result["verdict"], result["code"]) == ("review", "between_bands")
    assert "without reference 1" in result["message"]
    (near,) = judge([pending(1, 2, 3)], encoded_as({1: (0, 0), 3: (0, 0.25)}, {2: "image_blank"}), MODEL)
    assert (near["verdict"], near["code"]) == ("accept", "references_unusable")


def test_identical_pixels_are_reviewed_whatever_the_ratio() -> None:
    (result,) = judge([pending(1, 2)], encoded_as({1: (0, 0), 2: (0, 0)}, r2="sha256:1"), MODEL)
    assert (result["llr"], result["verdict"], result["code"]) == (1.0, "review", "identical")


def test_an_unscorable_comparison_has_no_ratio_and_no_bounds() -> None:
    (result,) = judge([pending(1, 2)], encoded_as({2: (0, 0)}, {1: "image_blank"}), MODEL)
    assert [result[name] for name in ("llr", "accept_from", "reject_below", "scale")] == [None, None, None, "llr"]


def test_many_comparisons_with_one_set_compare_its_members_once() -> None:
    points: dict[int, Any] = {n: (n / 7, (n % 3) / 5) for n in range(1, 30)}
    asked: list[int] = []

    def counting(rows: Representations, first: Integers, second: Integers) -> Floats:
        asked.append(len(first))
        return euclidean(rows, first, second)

    rows = [pending(n, 1, 2, 3, 4, ordinal=n) for n in range(5, 30)]
    together = judge(rows, encoded_as(points), MODEL, counting)
    assert asked == [25 * 4, 6]
    assert [judge([row], encoded_as(points), MODEL)[0]["llr"] for row in rows] == [one["llr"] for one in together]
