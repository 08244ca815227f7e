"""A clerk's ways through the pages: from data to a promoted model, and what is done with it.

On signatures in CEDAR's layout, see ``signatures.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.signatures import cedar_files, genuine
from tests.browser.test_verification import log_in
from tests.factories import manifest_of, write_files, zip_of
from tests.servers import Stack

pytestmark = pytest.mark.browser
HAND = cedar_files(range(1, 5), 4, 2)
OTHERS = cedar_files(range(5, 8), 4, 2)


@pytest.fixture(autouse=True)
def logged_in(page: Page, stack: Stack, request: pytest.FixtureRequest) -> None:
    """In the light, or in the colours that the test's parameter ``scheme`` names."""
    named = getattr(request.node, "callspec", None)
    scheme = named.params.get("scheme", "light") if named else "light"
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    log_in(page, stack)


def archive(folder: Path, files: dict[str, bytes], name: str) -> Path:
    path = folder / name
    path.write_bytes(zip_of(dict(files)))
    return path


def expect_success(page: Page) -> str:
    """The job's page is there and the job succeeds; its id."""
    expect(page.locator("#live")).to_have_attribute("data-state", "succeeded", timeout=60_000)
    return page.url.split("/jobs/")[1].split("?")[0]


def ink_model(stack: Stack, folder: Path) -> str:
    """The label of a model trained on the hands above; the first test that asks has it made."""
    found = [model["label"] for model in stack.json("models") if model["name"] == "hands"]
    if not found:
        path = archive(folder, HAND, "hands.zip")
        job = stack.json("submit", "train", path, "--name", "hands", "--network", "ink", "--wait")
        found = [job["model"]]
    return str(found[0])


@pytest.mark.parametrize("scheme", ["dark"])
def test_from_data_to_a_promoted_model(page: Page, stack: Stack, tmp_path: Path, scheme: str) -> None:
    page.get_by_role("link", name="Train", exact=True).click()
    page.set_input_files("#archive", archive(tmp_path, {**HAND, "readme.txt": b"x"}, "hands.zip"))
    page.get_by_label("Name", exact=True).fill("clerks")
    page.get_by_role("button", name="Look at the data first").click()
    seen = page.locator("#data")
    expect(seen).to_contain_text("All 24 images were read.")
    expect(seen).to_contain_text("CEDAR")
    expect(seen.locator(".sheet img")).to_have_count(12)
    sample = page.request.get(seen.locator(".sheet img").first.get_attribute("src") or "")
    assert sample.headers["content-type"] == "image/png"
    seen.get_by_text("What was skipped, and why").click()
    expect(seen).to_contain_text("readme.txt")
    assert page.get_by_label("Name", exact=True).input_value() == "clerks", "what was typed is kept"
    page.get_by_label("ink", exact=True).check()
    page.get_by_role("button", name="Start the training").click()
    expect_success(page)
    expect(page.locator("#samples .sheet img")).to_have_count(12)
    page.locator("#made").click()
    expect(page.get_by_role("heading", name="clerks@1")).to_be_visible()
    page.get_by_role("link", name="Models", exact=True).first.click()
    page.get_by_label("Compare", exact=True).select_option("clerks@1")
    page.get_by_label("with", exact=True).select_option("tiny@1")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="clerks@1 beside tiny@1")).to_be_visible()
    page.locator("#figures").get_by_role("link", name="clerks@1").click()
    page.get_by_label("Why (optional)").fill("our own hands")
    page.get_by_role("button", name="Make it the default").click()
    expect(page.locator("#history")).to_contain_text("our own hands")
    page.goto("/verify")
    expect(page.locator("#model option:checked")).to_contain_text("clerks@1 (default)")
    stack.run("models", "promote", "tiny")  # as the other tests expect it


def test_a_training_is_stopped_with_its_best(page: Page, tmp_path: Path) -> None:
    page.goto("/train?network=compact&epochs=1000&name=stopped")
    page.set_input_files("#archive", archive(tmp_path, HAND, "hands.zip"))
    page.get_by_role("button", name="Start the training").click()
    page.get_by_role("button", name="Stop and keep the best").click(timeout=60_000)
    expect_success(page)
    expect(page.locator(".outcome")).to_contain_text("as admin asked")
    expect(page.locator("#made")).to_have_text("stopped@1")
    page.locator("#repeat").click()
    expect(page.locator("#archive")).to_contain_text("hands.zip")
    assert page.get_by_label("Epochs", exact=True).input_value() == "1000"


def test_a_pair_and_a_batch_of_signatures(page: Page, stack: Stack, tmp_path: Path) -> None:
    model = ink_model(stack, tmp_path)
    write_files(tmp_path, OTHERS)
    images = [tmp_path / genuine(5, number) for number in range(1, 5)]
    page.goto(f"/verify?model={model}")
    page.set_input_files("#questioned", images[0])
    page.set_input_files("#reference", images[1:])
    page.get_by_role("button", name="Start the verification").click()
    pair = expect_success(page)
    assert len(stack.json("results", pair)) == 1
    page.locator("#row-1").click()
    expect(page.locator("section[aria-labelledby=sent-title] figure")).to_have_count(len(images))
    names = sorted(OTHERS)
    rows = [(str(number), name, names[0]) for number, name in enumerate(names[1:])]
    page.goto(f"/verify?way=batch&model={model}")
    page.set_input_files("#archive", archive(tmp_path, OTHERS | {"manifest.csv": manifest_of(*rows).encode()}, "b.zip"))
    expect(page.locator("#manifest-found")).to_contain_text("17 rows, and all their images are there.")
    page.get_by_role("button", name="Start the verification").click()
    batch = expect_success(page)
    assert [row["id"] for row in stack.json("results", batch)] == [number for number, _, _ in rows]
    expect(page.locator("#tile-all")).to_contain_text("17")
    expect(page.locator("#results tbody tr")).to_have_count(17)


