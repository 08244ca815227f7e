"""The report as its readers get it: one file, well formed, and nothing of the data's names run as code."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from tests.unit.worker.ml.test_evaluation import scores_of
from worker.ml.evaluation import Bands, Scores
from worker.ml.metrics import Roc, roc
from worker.ml.shortcuts import STATISTICS
from worker.ml.trials import Pairs, Sets
from worker.reporting import page, plots
from worker.reporting.document import Measured, curves_of, figures, headline, method
from worker.reporting.drawings import draw
from worker.reporting.sheets import csv_pieces
from worker.reporting.spreads import shown, spread
from worker.reporting.svg import STYLE
from worker.reporting.tables import tables

NAMES = ["<script>alert(1)</script>", "=cmd()", "c", "d", "e"]
VOID = {"meta", "br", "link"}


def measured(llr: bool = False) -> Measured:
    scores = scores_of(llr=llr)
    count = len(scores.kind)
    rows = np.arange(count)
    sets = scores_of(seed=2, llr=llr)
    if sets.llr is not None:
        sets = replace(sets, fused=-sets.llr)
    return Measured(
        writers=NAMES,
        pairs=Pairs(rows, rows, scores.kind, (60, 60, 60)),
        listed=False,
        sets=Sets(rows, sets.writer, sets.kind, {}, (), (60, 60, 60)),
        references=8,
        pair_scores=scores,
        set_scores=sets,
        threshold=0.6,
        bands=(Bands(0.5, -0.5), Bands(0.4, -0.4)) if llr else None,
        statistics=np.random.default_rng(1).normal(size=(2, count, len(STATISTICS))),
        seed=1,
    )


def document(found: Measured) -> dict[str, Any]:
    parts = figures(found)
    return parts | {
        "date": "2026-01-02T03:04:05",
        "model": {"label": "m@1", "digest": "sha256:1", "threshold": 0.6},
        "data": {"name": "<set>.zip", "digest": "sha256:2", "layout": "cedar"},
        "protocol": "grey-ink",
        "references": 8,
        "seed": 1,
        "counts": parts["counts"] | {"writers": 5, "genuine": 1, "forged": 1},
        "method": method("grey-ink", found),
        "libraries": {"numpy": "2"},
    }


class Checker(HTMLParser):
    """Notes every tag that is not closed in turn, and every address."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("llr", [False, True])
def test_the_page_is_one_file_that_runs_nothing(llr: bool) -> None:
    found = measured(llr)
    report = document(found)
    text = page.render(report, draw(found, report, curves_of(found)))
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.addresses == []
    assert not checker.tags & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"@import|url\(", text)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "&lt;script&gt;" in text
    assert ("Reliability, 8 references, skilled forgeries" in text) is llr
    assert ("Verdicts that the model would give" in text) is llr
    assert ("is not calibrated" in text) is not llr


def test_the_figures_are_fit_for_json() -> None:
    for llr in (False, True):
        report = document(measured(llr))
        assert json.loads(json.dumps(report, allow_nan=False)) == report
        shown = headline(report)
        assert shown["refs8"]["skilled"]["eer"] == report["refs8"]["skilled"]["eer"]
        assert (report["cllr"] is not None) is llr
        assert report["refs8"]["score"] == ("llr" if llr else "mean distance")


def test_each_plot_is_a_drawing_of_its_own() -> None:
    found = measured(llr=True)
    report = document(found)
    drawn = draw(found, report, curves_of(found))
    assert set(drawn) == {
        "det", "scores", "reliability_skilled", "reliability_random",
        "det_sets", "scores_sets", "reliability_skilled_sets", "reliability_random_sets",
    }  # fmt: skip
    for plot in drawn.values():
        root = ET.fromstring(plot.render(STYLE))  # noqa: S314 (our own drawing)
        assert root.attrib["aria-label"] == plot.title
        texts = [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "NaN" not in " ".join(texts)


def places(markup: str) -> list[tuple[float, float]]:
    line = re.search(r'class="line a" points="([^"]+)"|class="line b" points="([^"]+)"', markup)
    assert line is not None
    return [tuple(map(float, pair.split(","))) for pair in (line[1] or line[2]).split()]  # type: ignore[misc]  # two each


def test_a_normal_models_det_curve_is_straight() -> None:
    """Scores that are normal on both sides give a straight line on the probit scale: that is what it is for."""
    level = np.linspace(-6, 8, 400)
    upper = np.array([1 - NormalDist().cdf(value) for value in level])
    lower = np.array([NormalDist(2).cdf(value) for value in level])
    curve = Roc(np.append(-np.inf, level), np.append(0.0, lower), np.append(1.0, upper))
    inside = [(x, y) for x, y in places(plots.det({1: curve}, "DET").render()) if 62 < x < 375 and 36 < y < 270]
    slopes = np.diff([y for _, y in inside]) / np.diff([x for x, _ in inside])
    assert len(inside) > 20
    assert slopes == pytest.approx(np.full(len(slopes), slopes.mean()), rel=0.1)


def test_a_long_curve_is_thinned_with_both_ends_kept() -> None:
    random = np.random.default_rng(3)
    curve = roc(random.normal(0, 1, 3000), random.normal(2, 1, 3000))
    kept = plots.thinned(curve, 100)
    assert (kept[0], kept[-1]) == (0, len(curve.far) - 1)
    assert 50 < len(kept) <= 102
    assert plots.thinned(curve, 10_000) == list(range(len(curve.far)))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.03, 0.31), (-2, 1.5), (0, 0.004), (12, 3400)])
