"""A clerk reviews a batch by keyboard alone, gives a reason, looks at the inks, and takes the list away."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_verification import log_in
from tests.factories import batch_of, blank_png, png
from tests.servers import Stack

pytestmark = pytest.mark.browser
OPPOSITE = {"accept": "reject", "reject": "accept"}
COLOURED = """canvas => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  let [warm, cold] = [0, 0];
  for (let i = 0; i < data.length; i += 4) {
    if (data[i] > data[i + 2] + 60) warm += 1;
    if (data[i + 2] > data[i] + 60) cold += 1;
  }
  return [warm, cold];
}"""


def expect_comparison(page: Page, name: str) -> None:
    """The page of this comparison is there and listens to keys."""
    expect(page.get_by_role("heading", name=f"Comparison {name}")).to_be_visible()
    page.locator("html.scripted").wait_for()


@pytest.fixture
def job(page: Page, stack: Stack, tmp_path: Path) -> str:
    """A scored batch of five: two pairs, a copy (review), one without ink (unscorable), one more pair."""
    images = {"a.png": png(1), "b.png": png(2), "c.png": png(3), "blank.png": blank_png()}
    rows = [("one", "a.png", "b.png"), ("two", "b.png", "c.png"), ("copy", "a.png", "a.png|b.png")]
    path = tmp_path / "batch.zip"
    path.write_bytes(batch_of(*rows, ("none", "blank.png", "b.png"), ("last", "c.png", "a.png"), images=images))
    log_in(page, stack)
    return str(stack.json("submit", "verify", path, "--wait")["id"])


def test_a_batch_is_reviewed_by_keyboard(page: Page, stack: Stack, job: str) -> None:
    page.goto(f"/jobs/{job}")
    page.locator("#row-1").focus()
    page.keyboard.press("Enter")
    expect_comparison(page, "one")
    given = stack.json("results", job)[0]["verdict"]
    assert given in OPPOSITE
    key = OPPOSITE[given][0]
    page.keyboard.press(key)  # overrules, and so needs a reason: the key leads to its field
    expect(page.locator("#reason")).to_be_focused()
    page.keyboard.type("the loop is drawn")
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.id") != f"verdict-{OPPOSITE[given]}":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect_comparison(page, "two")
    page.keyboard.press("j")
    expect_comparison(page, "copy")
    page.keyboard.press("a")  # what the model left to a person needs no reason
    expect_comparison(page, "none")
    page.keyboard.press("k")
    expect(page.locator("#review")).to_contain_text("Decided by admin")
    page.goto(f"/jobs/{job}")
    expect(page.locator(".reviewing")).to_contain_text("2 decisions by people, 1 against the model")
    expect(page.locator("#scores[data-drawn] canvas")).to_be_visible()
    page.locator("#spread-numbers").click()
    expect(page.locator("#score-rows")).to_contain_text(" to ")
    page.locator("#decided").click()
    expect(page.locator("#results tbody tr")).to_have_count(2)
    with page.expect_download() as download:
        page.locator("#csv").click()
    rows = {row["id"]: row for row in csv.DictReader(Path(download.value.path()).read_text().splitlines())}
    overruled = rows["one"]
    assert (overruled["verdict"], overruled["decided_verdict"]) == (given, OPPOSITE[given])
    assert (overruled["reason"], overruled["reviewer"]) == ("the loop is drawn", "admin")
    assert (rows["copy"]["verdict"], rows["copy"]["decision"], rows["two"]["decision"]) == ("review", "decide", "")


def test_a_missing_reason_is_told_at_its_field(page: Page, stack: Stack, job: str) -> None:
    page.goto(f"/jobs/{job}/comparisons/4")
    page.locator("#verdict-accept").click()
    expect(page.locator("#error-summary")).to_be_focused()
    expect(page.locator("#reason-error")).to_contain_text("Say why")
    page.locator("#error-summary a").click()
    expect(page.locator("#reason")).to_be_focused()
    assert stack.json("results", job)[3]["review"] is None


def test_the_one_letter_keys_can_be_turned_off(page: Page, job: str) -> None:
    page.goto(f"/jobs/{job}/comparisons/1")
    page.locator("#keys").uncheck()
    page.reload()
    page.locator("html.scripted").wait_for()
    page.keyboard.press("j")
    page.locator("#keys").check()
    expect_comparison(page, "one")
    assert page.url.endswith("/comparisons/1")
    page.keyboard.press("j")
    expect_comparison(page, "two")
    assert page.url.endswith("/comparisons/2")


def test_two_inks_lie_over_each_other(page: Page, job: str) -> None:
    page.goto(f"/jobs/{job}/comparisons/3")
    canvas = page.locator("#overlay-canvas")
    expect(canvas).to_be_visible()
    page.locator("#overlay-reference").select_option(index=1)
    page.locator("#overlay-mix").fill("100")
    page.wait_for_function(f"({COLOURED})(document.getElementById('overlay-canvas'))[0] === 0")
    _, cold = canvas.evaluate(COLOURED)
    assert cold > 100
    page.locator("#overlay-mix").fill("0")
    warm, cold = canvas.evaluate(COLOURED)
    assert warm > 100
    assert cold == 0
    canvas.focus()
    for _ in range(4):
        page.keyboard.press("+")
    assert page.locator("#overlay-zoom").input_value() == "3"
    nearer, _ = canvas.evaluate(COLOURED)
    assert nearer > 2 * warm
    page.locator("#overlay-mix").fill("50")
    page.locator("#overlay-seen").check()
    page.wait_for_function(f"({COLOURED})(document.getElementById('overlay-canvas'))[1] > 50")
