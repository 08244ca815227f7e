"""Large files in parts, from the sender's side: what has arrived before a cut is not sent again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from io import SEEK_END
from typing import IO, Any, Protocol

from shared.errors import CountersignError

PART = 64 * 2**20  # bytes of one request; a cut costs at most what the network held of it
PIECE = 2**20  # bytes read at a time
AWAY = "server_unreachable"  # it was there when the upload began: it may be starting anew
CUT = (AWAY, "upload_offset")


class Call(Protocol):
    """One request to the API: its answer, or the error of :class:`web.client.Client`."""

    def __call__(self, method: str, path: str, **options: Any) -> dict[str, Any]: ...


def length(stream: IO[bytes]) -> int:
    """How many bytes a stream that can be rewound has; it stands at its end afterwards."""
    return stream.seek(0, SEEK_END)


def send_in_parts(
    call: Call,
    stream: IO[bytes],
    told: dict[str, Any],
    *,
    part: int,
    pauses: Sequence[float],
) -> None:
    """Send ``stream``, of which ``told`` gives digest, size and filename, in parts of ``part`` bytes.

    After a cut it asks how much has arrived and goes on from there; it gives up, with the error of the last try, when
    ``pauses`` (seconds) are used up and nothing has arrived meanwhile. An upload that was begun before, by another
    process say, is gone on with.
    """
    begun = call("POST", "/uploads", json=told)
    path, offset, left = f"/uploads/{begun['id']}", begun["offset"], list(pauses)
    while offset < told["size"]:
        options = {"content": _pieces(stream, offset, part), "headers": {"Upload-Offset": str(offset)}}
        try:
            arrived = call("PATCH", path, timeout=None, **options)["offset"]
        except CountersignError as error:
            if not left or error.code not in CUT:
                raise
            time.sleep(left.pop(0))
            arrived = _arrived(call, path, told, offset)
        if arrived > offset:
            offset, left = arrived, list(pauses)


def _arrived(call: Call, path: str, told: dict[str, Any], known: int) -> int:
    """How much has arrived; ``known``, what had before, where the server is away.

    All of it, if the last part did and only its answer was lost: the upload is gone then, and the file is there.
    """
    try:
        return int(call("GET", path)["offset"])
    except CountersignError as error:
        if error.code == AWAY:
            return known
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return int(call("GET", f"/files/{told['digest']}")["size"])


def _pieces(stream: IO[bytes], offset: int, part: int) -> Iterator[bytes]:
    stream.seek(offset)
    while part > 0 and (piece := stream.read(min(PIECE, part))):
        part -= len(piece)
        yield piece