def test_ticks_are_few_and_within(low: float, high: float) -> None:
    ticks = plots.nice_ticks(low, high)
    assert 3 <= len(ticks) <= 9
    assert low <= min(ticks) < max(ticks) <= high


def test_equal_distances_can_be_drawn() -> None:
    scores = Scores(np.array([0, 1]), np.zeros(2, np.int64), np.zeros(2, np.int64), np.ones(2))
    assert "genuine" in plots.histograms(spread(scores, scores.distance), "distance", [1.0], "Scores").render()


def test_tables_are_safe_to_open_in_a_spreadsheet() -> None:
    found = measured()
    report = document(found)
    entries = [f"{number}.png" for number in range(len(found.pairs.kind))]
    made = tables(found, entries, curves_of(found), report["by_writer"])
    read = {
        name: list(csv.reader(io.StringIO(b"".join(csv_pieces(columns, rows)).decode())))
        for name, (columns, rows) in made.items()
    }
    assert {name: len(rows) - 1 for name, rows in read.items() if name != "det.csv"} == {
        "pairs.csv": 180, "sets.csv": 180, "writers.csv": 5, "histograms.csv": 80,
    }  # fmt: skip
    assert {row[0] for row in read["writers.csv"][1:]} == {NAMES[0], "'=cmd()", "c", "d", "e"}
    assert float(read["pairs.csv"][1][5]) == pytest.approx(found.pair_scores.distance[0], rel=1e-6)
    assert {row[0] for row in read["det.csv"][1:]} == {"pair", "refs8"}


def test_the_bins_hold_every_comparison_once() -> None:
    found = measured(llr=True)
    rows = list(tables(found, [""] * 180, curves_of(found), [])["histograms.csv"][1])
    for protocol, scale, scores in (("pair", "distance", found.pair_scores), ("refs8", "llr", found.set_scores)):
        own: list[Any] = [row for row in rows if row[0] == protocol]
        assert {row[1] for row in own} == {scale}
        assert [sum(row[4 + kind] for row in own) for kind in range(3)] == np.bincount(scores.kind).tolist()
        assert [row[3] for row in own[:-1]] == [row[2] for row in own[1:]]
        values = shown(scores)[1]
        assert (own[0][2], own[-1][3]) == (values.min(), values.max())


def test_a_long_table_comes_in_pieces() -> None:
    pieces = list(csv_pieces(["a", "b"], ([number, -0.5] for number in range(4500))))
    assert len(pieces) == 3
    assert pieces[-1].decode().splitlines()[-1] == "4499,-0.5"


def warned(found: Measured) -> list[str]:
    return [words.split(":")[0].split(",")[0] for words in figures(found)["warnings"]]


def test_ratios_that_mislead_are_warned_of() -> None:
    found = measured(llr=True)
    assert found.pair_scores.llr is not None
    assert not {"The likelihood ratios mislead on these data"} & set(warned(found))
    turned = replace(found, pair_scores=replace(found.pair_scores, llr=-4 * found.pair_scores.llr))
    (words,) = (words for words in figures(turned)["warnings"] if "mislead" in words)
    assert f"One reference, skilled forgeries: {figures(turned)['pair']['skilled']['cllr']:.2f}" in words
    assert "8 references" not in words


@pytest.mark.parametrize(("threshold", "bands"), [(100.0, None), (0.6, Bands(-9.0, -9.0))])
def test_bounds_that_do_not_fit_are_warned_of(threshold: float, bands: Bands | None) -> None:
    """A threshold too high for these data passes every forgery; of a calibrated model its bands are what counts."""
    found = measured(llr=bands is not None)
    found = replace(found, threshold=figures(found)["pair"]["skilled"]["eer_threshold"])
    assert "The bounds of the model do not fit these data" not in warned(found)
    unfit = replace(found, threshold=threshold, bands=(bands, found.bands[1]) if bands and found.bands else None)
    (words,) = (words for words in figures(unfit)["warnings"] if "bounds" in words)
    assert "it would accept 100.0% of the forgeries and reject 0.0% of the genuine signatures" in words
    assert "(one reference, skilled forgeries)" in words


def test_no_error_seen_is_not_told_as_certainty() -> None:
    found = measured()
    assert not any("No error was seen" in words for words in figures(found)["warnings"])
    apart = replace(found.set_scores, distance=np.where(found.set_scores.kind == 0, 0.1, 1.0))
    (words,) = (words for words in figures(replace(found, set_scores=apart))["warnings"] if "No error" in words)
    assert "with 8 references, skilled forgeries and 8 references, random forgeries," in words
    assert "With 5 writers it cannot be excluded that up to 45% of all writers have errors." in words
