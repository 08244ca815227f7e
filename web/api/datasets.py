"""Data sets: archives of labelled signatures, and what a worker finds in them before anything is done with them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field

from shared.jobs.uploads import data_sets, find_upload
from shared.queue import TaskNames
from shared.tables import Upload
from web.api import documents
from web.api.operations import MAX_ORDINAL, MAX_PAGE, Operation, Query, register
from web.api.waiting import looks, place_to_wait, preferred_wait
from web.datasets import found_in, sample_response
from web.services import services


class DataSetsQuery(Query):
    """Which data sets."""

    before: int | None = Field(default=None, ge=0, le=MAX_ORDINAL, description="cursor: those before this one")
    limit: int = Field(default=50, ge=1, le=MAX_PAGE, description="most data sets of a page")


def add_routes(blueprint: Blueprint) -> None:
    """Add the routes."""
    path, picture = "/datasets/{digest}", "/datasets/{digest}/samples/{number}"
    used, look = "Data sets that jobs worked on, the one used last first", "A data set, and what is in it"
    register(
        blueprint,
        Operation("GET", "/datasets", list_data_sets, used, documents.DataSetList, DataSetsQuery),
        Operation("GET", path, get_data_set, look, documents.LookedAt, accepts=("Prefer",)),
        Operation("GET", picture, get_sample, "A picture of its contact sheet", media=("image/png",)),
    )


def list_data_sets(query: DataSetsQuery) -> Response:
    """Archives that trainings, evaluations and searches worked on; a job takes one as ``archive_digest``."""
    with services().database.read() as session:
        found, cursor = data_sets(session, query.limit, query.before)
    again: dict[str, Any] = request.args.to_dict() | {"before": cursor}
    following = url_for("api.list_data_sets", **again) if cursor else None
    rows = [_json(upload) for upload in found]
    return jsonify({"datasets": rows, "next": cursor, "links": {"next": following}})


def get_data_set(digest: str) -> Response:
    """The archive with this digest: its layout, writers, what is skipped and why, and samples.

    Send it by ``PUT /files`` before. The first request has a worker look into it, which takes some seconds: ``found``
    is null until then, and ``Retry-After`` is told; ``Prefer: wait=30`` holds the answer back.
    """
    with services().database.read() as session:
        upload = find_upload(session, digest)
    found, seconds = found_in(digest), preferred_wait()
    if found is None:
        services().doorbell.ring(TaskNames.LOOK, digest)
    with place_to_wait(seconds if found is None else 0) as end:
        for _ in looks(end) if found is None else ():
            found = found_in(digest)
            if found is not None:
                break
    response = jsonify(_json(upload) | {"found": found, "samples": _samples(digest, found)})
    if found is None:
        response.headers["Retry-After"] = "1"
    if end:
        response.headers["Preference-Applied"] = f"wait={seconds}"
    return response


def get_sample(digest: str, number: int) -> Response:
    """One picture of the contact sheet; they count from 0."""
    return sample_response(digest, number)


def _samples(digest: str, found: dict[str, Any] | None) -> list[str]:
    count = len((found or {}).get("samples", ()))
    return [url_for("api.get_sample", digest=digest, number=number) for number in range(count)]


def _json(upload: Upload) -> dict[str, Any]:
    own, file = (url_for(name, digest=upload.digest) for name in ("api.get_data_set", "api.get_file"))
    return {
        "digest": upload.digest,
        "size": upload.size,
        "filename": upload.filename,
        "created_at": upload.created_at.isoformat(),
        "expires_at": upload.expires_at.isoformat() if upload.expires_at else None,
        "links": {"self": own, "file": file},
    }
