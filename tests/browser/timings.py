"""How long the pages take with much in the database: ``python -m tests.browser.timings``; a quarter of an hour.

Fills a stack of its own with 100,000 jobs and one of 1,000,000 rows, starts it anew, and writes the tables of
``docs/UX.md``: the server's times, first paints in chromium, and the clicks and seconds from the start page to a
verdict.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect, sync_playwright

from shared.db import Database, utcnow
from shared.tables import Comparison, Identification, Job, JobState, Result, Verdict
from shared.tables.base import public_id
from tests.browser.conftest import CHROMIUM, QUIET
from tests.browser.signatures import cedar_files, forged, genuine
from tests.browser.test_verification import log_in
from tests.factories import manifest_of, write_files, zip_of
from tests.servers import OWN_PASSWORD, Stack
from web.client import Document

TIMES, PAINTS, GROUP = 11, 5, 5000
KINDS = ("verify", "verify", "verify", "identify", "train", "evaluate", "tune")
STATES = (JobState.SUCCEEDED,) * 8 + (JobState.FAILED, JobState.CANCELLED)
VERDICTS = ("accept", "review", "reject", "unscorable")
SHARES = (60, 25, 14, 1)  # of a hundred rows
PAINTED = """new Promise((done) => new PerformanceObserver((list) => {
  for (const each of list.getEntriesByName("first-contentful-paint")) done(each.startTime);
}).observe({ type: "paint", buffered: true }))"""
READY = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"


def groups_of(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while group := list(itertools.islice(iterator, GROUP)):
        yield group


def insert(database: Database, table: type[Any], rows: Iterable[dict[str, Any]]) -> None:
    for group in groups_of(rows):
        with database.write() as session:
            session.execute(sa.insert(table), group)


def many_jobs(number: int) -> Iterator[dict[str, Any]]:
    """Jobs such as a bank has after some years."""
    rng, now = random.Random(1), utcnow()  # noqa: S311 (the same rows each time)
    for n in range(number):
        at = now - timedelta(minutes=10 * (number - n))
        values: dict[str, Any] = {"public_id": public_id("job"), "kind": rng.choice(KINDS), "state": rng.choice(STATES)}
        values |= {"label": f"branch-{n % 97}.zip", "tag": f"night-{n % 365}", "spec": {}, "total": 50, "done": 50}
        yield values | {"accept": 30, "review": 13, "reject": 7, "created_at": at, "started_at": at, "finished_at": at}


def copies(database: Database, like: Job, rows: int) -> Job:
    """A job with so many rows, made of the regions and the scores of another."""
    with database.read() as session:
        one = sa.select(Comparison).where(Comparison.job_id == like.id)
        comparisons = list(session.scalars(one))
        results = {each.ordinal: each for each in session.scalars(sa.select(Result).where(Result.job_id == like.id))}
    taken = {column.name: getattr(like, column.name) for column in Job.__table__.columns if column.name != "id"}
    with database.write() as session:
        job = Job(**taken | {"public_id": public_id("job"), "label": "year.zip", "total": rows, "done": rows})
        session.add(job)
    rng, told = random.Random(2), dict.fromkeys(VERDICTS, 0)  # noqa: S311 (as above)

    def answers() -> Iterator[dict[str, Any]]:
        for ordinal in range(1, rows + 1):
            result = results[comparisons[ordinal % len(comparisons)].ordinal]
            row = {column.name: getattr(result, column.name) for column in Result.__table__.columns}
            verdict = rng.choices(VERDICTS, SHARES)[0]
            told[verdict] += 1
            score = None if verdict == Verdict.UNSCORABLE else rng.gauss(0, 1)
            yield row | {"job_id": job.id, "ordinal": ordinal, "verdict": verdict, "llr": score}

    def pairs() -> Iterator[dict[str, Any]]:
        for ordinal in range(1, rows + 1):
            pair = comparisons[ordinal % len(comparisons)]
            known = {"questioned_id": pair.questioned_id, "reference_set_id": pair.reference_set_id}
            yield known | {"job_id": job.id, "ordinal": ordinal, "external_id": f"row-{ordinal}", "line": ordinal + 1}

    insert(database, Comparison, pairs())
    insert(database, Result, answers())
    with database.write() as session:
        session.execute(sa.update(Job).where(Job.id == job.id).values(**told))
    return job


def many_answers(database: Database, like: Job, rows: int) -> Job:
    """An identification with so many answers, made of those of another."""
    with database.read() as session:
        answers = session.scalars(sa.select(Identification).where(Identification.job_id == like.id)).all()
    columns = [column.name for column in Identification.__table__.columns]
    known = [{name: getattr(answer, name) for name in columns} for answer in answers]
    taken = {column.name: getattr(like, column.name) for column in Job.__table__.columns if column.name != "id"}
    with database.write() as session:
        job = Job(**taken | {"public_id": public_id("job"), "label": "people.zip", "total": rows, "done": rows})
        session.add(job)
    rng = random.Random(3)  # noqa: S311 (as above)
    insert(
        database,
        Identification,
        (
            known[n % len(known)] | {"job_id": job.id, "ordinal": n, "distance": rng.gauss(6, 1)}
            for n in range(1, rows + 1)
        ),
    )
    return job


def pages_of(database: Database, job: str, people: str, rows: int) -> dict[str, str]:
    """What is asked for, by what the table calls it."""
    with database.read() as session:
        middle = (session.scalar(sa.select(sa.func.max(Job.id))) or 0) // 2
    page = f"/jobs/{job}"
    far = rows * 9 // 10
    return {
        "jobs": "/jobs",
        "jobs of a kind and state": "/jobs?kind=train&state=failed",
        "jobs from the middle": f"/jobs?before={middle}",
        "jobs with a tag": "/jobs?tag=night-7",
        "the large job": page,
        "its results far down": f"{page}/results?after={far}",
        "with one verdict": f"{page}/results?after={far}&verdict=reject",
        "the unscorable ones, by score": f"{page}/results?verdict=unscorable&order=unlike",
        "by score": f"{page}/results?order=unlike",
        "by score, from the middle": f"{page}/results?order=unlike&after={rows // 2}",
        "what nobody has decided, the least alike first": f"{page}?verdict=review&reviewed=open&order=unlike",
        "its live part, each second": f"{page}/live",
        "a comparison, by score, with its neighbours": f"{page}/comparisons/{rows // 2}?order=unlike",
        "the spread of its scores": f"{page}/scores.json",
        "the large identification": f"/jobs/{people}",
        "its answers by distance": f"/jobs/{people}?order=near",
        "the spread of its distances": f"/jobs/{people}/scores.json",
        "models": "/models",
        "a model": "/models/boxed",
        "new verification": "/verify",
        "new training": "/train",
        "new identification": "/identify",
        "new tuning": "/tune",
        "new evaluation": "/evaluate",
        "account": "/account",
        "webhooks": "/account/webhooks",
    }


def served(stack: Stack, pages: dict[str, str]) -> Iterator[tuple[str, float, float]]:
    """For each page the median of some requests, and the first one, in milliseconds."""
    with stack.signed_in() as browser:
        for name, path in pages.items():
            times = [timed(browser, path) for _ in range(TIMES)]
            yield name, median(times[1:]), times[0]


def timed(browser: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    answer = browser.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return 1000 * (time.perf_counter() - began)


def painted(page: Page, pages: dict[str, str]) -> Iterator[tuple[str, float, float]]:
    """For each whole page the median of first paints, and of when its scripts have run and keys answer, in ms."""
    for name, path in pages.items():
        if any(part in path for part in ("/live", "/results", "/scores")):
            continue
        seen = []
        for _ in range(PAINTS):
            page.goto(path, wait_until="load")
            seen.append((float(page.evaluate(PAINTED)), float(page.evaluate(READY))))
        yield name, median(first for first, _ in seen), median(ready for _, ready in seen)


class Clerk:
    """Clicks, counted, from the start page on."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._clicks = 0

    def click(self, name: str, role: Any = "button") -> None:
        self._clicks += 1
        self._page.get_by_role(role, name=name, exact=True).first.click()

    def choose(self, field: str, files: list[Path]) -> None:
        self._clicks += 1
        self._page.set_input_files(field, files)

    def does(self, way: Callable[[], None]) -> tuple[int, float]:
        """How many clicks and seconds it takes until the first verdict can be read."""
        self._page.goto("/")
        self._clicks, began = 0, time.perf_counter()
        way()
        self._page.locator("#live[data-state=succeeded]").wait_for(timeout=300_000)
        expect(self._page.locator("#results tbody tr .tag").first).to_be_visible()
        return self._clicks, time.perf_counter() - began


