"""The files that a job leaves behind: the report of an evaluation and its tables."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, stream_with_context, url_for

from shared.jobs.files import JobFile, file_key, find_file, list_files
from shared.storage import pieces_of
from shared.tables import Job
from web.api import documents
from web.api.jobs import load_job
from web.api.operations import Operation, register
from web.services import services

# A report styles itself and runs nothing. In a sandbox it is of no origin: whatever it held, it could read no page.
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
SHOWN = ("html", "svg")  # endings of what a browser may show in place; all else is saved


def add_routes(blueprint: Blueprint) -> None:
    """Add the routes."""
    register(
        blueprint,
        Operation("GET", "/jobs/{job_id}/files", files, "The files that a job left behind", documents.JobFileList),
        Operation("GET", "/jobs/{job_id}/files/{name}", download, "One of them", media=("*/*",), endpoint="file"),
    )


def files(job_id: str) -> Response:
    """The files of a job; none before it has succeeded."""
    job = load_job(job_id)
    return jsonify({"files": [_file_json(job, file) for file in list_files(job)]})


def _file_json(job: Job, file: JobFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "size": file.size,
        "digest": file.digest,
        "media_type": file.media_type,
        "links": {"self": url_for("api.file", job_id=job.public_id, name=file.name)},
    }


def download(job_id: str, name: str) -> Response:
    """One file of a job, to be saved."""
    return file_response(load_job(job_id), name)


def file_response(job: Job, name: str, show: bool = False) -> Response:
    """One file of a job, streamed; with ``show``, for the browser to show where it can.

    Raises:
        NotFound: code ``file_unknown``, or ``blob_missing`` where it is gone from the storage.
    """
    file = find_file(job, name)
    stream = services().store.open(file_key(job.public_id, file.name))
    response = Response(stream_with_context(pieces_of(stream)), content_type=file.media_type)
    response.call_on_close(stream.close)
    response.content_length = file.size
    response.set_etag(file.digest)
    way = "inline" if show and file.name.endswith(SHOWN) else "attachment"
    response.headers["Content-Disposition"] = f'{way}; filename="{job.public_id}-{file.name}"'
    response.headers["Content-Security-Policy"] = REPORT_POLICY
    return response
