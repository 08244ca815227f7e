"""What a worker found in an archive of labelled data, and the pictures it made of it: for the pages and the API."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, send_file

from shared.errors import NotFound
from shared.jobs.uploads import find_upload
from shared.views import look_key, sample_key
from web.services import services


def found_in(digest: str) -> dict[str, Any] | None:
    """What was found in the archive with this digest; None where no worker has looked yet."""
    store = services().store
    if not store.exists(look_key(digest)):
        return None
    with store.open(look_key(digest)) as file:
        found: dict[str, Any] = json.loads(file.read())
    return found


def sample_response(digest: str, number: int) -> Response:
    """One picture of the contact sheet; they count from 0.

    Raises:
        InvalidInput: code ``digest_invalid``. NotFound: code ``file_unknown`` or ``view_unknown``.
    """
    with services().database.read() as session:
        key = sample_key(find_upload(session, digest).digest, number)
    if not services().store.exists(key):
        raise NotFound("view_unknown", "There is no such picture.")
    response = send_file(services().store.open(key), mimetype="image/png")
    response.headers["Cache-Control"] = "private, max-age=86400, immutable"
    return response
