"""Files on their own: sent once, checked by digest, named by jobs as often as need be."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import PurePath

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field

from shared.db import utcnow
from shared.errors import InvalidInput
from shared.jobs.uploads import add_upload, find_upload, keep_for, store_uploads
from shared.storage import PIECE
from shared.tables import Upload
from web.api import documents
from web.api.operations import Operation, Query, register
from web.services import services


class FileQuery(Query):
    """What the file is called."""

    filename: str = Field(default="unnamed", max_length=255, description="shown with the job; of an image, its name")


def add_routes(blueprint: Blueprint) -> None:
    """Add the routes."""
    file = documents.StoredFile
    register(
        blueprint,
        Operation(
            "PUT",
            "/files",
            put_file,
            "Send a file that jobs then name by its digest",
            file,
            FileQuery,
            201,
            accepts=("Content-Digest",),
            body="bytes",
        ),
        Operation("GET", "/files/{digest}", get_file, "Whether a file was sent before: ask first, then send", file),
    )


def put_file(query: FileQuery) -> Response:
    """Store the body, which is streamed to the storage and checked against ``Content-Digest``.

    A file that is known already is not stored again: ask ``GET /files/{digest}`` to spare the sending as well. One
    that no job names within 48 hours (the server's setting) is removed.
    """
    wanted = wanted_digest()
    hours = services().settings.file_hours
    with services().database.write() as session:
        known = keep_for(session, wanted, hours)
    if known is not None:
        for _ in body_pieces():  # an answer before the end of a body looks like a broken connection to many clients
            pass
        return _answer(known)
    (stored,) = store_uploads(services().store, [body_pieces()])
    if stored.digest != wanted:
        services().store.delete(stored.key)
        raise InvalidInput(
            "digest_mismatch",
            f"What arrived has the digest {stored.digest} and {stored.size:,} bytes, not {wanted}. Send it again.",
        )
    expires_at = utcnow() + timedelta(hours=hours)
    with services().database.write() as session:
        name = last_part(query.filename)
        upload = add_upload(session, stored.key, stored.digest, stored.size, name, expires_at)
    services().store.fasten(stored.key)
    return _answer(upload)


def get_file(digest: str) -> Response:
    """What is known of the file with this digest; 404 where it was never sent."""
    with services().database.read() as session:
        return jsonify(_file_json(find_upload(session, digest)))


def _answer(upload: Upload) -> Response:
    response = jsonify(_file_json(upload))
    response.status_code = 201
    response.headers["Location"] = url_for("api.get_file", digest=upload.digest)
    return response


def _file_json(upload: Upload) -> dict[str, object]:
    return {
        "digest": upload.digest,
        "size": upload.size,
        "filename": upload.filename,
        "expires_at": upload.expires_at.isoformat() if upload.expires_at else None,
        "links": {"self": url_for("api.get_file", digest=upload.digest)},
    }


def wanted_digest() -> str:
    """The SHA-256 that the request announces (RFC 9530), as our digests are written.

    Raises:
        InvalidInput: code ``digest_missing`` or ``digest_invalid``.
    """
    header = request.headers.get("Content-Digest", "")
    found = re.search(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]+):", header)
    if found is None:
        message = "Send the header 'Content-Digest: sha-256=:BASE64:' with the SHA-256 of the body."
        raise InvalidInput("digest_missing", message)
    try:
        digest = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise InvalidInput("digest_invalid", "The sha-256 of Content-Digest is not 32 bytes in base64.")
    return f"sha256:{digest.hex()}"


def body_pieces() -> Iterator[bytes]:
    """The body of the request as it arrives."""
    while piece := request.stream.read(PIECE):
        yield piece


def last_part(filename: str) -> str:
    """The name of a file without the folders that its sender may have written before it."""
    return PurePath(filename.replace("\\", "/")).name or "unnamed"
