"""The manifest of a batch is checked in the browser, before anything is sent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_verification import log_in
from tests.factories import batch_of, manifest_of, pdf_pages, png, tiff_pages, write_files, zip_of
from tests.servers import Stack

pytestmark = pytest.mark.browser
IMAGES = {"a.png": png(1), "b.png": png(2)}
HEADING = ("id", "questioned", "reference")
QUOTED = 'id;questioned;reference\r\n"one";"a.png";b.png\r\n"t""w;o\n";a.png;"b.png|a.png"\r\n'


def told_of(page: Page, folder: Path, content: bytes) -> str:
    """What the form says of an archive with this content."""
    path = folder / f"{hashlib.sha256(content).hexdigest()[:8]}.zip"  # choosing the same name again is no change
    path.write_bytes(content)
    page.set_input_files("#archive", path)
    place = page.locator("#manifest-found")
    expect(place).not_to_contain_text("Reading")
    return place.inner_text()


def test_the_manifest_is_read_before_it_is_sent(page: Page, stack: Stack, tmp_path: Path) -> None:
    log_in(page, stack)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.goto("/verify?way=batch")
    good = batch_of(("one", "a.png", "b.png"), ("two", "b.png", "a.png|b.png"), images=IMAGES)
    assert told_of(page, tmp_path, good) == "manifest.csv: 2 rows, and all their images are there."
    first = page.locator("#manifest-first li")
    expect(first).to_have_count(2)
    expect(first.first).to_contain_text("one")
    expect(first.first.locator("img")).to_have_count(2)
    bad = batch_of(("one", "a.png", "b.png"), ("", "a.png", "b.png"), ("three", "a.png", "gone.png"), images=IMAGES)
    lines = told_of(page, tmp_path, bad).splitlines()
    assert lines[0].startswith("manifest.csv: 2 of 3 rows cannot be used.")
    assert [line for line in lines if line.startswith("Line")] == [
        "Line 3: the id is empty.",
        "Line 4: the archive holds no gone.png.",
    ]
    many = manifest_of(*((f"row-{n}", "a.png", "gone.png") for n in range(2000)))
    text = told_of(page, tmp_path, zip_of({"manifest.csv": many, **IMAGES}))
    assert "2,000 of 2,000 rows" in text
    assert text.count("Line ") == 10
    assert "These are the first 10." in text
    outer: dict[str, bytes | str] = {f"outer/{name}": content for name, content in IMAGES.items()}
    outer["outer/Manifest.CSV"] = QUOTED
    assert told_of(page, tmp_path, zip_of(outer)) == "manifest.csv: 2 rows, and all their images are there."
    no_column = batch_of(("1", "a.png", "b.png"), images=IMAGES, heading=("id", "questioned", "ref"))
    assert told_of(page, tmp_path, no_column) == "Line 1: manifest.csv has no column reference."
    assert "no manifest.csv" in told_of(page, tmp_path, zip_of({"a.png": png(1)}))
    assert "not a ZIP archive" in told_of(page, tmp_path, png(1))
    assert sent == []


def test_the_model_is_explained_where_it_is_chosen(page: Page, stack: Stack) -> None:
    log_in(page, stack)
    page.goto("/verify")
    first = page.locator("#model-words").inner_text()
    assert "would be accepted" in first
    page.locator("#model").select_option(index=0)
    chosen = page.locator("#model option:checked").get_attribute("data-words")
    expect(page.locator("#model-words")).to_have_text(chosen or "")
    caution = page.locator("#model-caution")
    for label, warned in (("boxed@1", True), ("tiny@1", False)):
        page.locator("#model").select_option(label)
        expect(caution).to_be_visible(visible=warned)


def test_what_no_browser_draws_is_said_to_have_no_preview(page: Page, stack: Stack, tmp_path: Path) -> None:
    files = write_files(tmp_path, {"q.tif": tiff_pages(1), "r.pdf": pdf_pages(2), "s.png": png(3)})
    log_in(page, stack)
    page.goto("/verify")
    page.set_input_files("#questioned", files / "q.tif")
    page.set_input_files("#reference", [files / "r.pdf", files / "s.png"])
    expect(page.locator("#questioned-previews .unshown")).to_have_text("No preview of TIF")
    expect(page.locator("#reference-previews .unshown")).to_have_text("No preview of PDF")
    expect(page.locator("#reference-previews img")).to_have_count(1)
    assert page.locator("#questioned-previews img").count() == 0
    page.get_by_label("A batch").check()
    content = batch_of(
        ("one", "q.tif", "s.png"), images={name: (files / name).read_bytes() for name in ("q.tif", "s.png")}
    )
    told_of(page, tmp_path, content)
    expect(page.locator("#manifest-first .unshown")).to_have_text("No preview of TIF")
    expect(page.locator("#manifest-first img")).to_have_count(1)