@pytest.mark.parametrize("scheme", ["dark"])
def test_an_evaluation_of_unseen_writers(page: Page, stack: Stack, tmp_path: Path, scheme: str) -> None:
    page.goto(f"/evaluate?model={ink_model(stack, tmp_path)}")
    page.set_input_files("#archive", archive(tmp_path, OTHERS, "others.zip"))
    page.get_by_role("button", name="Start the evaluation").click()
    job = expect_success(page)
    expect(page.get_by_role("heading", name="What was found")).to_be_visible()
    report = page.request.get(page.locator("#report").get_attribute("href") or "")
    assert report.ok
    figure = stack.json("status", job)["report"]["headline"]["pair"]["skilled"]["eer"]
    expect(page.locator(".outcome table")).to_contain_text(f"{figure * 100:.1f}\u00a0%")
    drawn = page.locator("[data-measured][data-drawn]")
    for path in (page.url, f"/jobs/{job}", f"/models/{ink_model(stack, tmp_path)}"):
        if path != page.url:  # at first as it came when the job ended
            page.goto(path)
        expect(drawn.locator("[data-det] canvas")).to_have_count(1)
        expect(drawn.locator("[data-spread] canvas")).to_have_count(1)
        expect(drawn.locator(".u-legend").first).to_contain_text("random forgeries (dashed)")


def test_an_identification_by_form(page: Page, stack: Stack, tmp_path: Path) -> None:
    files = {f"categories/{writer}/1.png": OTHERS[genuine(writer, 1)] for writer in (5, 6, 7)}
    files |= {f"test/{writer}/2.png": OTHERS[genuine(writer, 2)] for writer in (5, 6, 7)}
    page.goto(f"/identify?model={ink_model(stack, tmp_path)}")
    page.set_input_files("#archive", archive(tmp_path, files, "people.zip"))
    page.get_by_role("button", name="Start the identification").click()
    expect_success(page)
    expect(page.locator("#tile-all")).to_contain_text("3")
    expect(page.locator("#results tbody tr")).to_have_count(3)
    for picture in page.locator("#results tbody img").all():
        answer = page.request.get(picture.get_attribute("src") or "")
        assert answer.headers["content-type"] == "image/png"
    expect(page.locator("#scores[data-drawn] canvas")).to_be_visible()
    expect(page.locator("#spread-bounds")).to_contain_text("the threshold")
    page.locator("#spread-numbers").click()
    expect(page.locator("#score-rows")).to_contain_text("None of these")
    page.get_by_label("Order").select_option("far")
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url("**order=far**")
    far = page.locator("#results tbody tr .figures b").all_inner_texts()
    assert far == sorted(far, reverse=True)


def test_a_search_leads_to_a_training_with_its_data(page: Page, tmp_path: Path) -> None:
    page.goto("/tune?trials=1&epochs=1&folds=2")
    page.set_input_files("#archive", archive(tmp_path, HAND, "hands.zip"))
    page.get_by_role("button", name="Start the tuning").click()
    expect_success(page)
    expect(page.locator("#trial-1")).to_be_visible()
    page.locator("#train-best").click()
    expect(page.locator("#archive")).to_contain_text("hands.zip")
    expect(page.locator("#data .sheet")).to_be_visible()
    assert page.url.split("?")[0].endswith("/train")


def press_until(page: Page, selector: str) -> None:
    """Go with Tab to the element, which is then where the keyboard is."""
    for _ in range(60):
        if page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never comes to {selector} on {page.url}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_pair_by_keyboard_alone(page: Page, tmp_path: Path, scheme: str) -> None:
    # Asked for at once, for the browser is told so while keys are on their way already: a busy one was told too late.
    page.on("filechooser", lambda _: None)
    write_files(tmp_path, OTHERS)
    images = [tmp_path / genuine(6, number) for number in range(1, 5)]
    page.locator("html.scripted").wait_for()
    press_until(page, "a[href='/verify']")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/verify$"))
    for field, chosen in (("questioned", images[:1]), ("reference", images[1:])):
        press_until(page, f"#{field}")
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Space")
        chooser.value.set_files([str(path) for path in chosen])
        expect(page.locator(f"#{field}-previews li")).to_have_count(len(chosen))
    press_until(page, "#submit")
    page.keyboard.press("Enter")
    expect_success(page)
    press_until(page, "#row-1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="As the network sees it")).to_be_visible()
    page.locator("html.scripted").wait_for()
    rejected = "reject" in (page.locator("section.answer .tag").get_attribute("class") or "")
    page.keyboard.press("r" if rejected else "a")
    expect(page.locator("#review")).to_contain_text("Agreed by admin")


def test_days_are_those_of_the_readers_zone(chromium: Browser, stack: Stack) -> None:
    for zone in ("Pacific/Auckland", "Pacific/Honolulu"):
        with chromium.new_context(base_url=stack.url, timezone_id=zone) as context:
            page = context.new_page()
            log_in(page, stack)
            page.goto("/jobs")
            (cookie,) = [each for each in context.cookies() if each.get("name") == "zone"]
            assert cookie.get("value") == zone
            page.goto("/jobs?words=none")
            expect(page.locator("label[for=since]")).to_have_text("From")
