from __future__ import annotations

import io
import re
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa

from shared.config import Settings
from shared.db import Database
from shared.jobs import queries
from shared.queue import TaskNames
from shared.specs import TrainSpec
from shared.tables import Job, Upload
from tests.factories import Doorbells, batch_of, png, unbacked_model, zip_of
from tests.unit.web.pages.conftest import Browser, add_job


def upload(content: bytes, name: str) -> tuple[io.BytesIO, str]:
    return io.BytesIO(content), name


def good_batch() -> bytes:
    return batch_of(("1", "q.png", "r.png"), images={"q.png": png(1), "r.png": png(2)})


def jobs_in(database: Database) -> list[Job]:
    with database.read() as session:
        return list(session.scalars(sa.select(Job)))


def test_without_a_model_the_page_says_to_train_one(browser: Browser) -> None:
    text = browser.text("/verify")
    assert "There is no model yet" in text
    assert '<form class="narrow"' not in text


def test_the_default_model_is_chosen_with_its_figures(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database, "paper", threshold=0.75)
    unbacked_model(sqlite_database, "newer")
    text = browser.text("/verify")
    assert ">paper@1 (default): EER –, threshold 0.7500</option>" in text
    assert 'value="newer@1" selected ' in browser.text("/verify?model=newer@1")


def test_a_pair_is_queued(browser: Browser, sqlite_database: Database, doorbell: Doorbells) -> None:
    unbacked_model(sqlite_database)
    response = browser.post(
        "/verify",
        way="pair",
        model="paper@1",
        questioned=upload(png(1), "q.png"),
        reference=[upload(png(2), "r1.png"), upload(png(3), "r2.png")],
        label="",
    )
    job = jobs_in(sqlite_database)[0]
    assert response.status_code == 303
    assert response.location == f"/jobs/{job.public_id}"
    assert job.label == "q.png against r1.png"
    assert doorbell.tasks == [TaskNames.SCORE]


def test_a_batch_is_queued(browser: Browser, sqlite_database: Database, doorbell: Doorbells) -> None:
    unbacked_model(sqlite_database)
    response = browser.post("/verify", way="batch", archive=upload(good_batch(), "july.zip"), label=" July ")
    assert response.status_code == 303
    assert jobs_in(sqlite_database)[0].label == "July"
    assert doorbell.tasks == [TaskNames.INTAKE]


@pytest.mark.parametrize(
    ("fields", "links"),
    [
        ({"way": "pair"}, ["questioned", "reference"]),
        ({"way": "batch"}, ["archive"]),
        ({"way": "pair", "questioned": "image", "archive": "batch"}, ["archive", "reference"]),
        ({"way": "batch", "archive": "image"}, ["archive"]),
        ({"way": "batch", "archive": "empty"}, ["archive"]),
    ],
)
def test_a_bad_form_comes_back_with_links_to_its_fields(
    browser: Browser, sqlite_database: Database, settings: Settings, fields: dict[str, str], links: list[str]
) -> None:
    unbacked_model(sqlite_database)
    contents = {"image": png(1), "batch": good_batch(), "empty": zip_of({"a.png": png(1)})}
    sent: dict[str, Any] = {n: upload(contents[v], f"{v}.zip") if n != "way" else v for n, v in fields.items()}
    response = browser.post("/verify", label="kept", **sent)
    assert response.status_code == 422
    assert re.findall(r'<a href="#(\w+)">', response.text) == links
    for link in links:
        assert f'id="{link}-error"' in response.text
        assert f'id="{link}"' in response.text
    assert "<title>Error: " in response.text
    assert 'value="kept"' in response.text
    assert jobs_in(sqlite_database) == []
    assert list((settings.home / "blobs").glob("uploads/*")) == []


def test_an_unknown_model_is_told_at_the_choice(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database)
    response = browser.post("/verify", way="batch", model="gone", archive=upload(good_batch(), "a.zip"))
    assert response.status_code == 404
    assert '<a href="#model">' in response.text


