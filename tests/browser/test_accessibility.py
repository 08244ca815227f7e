"""axe-core finds nothing to complain of, on any page, light and wide, dark and narrow; and nothing sticks out."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from shared.jobs import queries
from tests.browser.test_verification import log_in
from tests.factories import batch_of, blank_png, png, training_files, zip_of
from tests.servers import Stack

pytestmark = pytest.mark.browser
AXE = Path(__file__).parent / "axe" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FAULTS = """async rules => {
  const found = await axe.run(document, { runOnly: rules, resultTypes: ["violations"] });
  const told = found.violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target} ${node.html}`));
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  return wide > 0 ? [...told, `${wide} pixels too wide`] : told;
}"""


def faults(page: Page) -> list[str]:
    """What is wrong with the page as it is shown now."""
    page.evaluate(AXE.read_text())  # over the debugger's channel: the page's own policy allows no such script
    return list(page.evaluate(FAULTS, RULES))


def jobs_of_each_kind(stack: Stack, folder: Path) -> dict[str, str]:
    """A verification with every kind of row, a job that failed, and one of each other kind; their public ids."""
    images = {"a.png": png(1), "b.png": png(2), "blank.png": blank_png()}
    rows = [("one", "a.png", "b.png"), ("copy", "a.png", "a.png|b.png"), ("none", "blank.png", "b.png")]
    (folder / "batch.zip").write_bytes(batch_of(*rows, images=images))
    (folder / "few.zip").write_bytes(zip_of(dict(training_files(writers=4))))
    (folder / "bad.zip").write_bytes(zip_of({"one/1.png": png(1)}))
    scored = stack.json("submit", "verify", folder / "batch.zip", "--wait")["id"]
    trained = stack.json("submit", "train", folder / "few.zip", "--name", "seen", "--network", "ink", "--wait")["id"]
    failed = stack.json("submit", "train", folder / "bad.zip", "--network", "ink", "--wait", status=1)["id"]
    jobs = {"scored": scored, "trained": trained, "failed": failed} | others_of_each_kind(stack, folder)
    assert {stack.ended(jobs[kind])["state"] for kind in ("evaluated", "beside", "identified", "tuned")} == {
        "succeeded"
    }
    return jobs


def others_of_each_kind(stack: Stack, folder: Path) -> dict[str, str]:
    """An evaluation of the model trained before, an identification and a search, all under way."""
    people = {f"categories/{name}/1.png": png(seed) for seed, name in enumerate(("ann", "ben"))}
    people |= {"test/ann/2.png": png(5), "test/nobody/1.png": png(6), "test/broken.png": b"no image"}
    (folder / "new.zip").write_bytes(zip_of(dict(training_files(writers=3, seed=8))))
    (folder / "people.zip").write_bytes(zip_of(dict(people)))
    kinds = {
        "evaluated": ("evaluate", folder / "new.zip", "--model", "seen"),
        "beside": ("evaluate", folder / "new.zip", "--model", "boxed"),
        "identified": ("identify", folder / "people.zip", "--model", "tiny"),
        "tuned": ("tune", folder / "few.zip", "--trials", "1", "--epochs", "1", "--folds", "2"),
    }
    return {name: stack.json("submit", *options)["id"] for name, options in kinds.items()}


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_pages_have_no_fault(page: Page, stack: Stack, scheme: str, width: int, request: pytest.FixtureRequest) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto("/login")
    found = {"/login": faults(page)}
    log_in(page, stack)
    made = request.getfixturevalue("shown_jobs")
    scored = made["scored"]
    forms = ["/verify", f"/verify?again={scored}", "/verify?way=batch", "/identify", "/train", "/tune", "/evaluate"]
    forms += [f"/train?again={made['trained']}", f"/identify?again={made['identified']}"]
    jobs = [f"/jobs/{scored}?order=unlike", *(f"/jobs/{job}" for job in made.values())]
    compared = [f"/jobs/{scored}/comparisons/{ordinal}" for ordinal in (1, 2, 3)]
    others = [
        "/models",
        "/models/seen",
        "/models/seen/delete",
        "/models/compare?model=seen&model=boxed",
        "/models/upload",
        "/models?archived=yes",
        f"/verify?again={scored}",
        "/account",
        "/account/webhooks",
        webhook_page(stack),
        "/jobs?state=cancelled",
        f"/datasets/{data_of(stack, made['trained'])}",
    ]
    for path in ["/jobs", *forms, *jobs, *compared, *others]:
        page.goto(path)
        expect(page.locator("main")).to_be_visible()
        expect(page.locator("[hx-get*=datasets]")).to_have_count(0)  # the worker has looked into the data
        found[path] = faults(page)
    assert {path: told for path, told in found.items() if told} == {}


def data_of(stack: Stack, job: str) -> str:
    """The digest of a job's archive."""
    with closing(stack.database()) as database, database.read() as session:
        upload = queries.get_job(session, job).upload
    assert upload is not None
    return upload.digest


def webhook_page(stack: Stack) -> str:
    """The page of a webhook with an entry in its log."""
    with stack.client() as client:
        webhook = (client.webhooks() or [client.add_webhook("http://127.0.0.1:9/", "desk")])[0]["id"]
        client.test_webhook(webhook)
    return f"/account/webhooks/{webhook}"


@pytest.fixture(scope="session")
def shown_jobs(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Made once for all widths and schemes."""
    return jobs_of_each_kind(stack, tmp_path_factory.mktemp("shown"))


def test_a_fault_would_be_found(page: Page) -> None:
    page.goto("/login")
    page.evaluate("document.querySelectorAll('label').forEach((label) => label.remove())")
    assert any(told.startswith("label: ") for told in faults(page))
