"""Answers of many rows: JSON a page, NDJSON and CSV streamed, all of them compressed for who asks."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Response, request, stream_with_context

from web.api.operations import CSV, JSON, NDJSON

MIN_COMPRESSED = 1024  # bytes; less is not worth it
COMPRESSED = {JSON, NDJSON, CSV, "application/problem+json"}
LEVEL = 5
GZIP = 31  # zlib's window with gzip's heading


def wanted_format(given: str | None) -> str:
    """``json``, ``ndjson`` or ``csv``: what the query gives, or else the header ``Accept``."""
    if given:
        return given
    best = request.accept_mimetypes.best_match([JSON, CSV, NDJSON])
    return {CSV: "csv", NDJSON: "ndjson"}.get(best or JSON, "json")


def csv_download(pieces: Iterator[str], filename: str) -> Response:
    """CSV text as a file to be saved, sent as it is made."""
    response = Response(stream_with_context(pieces), mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def ndjson_download(documents: Iterable[dict[str, Any]], filename: str) -> Response:
    """One JSON document a line, sent as they are made."""
    lines = (json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
    response = Response(stream_with_context(lines), mimetype=NDJSON)
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def compress(response: Response) -> Response:
    """Compress what a program asked to have compressed; a stream stays one."""
    if response.mimetype not in COMPRESSED or response.direct_passthrough or "Content-Encoding" in response.headers:
        return response
    response.vary.add("Accept-Encoding")
    if not request.accept_encodings["gzip"] or response.status_code in (204, 304):
        return response
    if response.is_streamed:
        response.response = _gzipped(response.iter_encoded())
        response.headers.pop("Content-Length", None)  # that of the plain body: no server may cut the packed one there
    elif len(response.get_data()) < MIN_COMPRESSED:
        return response
    else:
        response.set_data(b"".join(_gzipped([response.get_data()])))
    response.headers["Content-Encoding"] = "gzip"
    return response


def _gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    squeezed = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    for piece in pieces:
        if packed := squeezed.compress(piece):
            yield packed
    yield squeezed.flush()
