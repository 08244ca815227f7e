from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.ml.shortcuts import STATISTICS, left_by, shortcut_statistics, shortcut_table

Image = NDArray[np.uint8]


def page(ink: int = 40, paper: int = 230, thickness: int = 4, length: int = 120) -> Image:
    image = np.full((60, 200), paper, dtype=np.uint8)
    image[20 : 20 + thickness, 30 : 30 + length] = ink
    return image


def test_the_statistics_of_a_plain_bar() -> None:
    measured = shortcut_statistics(page())
    assert tuple(measured) == STATISTICS
    assert measured["background_median"] == 230
    assert measured["darkest_pixel"] == 40
    assert measured["mean_ink"] == 40
    assert 40 <= measured["otsu_threshold"] < 230
    assert measured["ink_fraction"] == 1.0
    assert measured["aspect"] == 30.0


@pytest.mark.parametrize("thickness", [2, 3, 4, 6, 9])
def test_the_stroke_width_is_the_thickness_of_a_long_bar(thickness: int) -> None:
    measured = shortcut_statistics(page(thickness=thickness, length=160))
    assert measured["stroke_width"] == pytest.approx(thickness, abs=0.45)


def test_the_ink_fraction_is_of_the_bounding_box() -> None:
    image = page(thickness=1, length=100)
    image[39, 30:130] = 40
    assert shortcut_statistics(image)["ink_fraction"] == pytest.approx(2 / 20)


def test_a_page_of_one_level_has_no_ink() -> None:
    measured = shortcut_statistics(np.full((10, 10), 200, dtype=np.uint8))
    assert measured["background_median"] == measured["mean_ink"] == 200
    assert measured["stroke_width"] == measured["ink_fraction"] == measured["aspect"] == 0.0


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint16), np.zeros((0, 4), np.uint8)],
    ids=["colour", "16-bit", "empty"],
)
def test_other_images_are_refused(image: Image) -> None:
    with pytest.raises(ValueError, match="8-bit grey"):
        shortcut_statistics(image)


def test_paper_that_differs_for_forgeries_is_found() -> None:
    samples = [
        (writer, forged, page(paper=(245 if forged else 228) + index, length=100 + 10 * index))
        for writer in range(3)
        for forged in (False, True)
        for index in range(4)
    ]
    table = shortcut_table(samples)
    assert table["background_median"] == 1.0
    assert table["darkest_pixel"] == 0.5  # the same everywhere: all pairs tie
    assert table["aspect"] < 0.5  # a forgery has a genuine twin of its length, two genuine ones differ


def test_the_table_agrees_with_counting_pair_by_pair() -> None:
    rng = np.random.default_rng(3)
    samples = [
        (writer, forged, page(ink=int(rng.integers(20, 120)) - 15 * forged, paper=int(rng.integers(200, 250))))
        for writer in "ab"
        for forged in (False, True)
        for _ in range(5)
    ]
    near: list[float] = []
    far: list[float] = []
    for writer in "ab":
        genuine, forged = (
            [
                shortcut_statistics(image)["mean_ink"]
                for name, kind, image in samples
                if (name, kind) == (writer, wanted)
            ]
            for wanted in (False, True)
        )
        near += [abs(one - two) for one, two in combinations(genuine, 2)]
        far += [abs(one - two) for one in genuine for two in forged]
    wins = sum((high > low) + 0.5 * (high == low) for high in far for low in near)
    assert shortcut_table(samples)["mean_ink"] == pytest.approx(wins / (len(near) * len(far)))


def test_a_table_needs_both_kinds_of_pair() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        shortcut_table([("a", False, page()), ("a", False, page())])
    with pytest.raises(ValueError, match="both kinds"):
        shortcut_table([("a", False, page()), ("a", True, page())])


def test_a_protocol_leaves_the_ink_and_no_paper() -> None:
    image = page(ink=40, paper=230)
    image[0, 0] = 200  # a shade in the paper
    grey, binary = left_by(image, "grey-ink"), left_by(image, "binary-ink")
    assert set(np.unique(grey)) == {40, 255}
    assert set(np.unique(binary)) == {0, 255}
    assert np.array_equal(grey < 255, image == 40)
    assert np.array_equal(binary < 255, image == 40)
