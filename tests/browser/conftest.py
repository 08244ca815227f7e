"""Debian's chromium, driven by Playwright."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.servers import Stack

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")  # the event loop of Playwright is in the way of tests elsewhere while it is open
def chromium() -> Iterator[Browser]:
    """The browser; where there is none the tests are skipped, unless one is required."""
    if not CHROMIUM.exists():
        if os.environ.get("COUNTERSIGN_REQUIRE_BROWSER"):
            pytest.fail(f"a browser is required here and there is none at {CHROMIUM}")
        pytest.skip(f"there is no browser at {CHROMIUM} (Debian's package chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, stack: Stack) -> Iterator[Page]:
    """A page of a browser that nobody has logged in with; what its console complains of fails the test."""
    context = chromium.new_context(base_url=stack.url)
    page = context.new_page()
    page.set_default_timeout(30_000)
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # Chromium tells of each answer that is an error; one that refuses a form is meant.
        if message.type in ("error", "warning") and "status of 422" not in message.text:
            complaints.append(f"{page.url}: {message.text} {message.location}")

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    yield page
    context.close()
    assert complaints == []
