"""Login, the one-time password, a verification of two images and one of a ZIP, and what came out, in a browser."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.factories import batch_of, blank_png, png, write_files
from tests.servers import OWN_PASSWORD, Stack

pytestmark = pytest.mark.browser


def log_in(page: Page, stack: Stack) -> None:
    """Log in; the first time the one-time password must be changed before anything else can be done."""
    page.goto("/")
    expect(page).to_have_title(re.compile("Log in"))
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(stack.password)
    page.get_by_role("button", name="Log in").click()
    if stack.password == stack.first_password:
        page.goto("/verify")
        expect(page.get_by_text("one-time password")).to_be_visible()
        page.get_by_label("Present password").fill(stack.first_password)
        page.get_by_label("New password", exact=True).fill(OWN_PASSWORD)
        page.get_by_label("New password again").fill(OWN_PASSWORD)
        page.get_by_role("button", name="Set the password").click()
        expect(page.get_by_role("heading", name="API keys")).to_be_visible()
        stack.password = OWN_PASSWORD


def shown(page: Page) -> float:
    return float(page.locator("#distance").inner_text().replace(",", ""))


def drop_on(page: Page, field: str, path: Path) -> None:
    """Let a file fall on the zone of a field, beside those that were chosen."""
    page.locator(field).evaluate(
        """(input, [name, base64]) => {
          const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], name, { type: "image/png" }));
          input.closest("[data-drop]").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
        }""",
        [path.name, base64.b64encode(path.read_bytes()).decode()],
    )


def test_a_stranger_sees_nothing(page: Page) -> None:
    for path in ("/", "/verify", "/jobs", "/models"):
        page.goto(path)
        expect(page).to_have_title(re.compile("Log in"))
        assert page.get_by_role("navigation").count() == 0


def test_two_images_by_form(page: Page, stack: Stack, tmp_path: Path) -> None:
    write_files(tmp_path, {"questioned.png": png(1), "first.png": png(2), "second.png": png(3)})
    log_in(page, stack)
    page.goto("/verify")
    page.set_input_files("#questioned", tmp_path / "questioned.png")
    page.set_input_files("#reference", [tmp_path / "first.png", tmp_path / "second.png"])
    chosen = page.locator("#reference-previews li")
    drop_on(page, "#reference", tmp_path / "questioned.png")
    expect(chosen).to_have_count(3)
    page.get_by_role("button", name="Remove questioned.png").last.click()
    expect(chosen).to_have_count(2)
    page.get_by_role("button", name="Start the verification").click()
    expect(page.locator("#live")).to_have_attribute("data-state", "succeeded", timeout=60_000)
    expect(page.locator("#results tbody tr")).to_have_count(1)
    page.locator("#row-1").click()
    expect(page.get_by_role("heading", name="As the network sees it")).to_be_visible()
    (answer,) = stack.json("results", page.url.split("/jobs/")[1].split("/")[0])
    assert shown(page) == pytest.approx(answer["distance"], abs=1e-4)
    expect(page.locator("section.answer")).to_contain_text(answer["verdict"].capitalize())
    expect(page.locator("section[aria-labelledby=sent-title] figure")).to_have_count(3)
    expect(page.locator("figure.nearest").first).to_contain_text(f"Reference {answer['nearest']}")
    for address in page.locator("svg image").evaluate_all("images => images.map(image => image.href.baseVal)"):
        picture = page.request.get(address)
        assert picture.ok
        assert picture.headers["content-type"] == "image/png"


def test_a_batch_by_form(page: Page, stack: Stack, tmp_path: Path) -> None:
    rows = [
        ("fine", "a.png", "b.png"),
        ("copy", "a.png", "a.png"),
        ("empty", "blank.png", "b.png"),
        ("=gone", "a.png", "x"),
    ]
    path = tmp_path / "batch.zip"
    path.write_bytes(batch_of(*rows, images={"a.png": png(1), "b.png": png(2), "blank.png": blank_png()}))
    log_in(page, stack)
    page.goto("/verify")
    page.get_by_label("A batch").check()
    page.set_input_files("#archive", path)
    page.get_by_role("button", name="Start the verification").click()
    expect(page.locator("#live")).to_have_attribute("data-state", "succeeded", timeout=60_000)
    expect(page.locator("#results tbody tr")).to_have_count(4)
    expect(page.locator("#tile-unscorable")).to_contain_text("2")
    expect(page.locator("#tile-review")).to_contain_text("1")
    page.locator("#tile-unscorable").click()
    expect(page.locator("#results tbody tr")).to_have_count(2)
    expect(page.locator("#results tbody")).to_contain_text("No ink was found")
    with page.expect_download() as download:
        page.locator("#csv").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("id,verdict,distance,")
    assert [line.split(",")[0] for line in lines[1:]] == ["fine", "copy", "empty", "'=gone"]
    page.goto(page.url.split("?")[0])
    page.locator("#row-2").click()
    expect(page.locator("section.answer")).to_contain_text("identical")
    page.keyboard.press("j")
    expect(page.get_by_role("heading", name="Comparison empty")).to_be_visible()


def test_a_batch_that_is_refused_says_why_beside_its_field(page: Page, stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(png())
    log_in(page, stack)
    page.goto("/verify")
    page.get_by_label("A batch").check()
    page.set_input_files("#archive", tmp_path / "no.zip")
    page.get_by_role("button", name="Start the verification").click()
    expect(page.locator("#archive-error")).to_contain_text("not a ZIP archive")
    assert page.get_by_label("A batch").is_checked()
