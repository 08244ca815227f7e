"""What the pages say of pictures that are no signatures, and of files of weights."""

from __future__ import annotations

import io
import re

import pytest
import sqlalchemy as sa

from shared.db import Database
from shared.specs import canvas_of
from shared.tables import Job, ModelVersion
from tests.factories import png, unbacked_model, zip_of
from tests.unit.web.pages.conftest import Browser, add_job, add_results


def post_training(browser: Browser, **fields: str) -> tuple[int, str]:
    response = browser.post("/train", archive=(io.BytesIO(zip_of({"a/genuine/1.png": png()})), "a.zip"), **fields)
    return response.status_code, response.text


def test_the_form_begins_with_grey_signatures(browser: Browser) -> None:
    text = browser.text("/train")
    assert '<option value="signature" selected>' in text
    assert '<option value="1" selected>1</option><option value="3">3</option>' in text


def test_a_training_on_photos_in_colour_is_queued(browser: Browser, sqlite_database: Database) -> None:
    status, _ = post_training(browser, network="resnet18", preset="photo", channels="3", pretrained="own.pth")
    with sqlite_database.read() as session:
        spec = session.scalars(sa.select(Job)).one().spec
    assert status == 303
    assert (spec["preset"], spec["channels"], spec["pretrained"]) == ("photo", 3, "own.pth")


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"channels": "3"}, "channels", "grey ink"),
        ({"pretrained": "own.pth"}, "pretrained", "fit resnet18, resnet34, resnet50 only"),
        ({"network": "resnet18", "pretrained": "../own.pth"}, "pretrained", "without a folder"),
    ],
)
def test_what_does_not_go_together_is_told_at_its_field(
    browser: Browser, fields: dict[str, str], field: str, words: str
) -> None:
    status, text = post_training(browser, **fields)
    assert status == 422
    told = re.search(rf'<a href="#{field}">([^<]+)</a>', text)
    assert told is not None
    assert words in told[1]


@pytest.mark.parametrize(("channels", "view"), [(1, "compact-photo"), (3, "compact-colours")])
def test_a_comparison_shows_what_a_model_of_photos_sees(
    browser: Browser, sqlite_database: Database, channels: int, view: str
) -> None:
    model = unbacked_model(sqlite_database)
    canvas = canvas_of("compact", "photo", 3 if channels == 3 else 1)
    with sqlite_database.write() as session:
        summary = {"preprocessing": canvas.model_dump(mode="json")}
        session.execute(sa.update(ModelVersion).where(ModelVersion.id == model.id).values(summary=summary))
    job = add_job(sqlite_database, model_id=model.id)
    add_results(sqlite_database, job, ["accept"])
    text = browser.text(f"/jobs/{job.public_id}/comparisons/1")
    assert len(re.findall(rf'<image href="/regions/\d+/{view}.png"', text)) == 2
    assert text.count(f'viewBox="0 0 {canvas.width} {canvas.height}"') == 2
