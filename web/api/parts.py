"""Large files in parts: after a cut the sender asks how much has arrived, and goes on from there.

The headers are those of the IETF's draft of resumable uploads (``Upload-Offset``, ``Upload-Complete``): they say what
a cut needs to know, the offset, and nothing else; ``Content-Range`` has no meaning in a request by RFC 9110 unless the
server says so, and cannot ask how much arrived.
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from shared.errors import InvalidInput, TooLarge
from shared.jobs.partial import begin_upload, blob_of, drop_partial, extend_upload, find_partial, finish_upload
from shared.jobs.uploads import DIGEST
from shared.tables import PartialUpload
from web import auth
from web.api import documents
from web.api.operations import MAX_ORDINAL, Operation, read_json, register
from web.api.uploads import body_pieces, last_part
from web.services import services


class UploadSpec(BaseModel):
    """The file that is to be sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    digest: str = Field(pattern=f"^{DIGEST.pattern}$", description="sha256: and 64 hexadecimal digits, of the whole")
    size: int = Field(ge=0, le=MAX_ORDINAL, description="bytes of the whole")
    filename: str = Field(default="unnamed", max_length=255, description="shown with the job")


def add_routes(blueprint: Blueprint) -> None:
    """Add the routes."""
    one, path = documents.PartialUpload, "/uploads/{upload_id}"
    begin, ask, drop = "Begin to send a large file in parts", "How much of it has arrived", "Give it up"
    register(
        blueprint,
        Operation("POST", "/uploads", begin_parts, begin, one, status=HTTPStatus.CREATED, body=UploadSpec),
        Operation("GET", path, get_parts, ask, one),
        Operation("PATCH", path, append_part, "Send a part", one, accepts=("Upload-Offset",), body="part"),
        Operation("DELETE", path, drop_parts, drop, status=204, media=()),
    )


def begin_parts() -> Response:
    """Begin an upload, or find the one that was begun with this digest: ``offset`` says where to go on.

    Ask ``GET /files/{digest}`` before, whether the file is known. What has arrived is removed when no part comes for 48
    hours (the server's setting).
    """
    spec, settings = read_json(UploadSpec), services().settings
    if spec.size > settings.max_upload:
        raise TooLarge("upload_too_large", f"This server takes files of up to {settings.max_upload:,} bytes.")
    name, person_id = last_part(spec.filename), auth.current_person().id
    with services().database.write() as session:
        upload = begin_upload(session, person_id, spec.digest, spec.size, name, settings.file_hours)
    response = _answer(upload, services().store.length(blob_of(upload)))
    response.status_code = HTTPStatus.CREATED
    response.headers["Location"] = url_for("api.get_parts", upload_id=upload.public_id)
    return response


def get_parts(upload_id: str) -> Response:
    """How much has arrived: ``offset``, and the header ``Upload-Offset`` (also of HEAD)."""
    upload = _find(upload_id)
    return _answer(upload, services().store.length(blob_of(upload)))


def append_part(upload_id: str) -> Response:
    """Append the body at ``Upload-Offset``. What arrives before a cut is kept.

    With the last part the whole is checked against its digest; from then on it is a file like any other, and the
    upload is gone.
    """
    upload, work = _find(upload_id), services()
    hours = work.settings.file_hours
    offset = extend_upload(work.database, work.store, upload, _told_offset(), body_pieces(), hours)
    if offset < upload.size:
        return _answer(upload, offset)
    finish_upload(work.database, work.store, upload, hours)
    return _answer(upload, offset, complete=True)


def drop_parts(upload_id: str) -> Response:
    """Give the upload up; what has arrived is removed."""
    drop_partial(services().database, services().store, _find(upload_id))
    return Response(status=HTTPStatus.NO_CONTENT)


def _find(upload_id: str) -> PartialUpload:
    with services().database.read() as session:
        return find_partial(session, upload_id, auth.current_person().id)


def _told_offset() -> int:
    text = request.headers.get("Upload-Offset", "")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidInput("upload_offset", "Say in the header Upload-Offset at which byte this part begins.")
    return int(text)


def _answer(upload: PartialUpload, offset: int, complete: bool = False) -> Response:
    links = {"self": None if complete else url_for("api.get_parts", upload_id=upload.public_id)}
    links["file"] = url_for("api.get_file", digest=upload.digest) if complete else None
    document = {
        "id": upload.public_id,
        "digest": upload.digest,
        "size": upload.size,
        "filename": upload.filename,
        "offset": offset,
        "complete": complete,
        "expires_at": None if complete else upload.expires_at.isoformat(),
        "links": links,
    }
    response = jsonify(document)
    response.headers["Upload-Offset"] = str(offset)
    response.headers["Upload-Complete"] = "?1" if complete else "?0"
    return response
