from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from tests.unit.web.pages.test_identify import ANSWERS, FIGURES, REPORT, SHARE
from web.cli.common import filled
from web.cli.identified import show_identification


def shown(report: dict[str, Any]) -> str:
    out = io.StringIO()
    show_identification(report, Console(file=out, width=120, highlight=False))
    return out.getvalue()


def test_nothing_is_shown_before_anything_is_known() -> None:
    assert shown({}) == ""


def test_what_was_found_is_shown_while_it_runs() -> None:
    text = shown(REPORT)
    assert "5-way 1 to 2-shot, 6 test images, threshold 0.8" in text
    assert "of images of no category it would name about 75% (30% to 95%); with the threshold 0.4321 5%," in text
    assert "judged by how near the categories are to each other" in text, "how it is known, and what it cannot know"
    assert "no usable image in the categories: <zoe>" in text
    assert "<b>.txt: not an image [not_an_image]" in text
    assert "of these" not in text
    assert "of no category" not in shown(REPORT | {"strangers": None}), "there is one category"
    known = FIGURES | {"false_accepts": SHARE}
    assert "would name" not in shown(REPORT | {"figures": known, "answers": ANSWERS, "identical": 0})


def test_the_figures_come_with_intervals_and_counts() -> None:
    text = shown(REPORT | {"figures": FIGURES, "answers": ANSWERS, "identical": 2})
    assert "named 4, none of these 1, not readable 1" in text
    assert "2 test images are pixel for pixel" in text
    (line,) = (line for line in text.splitlines() if "answered rightly" in line)
    assert [part in line for part in ("75.0%", "30.1% to 95.4%", "3 of 4")] == [True] * 3
    assert "named, of those of no category" not in text, "there was no such image: no row of it"
    assert "anna taken for <bert>: 7" in text


def test_a_zero_is_an_option_that_was_given() -> None:
    assert filled({"threshold": 0.0, "seed": 0, "label": None, "flag": False, "on": True}) == {
        "threshold": "0.0",
        "seed": "0",
        "on": "True",
    }
