"""The model of capacity: what a night needs, from the figures of the table of speed."""

from __future__ import annotations

from typing import Any

import click
import pytest

from benchmarks.capacity import BEGIN, END, PAGE, Rates, figures, fill_in, need, processes


def document(**without: bool) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {
        "no-reuse-compact": {"ours": 50.0},
        "no-reuse-ink": {"ours": 10.8},
        "known-ink": {"ours": 3000.0},
        "known": {"ours": 10_000.0, "other": 300_000.0},
        "workers": {"ours": 360.0, "other": 200.0, "ratio": {"median": 1.8}},
        "processes-4": {"ours": 600.0},
    }
    kept = [{"name": name} | row for name, row in rows.items() if not without.get(name)]
    return {"machine": {"cores": 2, "gpu": None}, "quick": False, "rows": kept}


def test_a_night_takes_encoding_and_rows_one_after_the_other() -> None:
    wanted = need(Rates.of(document())[1], 1_000_000)
    assert (wanted.encoding, wanted.rows) == pytest.approx((10_000 / 3600, 100 / 3600))
    assert (wanted.workers, wanted.database) == (1, "SQLite")
    assert wanted.storage == pytest.approx(13.3, abs=0.01)


def test_the_default_network_takes_longer_and_leaves_more() -> None:
    wanted = need(Rates.of(document())[0], 1_000_000)
    assert (wanted.network, wanted.workers, wanted.database) == ("ink", 3, "PostgreSQL")  # 46,630 s in 20,160 s of each
    assert (wanted.encoding, wanted.rows) == pytest.approx((1e6 / 21.6 / 3600, 1e6 / 3000 / 3600))
    assert wanted.storage == pytest.approx(12.6 + 0.19 + 34.672)  # images and rows, keys, 8,668 numbers of 4 bytes


def test_a_larger_night_takes_more_workers_and_another_database() -> None:
    wanted = need(Rates.of(document())[1], 10_000_000)
    assert (wanted.workers, wanted.database) == (6, "PostgreSQL")  # 101,000 s in 20,160 s of each


def test_two_processes_are_what_the_share_was_found_from() -> None:
    assert processes(200, 1, 0.9) == pytest.approx(200)
    assert processes(200, 2, 2 - 2 / 1.8) == pytest.approx(360)


def test_the_page_keeps_what_is_outside_the_marks() -> None:
    text = figures(document())
    page = fill_in(f"head\n{BEGIN}\nold\n{END}\ntail\n", text)
    assert page == f"head\n{BEGIN}\n{text}\n{END}\ntail\n"
    assert "| 4 | 600 | 600 (+0%) |" in page
    assert BEGIN in PAGE.read_text()


def test_a_missing_row_is_named() -> None:
    with pytest.raises(click.ClickException, match="workers"):
        figures(document(workers=True))