def test_an_absent_queue_is_told_and_nothing_is_kept(
    browser: Browser, sqlite_database: Database, doorbell: Doorbells, settings: Settings
) -> None:
    unbacked_model(sqlite_database)
    doorbell.away = True
    response = browser.post("/verify", way="batch", archive=upload(good_batch(), "a.zip"))
    assert response.status_code == 503
    assert '<a href="#submit">The queue is not reachable' in response.text
    assert jobs_in(sqlite_database) == []
    assert list((settings.home / "blobs").glob("uploads/*")) == []


def test_the_training_form_offers_every_field_with_its_default(browser: Browser) -> None:
    text = unescape(browser.text("/train"))
    for name, field in TrainSpec.model_fields.items():
        if name != "kind":
            assert f'name="{name}"' in text
            assert (field.description or "")[1:] in text
    assert 'value="0.001"' in text
    assert "More than 0, at most 100." in text


def test_a_training_is_queued_with_what_was_set(
    browser: Browser, sqlite_database: Database, doorbell: Doorbells
) -> None:
    archive = upload(zip_of({"a/genuine/1.png": png(1)}), "own.zip")
    response = browser.post(
        "/train", archive=archive, name="own", network="seed", epochs="3", margin="", make_default="true"
    )
    assert response.status_code == 303
    spec = jobs_in(sqlite_database)[0].spec
    assert (spec["name"], spec["network"], spec["epochs"], spec["margin"]) == ("own", "seed", 3, 2.0)
    assert spec["make_default"] is True
    assert doorbell.tasks == [TaskNames.TRAIN]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", "0", "Epochs must be at least 1."),
        ("epochs", "many", "Epochs must be a whole number."),
        ("epochs", "1.5", "Epochs must be a whole number."),
        ("margin", "0", "Margin must be more than 0."),
        ("learning_rate", "nan", "Learning rate must be"),
        ("network", "huge", "Network must be &#39;ink&#39;, &#39;compact&#39;, "),
        ("loss", "pair-cross-entropy", "Loss: the network compact takes any but pair-cross-entropy, or auto."),
        ("batch_writers", "0", "Batch writers must be at least 1."),
        ("augmentation", "wild", "Augmentation must be &#39;none&#39;, &#39;light&#39; or &#39;strong&#39;."),
        ("name", "Not good", "Name must be 1 to 63 small letters"),
    ],
)
def test_a_bad_recipe_is_told_in_the_same_words_at_the_field(
    browser: Browser, field: str, value: str, message: str
) -> None:
    archive = upload(zip_of({"a/genuine/1.png": png(1)}), "own.zip")
    response = browser.post("/train", archive=archive, **{field: value})
    assert response.status_code == 422
    assert f'<a href="#{field}">{message}' in response.text
    assert f'<span class="unseen">Error: </span>{message}' in response.text


def test_the_models_there_are_to_begin_with(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database)
    text = browser.text("/train")
    assert '<option value="" selected>None: fresh weights</option>' in text
    assert '<option value="paper@1">paper@1: compact</option>' in text
    archive = upload(zip_of({"a/genuine/1.png": png(1)}), "own.zip")
    assert browser.post("/train", archive=archive, network="compact", from_model="paper@1").status_code == 303
    assert jobs_in(sqlite_database)[0].spec["from_model"] == "paper@1"


@pytest.mark.parametrize(
    ("fields", "status", "link"),
    [
        ({"from_model": "gone"}, 404, "from_model"),
        ({"from_model": "paper", "network": "seed"}, 422, "network"),
    ],
)
def test_a_beginning_that_does_not_fit_is_told_at_its_field(
    browser: Browser, sqlite_database: Database, fields: dict[str, str], status: int, link: str
) -> None:
    unbacked_model(sqlite_database)
    archive = upload(zip_of({"a/genuine/1.png": png(1)}), "own.zip")
    response = browser.post("/train", archive=archive, **fields)
    assert response.status_code == status
    assert f'<a href="#{link}">' in response.text
    assert jobs_in(sqlite_database) == []


