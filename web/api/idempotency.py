"""``Idempotency-Key``: a request that is sent again gets the answer that it got."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from flask import Response, request

from shared.errors import InvalidInput
from shared.jobs.idempotency import Begun, Kept, begin, release, settle
from web import auth
from web.services import services

MAX_KEY = 255
Act = Callable[[str | None], Response]
Recover = Callable[[str], Response]


def answer_once(act: Act, recover: Recover, body: str | None = None) -> Response:
    """The answer of ``act``, or the one that the same request got before (then ``Idempotent-Replayed: true``).

    ``act`` is given the token that whatever it makes is bound to; None where the request carries no key. ``recover``
    answers with what was made by a try of this request which was cut off before it was answered. ``body`` stands for a
    body that is streamed: its digest, as the request announces it.

    Only what was done is kept: a request that is refused, or fails, frees its key.

    Raises:
        InvalidInput: code ``idempotency_key_invalid`` or ``idempotency_key_reused``.
        Conflict: code ``idempotency_in_flight``.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return act(None)
    if not 1 <= len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        message = f"An Idempotency-Key is 1 to {MAX_KEY} printable ASCII characters; a random UUID is a good one."
        raise InvalidInput("idempotency_key_invalid", message)
    begun = begin(services().database, auth.current_person().id, key, _fingerprint(body))
    if isinstance(begun, Kept):
        return _replayed(begun)
    return _done(begun, act, recover)


def _done(begun: Begun, act: Act, recover: Recover) -> Response:
    try:
        response = recover(begun.made) if begun.made else act(begun.token)
    except BaseException:
        release(services().database, begun.token)
        raise
    kept = Kept(response.status_code, response.get_data(as_text=True), response.headers.get("Location"))
    settle(services().database, begun.token, kept)
    return response


def _replayed(kept: Kept) -> Response:
    response = Response(kept.body, kept.status, mimetype="application/json")
    if kept.location:
        response.headers["Location"] = kept.location
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _fingerprint(body: str | None) -> str:
    """SHA-256 of what the request asks for. The boundary of a multipart body, which changes, is no part of it."""
    files = []
    for field, file in request.files.items(multi=True):
        digest = hashlib.file_digest(file.stream, "sha256")  # type: ignore[arg-type]  # typed IO[bytes]
        file.stream.seek(0)
        files.append((field, file.filename, digest.hexdigest()))
    fields = list(request.form.items(multi=True))
    asked = [request.method, request.path, list(request.args.items(multi=True)), sorted(fields), sorted(files)]
    if body is None:
        body = hashlib.sha256(request.get_data() if not (files or fields) else b"").hexdigest()
    return hashlib.sha256(json.dumps([*asked, body]).encode()).hexdigest()
