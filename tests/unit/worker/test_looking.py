from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from PIL import Image

from shared.db import utcnow
from shared.jobs.partial import remove_expired
from shared.jobs.uploads import add_upload
from shared.views import MOST_SAMPLES, begun_key, look_key, look_keys, sample_key
from tests.factories import png, stored_upload, training_files, zip_of
from worker.context import Context
from worker.looking import DEAD_SECONDS, chosen, look_at
from worker.ml.layouts import Sample

FILES = training_files(writers=3, genuine=3, forged=1)


def kept(context: Context, content: bytes) -> str:
    """The digest of an upload with this content, kept for an hour that is over."""
    stored = stored_upload(context.store, content)  # type: ignore[arg-type]  # a FolderStore here
    with context.database.write() as session:
        add_upload(session, stored.key, stored.digest, stored.size, "set.zip", utcnow())
    return stored.digest


def found(context: Context, digest: str) -> dict[str, Any]:
    with context.store.open(look_key(digest)) as file:
        look: dict[str, Any] = json.load(file)
    return look


def test_a_look_tells_what_is_there_and_shows_samples(sqlite_context: Context) -> None:
    bad = {"writer_0/genuine/bad.png": b"no image", "notes.txt": b"x"}
    digest = kept(sqlite_context, zip_of({**FILES, **bad}))
    look_at(sqlite_context, digest)
    look = found(sqlite_context, digest)
    counts = [look[name] for name in ("layout", "writers", "genuine", "forged", "skipped", "images", "tried")]
    assert counts == ["writers", 3, 9, 3, 2, 13, 13]
    assert {item["entry"]: item["code"] for item in look["skipped_list"]} == {
        "writer_0/genuine/bad.png": "image_unreadable",
        "notes.txt": "not_a_sample",
    }
    assert [(one["writer"], one["forged"]) for one in look["samples"]] == [
        (f"writer_{writer}", forged) for writer in range(3) for forged in (False, False, True)
    ]
    for number in range(9):
        with sqlite_context.store.open(sample_key(digest, number)) as file:
            assert max(Image.open(io.BytesIO(file.read())).size) <= 320
    assert not sqlite_context.store.exists(begun_key(digest))


@pytest.mark.parametrize(
    ("content", "code"),
    [(zip_of({"a.txt": b"x"}), "no_images"), (zip_of({"a.png": png()}), "layout_unknown"), (png(), "archive_not_zip")],
)
def test_what_cannot_be_used_says_why(sqlite_context: Context, content: bytes, code: str) -> None:
    digest = kept(sqlite_context, content)
    look_at(sqlite_context, digest)
    error = found(sqlite_context, digest)["error"]
    assert (error["code"], len(error["message"]) > 20) == (code, True)


def test_one_that_is_being_looked_at_is_left_alone_and_one_whose_look_died_is_not_read_again(
    sqlite_context: Context,
) -> None:
    digest = kept(sqlite_context, zip_of(dict(FILES)))
    sqlite_context.store.put(begun_key(digest), [str(time.time()).encode()])
    look_at(sqlite_context, digest)
    assert not sqlite_context.store.exists(look_key(digest))
    sqlite_context.store.put(begun_key(digest), [str(time.time() - DEAD_SECONDS - 1).encode()])
    look_at(sqlite_context, digest)
    look = found(sqlite_context, digest)
    assert (look["writers"], look["tried"], look["samples"]) == (3, 0, [])


def test_what_was_found_goes_with_the_file(sqlite_context: Context) -> None:
    digest = kept(sqlite_context, zip_of(dict(FILES)))
    look_at(sqlite_context, digest)
    assert remove_expired(sqlite_context.database, sqlite_context.store) == 1
    assert not any(sqlite_context.store.exists(key) for key in look_keys(digest))


def test_the_sheet_takes_writers_evenly() -> None:
    samples = [Sample(f"{n}/{k}", str(n), k == 3) for n in range(100) for k in range(4)]
    sheet = chosen(samples)
    assert len(sheet) <= MOST_SAMPLES
    writers = sorted({int(sample.writer) for sample in sheet})
    assert len(writers) == 8
    assert max(writers) > 85
    assert sum(sample.forged for sample in sheet) == 8