def test_the_advanced_fields_are_all_in_a_group_and_no_field_is_twice(browser: Browser) -> None:
    names = re.findall(r'<(?:input|select)[^>]* name="([a-z_]+)"', browser.text("/train"))
    assert sorted(set(TrainSpec.model_fields) - {"kind"} - set(names)) == []
    assert {name for name in names if names.count(name) > 1} == {"csrf_token", "network"}


def test_the_advanced_fields_unfold_where_they_hold_an_error(browser: Browser) -> None:
    archive = upload(zip_of({"a/genuine/1.png": png(1)}), "own.zip")
    assert '<details id="advanced">' in browser.text("/train")
    assert '<details id="advanced" open>' in browser.post("/train", archive=archive, seed="-1").text


@pytest.mark.parametrize("way", ["pair", "batch"])
def test_a_verification_is_submitted_again_with_changes(browser: Browser, sqlite_database: Database, way: str) -> None:
    unbacked_model(sqlite_database)
    unbacked_model(sqlite_database, "newer")
    files: dict[str, Any] = {"archive": upload(good_batch(), "b.zip")}
    if way == "pair":
        files = {"questioned": upload(png(1), "q.png"), "reference": [upload(png(n), f"r{n}.png") for n in (2, 3)]}
    browser.post("/verify", way=way, label="May", **files)
    (first,) = jobs_in(sqlite_database)
    address = f"/verify?again={first.public_id}"
    text = browser.text(address)
    assert ("q.png, r2.png, r3.png" if way == "pair" else "b.zip") in text
    assert 'type="file"' not in text
    answer = browser.post("/verify", page=address, again=first.public_id, model="newer@1", label="June")
    _, second = jobs_in(sqlite_database)
    assert answer.location == f"/jobs/{second.public_id}"
    assert (second.label, second.model_id) == ("June", 2)
    with sqlite_database.read() as session:
        assert len(session.scalars(sa.select(Upload)).all()) == (3 if way == "pair" else 1)
        if way == "pair":
            ((one,), _), ((other,), _) = (queries.answers(session, job.id) for job in (first, second))
            assert (one.questioned, one.references) == (other.questioned, other.references)
    assert second.upload_id == first.upload_id
    refused = browser.post("/verify", page=address, again=first.public_id, model="gone")
    assert refused.status_code == 404
    assert f'name="again" value="{first.public_id}"' in refused.text


def test_only_a_verification_is_submitted_again(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database)
    job = add_job(sqlite_database, kind="train")
    assert browser.get(f"/verify?again={job.public_id}").status_code == 422
    assert browser.get("/verify?again=job_gone").status_code == 404


def test_a_model_is_chosen_by_any_name_and_none_in_its_place(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database, "paper")
    unbacked_model(sqlite_database, "newer")
    for name in ("newer", "newer@1"):
        assert '<option value="newer@1" selected ' in browser.text(f"/verify?model={name}")
    for name in ("default", ""):
        assert '<option value="paper@1" selected ' in browser.text(f"/verify?model={name}")
    text = browser.text("/verify?model=gone@1")
    assert '<option value="">Choose a model</option>' in text
    assert "selected" not in text


def test_the_marks_go_with_a_verification_that_is_submitted_again(browser: Browser, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database, "older")
    unbacked_model(sqlite_database, "newer")
    fields = {"tag": "night", "external_id": "run-17", "model": "newer"}
    browser.post("/verify", questioned=upload(png(1), "q.png"), reference=upload(png(2), "r.png"), **fields)
    (first,) = jobs_in(sqlite_database)
    address = f"/verify?again={first.public_id}"
    text = browser.text(address)
    assert 'name="tag" type="text" value="night"' in text
    assert "id <b>run-17</b>" in text
    assert 'value="newer@1" selected' in text
    browser.post("/verify", page=address, again=first.public_id, model="older@1", tag="morning")
    _, second = jobs_in(sqlite_database)
    assert (second.tag, second.external_id, second.model_id) == ("morning", "run-17", 1)
