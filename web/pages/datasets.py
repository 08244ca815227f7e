"""Archives of labelled signatures before anything is done with them: what they hold, and a contact sheet of samples."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, render_template, request, url_for

from shared.jobs.uploads import data_sets, find_upload
from shared.queue import TaskNames
from shared.tables import Upload
from web.datasets import found_in, sample_response
from web.pages import paging
from web.pages.words import size
from web.services import services

RING_EVERY = 10  # looks of a page, one a second, between two rings: one may be lost, or its worker end
MOST_LOOKS = 90


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/datasets/<digest>", view_func=dataset)
    blueprint.add_url_rule("/datasets/<digest>/<int:sample_id>.png", view_func=sample)


def dataset(digest: str) -> str:
    """What is in an archive. The request of a fragment gets that alone, or with ``only=samples`` the samples."""
    looks = paging.whole("looks") or 0
    with services().database.read() as session:
        upload = find_upload(session, digest)
    fragment = "HX-Request" in request.headers
    template = "dataset.html" if not fragment else "_samples.html" if "only" in request.args else "_data.html"
    return render_template(template, data=upload, **look_values(upload, looks))


def look_values(upload: Upload, looks: int = 0) -> dict[str, Any]:
    """What ``_data.html`` shows of an archive; has a worker look into it where none has.

    ``looks`` is how often the page has asked already.
    """
    found = found_in(upload.digest)
    if found is not None:
        return {"look": found, "following": None}
    if looks % RING_EVERY == 0:
        services().doorbell.ring(TaskNames.LOOK, upload.digest)
    only = request.args.get("only")
    following = url_for("pages.dataset", digest=upload.digest, looks=looks + 1, only=only)
    return {"look": None, "following": following if looks < MOST_LOOKS else None}


def sample(digest: str, sample_id: int) -> Response:
    """One picture of the contact sheet."""
    return sample_response(digest, sample_id)


def sets_to_choose() -> list[tuple[str, str]]:
    """The data sets that jobs worked on, by digest, in words."""
    with services().database.read() as session:
        found, _ = data_sets(session)
    return [(upload.digest, f"{upload.filename}, {size(upload.size)}") for upload in found]