def clicked(page: Page, folder: Path) -> Iterator[tuple[str, int, float]]:
    """The clerk's ways to a verdict: a pair, twice, and a batch."""
    clerk = Clerk(page)
    images = sorted((folder / "pair").rglob("*.png"))

    def pair() -> None:
        clerk.click("New verification", "link")
        clerk.choose("#questioned", images[:1])
        clerk.choose("#reference", images[1:4])
        clerk.click("Start the verification")

    def sheet() -> None:
        clerk.click("New verification", "link")
        clerk.click("A batch", "radio")
        clerk.choose("#archive", [folder / "batch.zip"])
        clerk.click("Start the verification")

    for name, way in (("a pair, the model not loaded yet", pair), ("a pair", pair), ("a batch of 104", sheet)):
        yield name, *clerk.does(way)


def table(title: str, heading: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    """A table in Markdown, row by row as it is measured."""
    write = sys.stdout.write
    write(f"\n{title}\n\n| {' | '.join(heading)} |\n| {' | '.join('---' for _ in heading)} |\n")
    for row in rows:
        write("| " + " | ".join(f"{cell:,.0f}" if isinstance(cell, float) else str(cell) for cell in row) + " |\n")
        sys.stdout.flush()


def batch(writers: range, cedar: str | None) -> bytes:
    """A batch of 13 questioned signatures a writer, each with three references."""
    rows = []
    for writer in writers:
        known = "|".join(genuine(writer, number) for number in (1, 2, 3))
        questioned = [genuine(writer, number) for number in range(4, 11)]
        questioned += [forged(writer, number) for number in range(1, 7)]
        rows += [(name, name, known) for name in questioned]
    return zip_of({**cedar_files(writers, 10, 6, cedar), "manifest.csv": manifest_of(*rows)})


def people_of(writers: range, cedar: str | None) -> bytes:
    """One image of each writer as a category, and two to be named."""
    files = cedar_files(writers, 3, 0, cedar)
    named = {f"categories/{writer}/1.png": files[genuine(writer, 1)] for writer in writers}
    return zip_of(
        {**named, **{f"test/{writer}/{n}.png": files[genuine(writer, n)] for writer in writers for n in (2, 3)}}
    )


def filled(stack: Stack, folder: Path, jobs: int, rows: int, cedar: str | None) -> Document:
    """A small batch, and beside it what the times are measured with; the large job."""
    write_files(folder / "pair", cedar_files(range(1, 2), 4, 0, cedar))
    (folder / "batch.zip").write_bytes(batch(range(2, 10), cedar))
    # Not of the writers of the batch that is timed: their embeddings would be known.
    (folder / "small.zip").write_bytes(batch(range(10, 12), cedar))
    (folder / "people.zip").write_bytes(people_of(range(1, 4), cedar))
    small = stack.json("submit", "verify", folder / "small.zip", "--wait")
    named = stack.json("submit", "identify", folder / "people.zip", "--wait")
    database = stack.database()
    try:
        with database.read() as session:
            like, people = (
                session.scalars(sa.select(Job).where(Job.public_id == job["id"])).one() for job in (small, named)
            )
        insert(database, Job, many_jobs(jobs))
        large = copies(database, like, rows)
        answered = many_answers(database, people, rows)
        return {"id": large.public_id, "pages": pages_of(database, large.public_id, answered.public_id, rows)}
    finally:
        database.close()


def measure(browser: Browser, stack: Stack, large: Document, folder: Path) -> None:
    """Write the tables."""
    pages = large["pages"]
    table("Server", ("Page", "Median, ms", "First, ms"), served(stack, pages))
    with browser.new_context(base_url=stack.url) as context:
        page = context.new_page()
        log_in(page, stack)
        table("Browser", ("Page", "First paint, ms", "Scripts have run, ms"), painted(page, pages))
        ways = ((name, clicks, f"{seconds:.1f}") for name, clicks, seconds in clicked(page, folder))
        table("From the start page to a verdict", ("Way", "Clicks", "Seconds"), ways)


def main() -> None:
    """Fill, start anew, measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cedar", help="the folder of the CEDAR set: times of people's signatures")
    parser.add_argument("--home", type=Path, help="a folder for the stack, filled once and kept; by default a new one")
    parser.add_argument("--fill", action="store_true", help="fill the folder only: what is measured has the machine")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cs-") as name:
        folder = given.home or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        stack, kept = Stack(folder / "stack", {}), folder / "large.json"
        if not kept.exists():
            with stack, stack.signed_in():
                kept.write_text(json.dumps(filled(stack, folder, given.jobs, given.rows, given.cedar)))
        if given.fill:
            return
        with stack, sync_playwright() as playwright:
            stack.password = OWN_PASSWORD
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            measure(browser, stack, json.loads(kept.read_text()), folder)
            browser.close()


if __name__ == "__main__":
    main()
