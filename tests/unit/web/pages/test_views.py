from __future__ import annotations

from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from flask import Flask

from shared.db import Database, insert_ignore
from shared.queue import TaskNames
from shared.storage import FolderStore
from shared.tables import Identification, Region
from shared.views import NEAREST, answer_key, view_key
from tests.factories import Doorbells, identification_row, png
from tests.unit.web.pages.conftest import Browser, add_job, add_results
from web.pages.views import WAIT


@dataclass
class Renderer(Doorbells):
    """A doorbell whose worker has made the picture by the time it was rung."""

    store: FolderStore | None = None

    def ring(self, task: str, *ids: str, queue: str | None = None) -> bool:
        if self.store is not None:
            self.store.put(view_key(int(ids[0]), ids[1]), [png(1)])
        return super().ring(task, *ids, queue=queue)


@pytest.fixture
def doorbell(store: FolderStore) -> Renderer:
    return Renderer(store=store)


@pytest.fixture
def region(sqlite_database: Database) -> int:
    add_results(sqlite_database, add_job(sqlite_database), ["accept"])
    with sqlite_database.read() as session:
        return int(session.scalars(sa.select(Region.id).order_by(Region.id)).all()[0])


@pytest.mark.parametrize("view", ["sent", "compact", "seed"])
def test_a_picture_is_made_once_and_kept_by_the_browser(
    browser: Browser, doorbell: Renderer, region: int, view: str
) -> None:
    response = browser.get(f"/regions/{region}/{view}.png")
    assert (response.status_code, response.mimetype, response.data) == (200, "image/png", png(1))
    assert response.headers["Cache-Control"] == "private, max-age=86400, immutable"
    browser.get(f"/regions/{region}/{view}.png")
    assert doorbell.rung == [(TaskNames.RENDER, (str(region), view), None)]


def test_a_picture_that_is_not_made_yet_is_a_placeholder(
    sqlite_app: Flask, browser: Browser, doorbell: Renderer, region: int
) -> None:
    sqlite_app.config[WAIT] = 0.0
    doorbell.store = None
    response = browser.get(f"/regions/{region}/sent.png")
    assert (response.status_code, response.mimetype) == (202, "image/svg+xml")
    assert response.headers["Cache-Control"] == "no-store"
    doorbell.away = True
    assert browser.get(f"/regions/{region}/sent.png").status_code == 503


def test_an_image_found_unusable_after_its_page_was_drawn_is_a_placeholder_that_is_not_waited_for(
    sqlite_database: Database, browser: Browser, doorbell: Renderer, region: int
) -> None:
    with sqlite_database.write() as session:
        session.get_one(Region, region).code = "image_damaged"
    response = browser.get(f"/regions/{region}/sent.png")
    assert (response.status_code, response.mimetype) == (200, "image/svg+xml")
    assert response.headers["Cache-Control"] == "no-store"
    assert doorbell.rung == []


@pytest.mark.parametrize("which", ["test", "nearest"])
def test_an_answer_has_a_picture_of_the_image_and_of_its_category(
    sqlite_database: Database, browser: Browser, doorbell: Renderer, store: FolderStore, which: str
) -> None:
    job = add_job(sqlite_database, kind="identify", state="succeeded")
    rows = [identification_row(job, 1), identification_row(job, 2, nearest=None, distance=None)]
    with sqlite_database.write() as session:
        insert_ignore(session, Identification, rows)
    path = f"/jobs/{job.public_id}/answers"
    assert f'src="{path}/1/{which}.png"' in browser.text(f"/jobs/{job.public_id}")
    doorbell.store = None
    store.put(answer_key(job.public_id, 1, which), [png(2)])
    assert browser.get(f"{path}/1/{which}.png").data == png(2)
    assert browser.get(f"{path}/2/test.png").mimetype == "image/svg+xml"
    for wrong in (f"2/{NEAREST}", "1/other", "3/test"):
        assert browser.get(f"{path}/{wrong}.png").status_code == 404
    assert doorbell.rung == []


@pytest.mark.parametrize("path", ["/regions/99999/sent.png", "/regions/1/nothing.png", "/regions/1/..%2Fsent.png"])
def test_only_views_of_regions_that_exist(browser: Browser, doorbell: Renderer, region: int, path: str) -> None:
    assert browser.get(path).status_code == 404
    assert doorbell.rung == []
