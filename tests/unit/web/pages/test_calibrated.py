"""What people see of a calibrated model: ratios in words, bands, where the calibration came from, the card."""

from __future__ import annotations

from typing import Any

import pytest

from shared.db import Database
from shared.tables import ModelVersion
from tests.factories import calibration, unbacked_model
from tests.unit.web.pages.conftest import Browser, add_job, add_results
from web.pages.words import likelihood, odds

WARNING = "calibrated on generated signatures, not on people&#39;s"


def summary_of(**options: Any) -> dict[str, Any]:
    return {"calibration": calibration(**options).model_dump(mode="json"), "validation": {"eer": 0.1}}


def judged(database: Database, verdict: str, llr: float, **options: Any) -> tuple[str, ModelVersion]:
    """The path of a job with one comparison, and the model that judged it."""
    model = unbacked_model(database, summary=summary_of(**options))
    job = add_job(database, total=1, done=1, model_id=model.id)
    bounds = {"accept_from": 0.5, "reject_below": -0.5, "scale": "llr"}
    message = "Somebody should look at both." if verdict == "review" else None
    add_results(database, job, [verdict], llr=llr, model_id=model.id, message=message, **bounds)
    return f"/jobs/{job.public_id}", model


@pytest.mark.parametrize(
    ("llr", "words"), [(0.0, "1"), (0.1, "1.3"), (-0.1, "1.3"), (1.0, "10"), (2.6, "400"), (4.26, "20,000")]
)
def test_odds_have_as_many_figures_as_they_are_good_for(llr: float, words: str) -> None:
    assert odds(llr) == words


def test_a_ratio_in_words_names_both_sides() -> None:
    assert (
        likelihood(2.6, "skilled")
        == "About 400 times more likely if the same hand wrote both than if a skilled forger did."
    )
    assert "20 times more likely if another writer wrote the questioned one" in likelihood(-1.3, "random")
    assert "as likely if the same hand wrote both as if a skilled forger did" in likelihood(0.01, "skilled")


@pytest.mark.parametrize(
    ("verdict", "llr", "words"),
    [
        ("accept", 1.75, "About 60 times more likely if the same hand wrote both"),
        ("review", 0.25, "About 1.8 times more likely if the same hand wrote both"),
        ("reject", -2.0, "About 100 times more likely if a skilled forger wrote the questioned one"),
    ],
)
def test_a_comparison_tells_its_ratio_with_bounds(
    browser: Browser, sqlite_database: Database, verdict: str, llr: float, words: str
) -> None:
    path, _ = judged(sqlite_database, verdict, llr)
    text = browser.text(f"{path}/comparisons/1")
    assert words in text.replace("&#39;", "'")
    assert f'id="llr">{llr:+.2f}'.replace("-", "\u2212") in text
    assert "gauge bands" in text
    assert '<b class="figures" id="distance">0.2500</b>' in text
    assert "Threshold" not in text
    assert WARNING not in text.replace("&#39;", "'")


def test_the_table_of_results_shows_ratios_and_says_where_they_come_from(
    browser: Browser, sqlite_database: Database
) -> None:
    path, _ = judged(sqlite_database, "review", 0.25, generated=True)
    for page in (path, f"{path}/comparisons/1"):
        assert WARNING in browser.text(page)
    text = browser.text(path)
    assert "Likelihood ratio (log10) and bounds" in text
    assert "<b>+0.25</b>" in text
    assert "\u22120.50 to +0.50" in text


def test_the_form_says_what_the_model_was_calibrated_on(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database, "boxed", summary=summary_of(generated=True))
    unbacked_model(sqlite_database, "own", summary=summary_of())
    text = browser.text("/verify")
    assert WARNING in text
    assert "boxed@1 (default): EER 10.0\u00a0%, calibrated on generated signatures" in text
    assert "own@1: EER 10.0\u00a0%, calibrated<" in text
    assert 'id="model-caution" role="status" hidden>' in browser.text("/verify?model=own@1")
    assert "With one reference, about 1 in 100 skilled forgeries would be accepted" in text


def test_the_page_of_a_model_shows_its_calibration(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database, summary=summary_of(generated=True))
    text = browser.text("/models/paper@1")
    assert WARNING in text
    assert "30 generated signatures of 3 writers" in text
    assert '<th scope="row">2 and more</th><td>5.0\u00a0%</td><td>0.200</td><td>+0.50</td><td>1.0\u00a0%</td>' in text
    assert "<td>10.0\u00a0%</td><td>12.5\u00a0%</td><td>60</td>" in text
    unbacked_model(sqlite_database, "plain")
    assert "This model is not calibrated" in browser.text("/models/plain@1")


def test_the_card_is_a_file_of_markdown(browser: Browser, sqlite_database: Database) -> None:
    data = {
        "digest": "sha256:ef",
        "training_writers": ["a*b", "c\n# d"],
        "calibration_writers": ["ann", "ben", "cid"],
    }
    details = {
        "data": data,
        "recipe": {"kind": "train", "seed": 7, "loss": "contrastive", "make_default": True},
        "library": {"torch": "2.1"},
        "calibration_note": "About this.",
    }
    model = unbacked_model(sqlite_database, summary=summary_of(generated=True) | details)
    report = {"headline": {"pair": {"skilled": {"eer": 0.125}, "random": {"eer": None}}, "protocol": "grey-ink"}}
    add_job(sqlite_database, kind="evaluate", model_id=model.id, label="on our own", report=report)
    add_job(sqlite_database, kind="evaluate", model_id=model.id, label="broken", state="failed")
    response = browser.get("/models/paper@1/card")
    assert response.mimetype == "text/markdown"
    assert "paper@1.md" in response.headers["Content-Disposition"]
    lines = response.text.splitlines()
    assert lines[0] == "# Model card: paper@1"
    assert "- Training writers (2): a\\*b, c \\# d" in lines
    assert "- Seed: 7" in lines
    assert "| 2 | 5.00% | 0.200 | +0.50 | 1.00% | -0.50 | 0.50% | -2.00 to +1.75 |" in lines
    assert next(line for line in lines if "on our own" in line).endswith("grey-ink: pair skilled EER 12.50%")
    assert "broken" not in response.text
    assert "calibrated on generated signatures" in response.text
    assert "About this." in lines
    assert not any("Make default" in line for line in lines)


def test_a_model_of_another_origin_has_a_card_all_the_same(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database)
    text = browser.get("/models/paper@1/card").text
    assert "None: verdicts go by the distance." in text
    assert "It is not calibrated" in text
    assert "## Data" not in text
