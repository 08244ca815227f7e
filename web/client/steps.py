"""Work of several requests, told step by step, so that both clients do the same: one waits for each, one awaits it.

A flow yields what is to be done next, is sent the answer or thrown the error, and returns what came out.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import SEEK_END
from types import MappingProxyType
from typing import IO, Any, TypeVar

import httpx

from shared.errors import CountersignError, Unavailable
from web.client.common import (
    AWAY_SECONDS,
    LONG_POLL,
    POLL_GROWTH,
    POLL_SECONDS,
    ApiError,
    Document,
    Files,
    Sent,
    content_digest,
    once,
    unknown,
)

PART = 64 * 2**20  # bytes of one request; a cut costs at most what the network held of it
PIECE = 2**20  # bytes read at a time
AWAY = "server_unreachable"  # it was there when the upload began: it may be starting anew
CUT = (AWAY, "upload_offset")
HELD_SECONDS = LONG_POLL / 2  # an answer that came sooner, and tells of no end, was not held back
SUBMIT_TIMEOUT = httpx.Timeout(None, connect=5.0)  # after the last byte the server still stores and checks
T = TypeVar("T")


class Body:
    """``size`` bytes of ``stream`` from ``offset``, read as they are sent; ``sent`` is told of each piece."""

    def __init__(self, stream: IO[bytes], offset: int, size: int, whole: int = 0, sent: Sent | None = None) -> None:
        self._stream, self._offset, self._size = stream, offset, size
        self._whole, self._sent = whole, sent

    def pieces(self) -> Iterator[bytes]:
        left = self._size
        self._stream.seek(self._offset)
        while left > 0 and (piece := self._stream.read(min(PIECE, left))):
            left -= len(piece)
            yield piece
            self._tell(left)

    async def awaited(self) -> AsyncIterator[bytes]:
        """The same, read in a thread: a disk that is slow holds nothing else up."""
        left = self._size
        self._stream.seek(self._offset)
        while left > 0 and (piece := await asyncio.to_thread(self._stream.read, min(PIECE, left))):
            left -= len(piece)
            yield piece
            self._tell(left)

    def _tell(self, left: int) -> None:
        if self._sent is not None:
            self._sent(min(self._offset + self._size - left, self._whole), self._whole)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request; ``options`` are as httpx takes them."""

    method: str
    path: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    body: Body | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing, for so many seconds."""

    seconds: float


Flow = Generator[Ask | Pause, Document, T]


def length(stream: IO[bytes]) -> int:
    """How many bytes a stream that can be rewound has; it stands at its end afterwards."""
    return stream.seek(0, SEEK_END)


def sha256_of(stream: IO[bytes]) -> bytes:
    """The digest of what is left of a stream."""
    return hashlib.file_digest(stream, "sha256").digest()  # type: ignore[arg-type]  # typed IO[bytes]


def submitting(kind: str, fields: dict[str, str], files: Files, key: str | None, pauses: Sequence[float]) -> Flow[Any]:
    """Queue a job, once: sent again under its key, where the answer is lost and the streams can be rewound."""
    options = {
        "params": {"kind": kind},
        "data": fields,
        "files": files,
        "headers": once(key),
        "timeout": SUBMIT_TIMEOUT,
    }
    again = all(stream.seekable() for _, (_, stream, _) in files)
    for pause in pauses if again else ():
        try:
            return (yield Ask("POST", "/jobs", options))
        except (Unavailable, ApiError) as error:
            if not _worth_again(error):
                raise
            rest = error.rest if isinstance(error, ApiError) else 0.0
        yield Pause(max(pause, rest))
        for _, (_, stream, _) in files:
            stream.seek(0)
    return (yield Ask("POST", "/jobs", options))


def _worth_again(error: CountersignError) -> bool:
    """Whether the answer was lost on the way; a server that is not there, or refuses, is told of at once."""
    lost = error.code == AWAY and not isinstance(error.__cause__, httpx.ConnectError)
    return lost or error.code in ("idempotency_in_flight", "rate_limited")


def large_archive(files: Files, part: int) -> tuple[str, IO[bytes]] | None:
    """Name and stream of an archive that is better sent by itself, before its job: it can be gone on with."""
    for field_name, (filename, stream, _) in files:
        if field_name == "archive" and stream.seekable():
            large = length(stream) > part
            stream.seek(0)
            if large:
                return filename, stream
    return None


def sending(
    stream: IO[bytes], filename: str, sha256: bytes, part: int, pauses: Sequence[float], sent: Sent | None = None
) -> Flow[str]:
    """Send a file of this digest unless the server has it; its name. From ``part`` bytes on it goes in parts."""
    name, size = f"sha256:{sha256.hex()}", length(stream)
    try:
        yield Ask("GET", f"/files/{name}")
    except ApiError as error:
        if error.code != "file_unknown":
            raise
    else:
        return name
    if size > part:
        yield from _in_parts(stream, {"digest": name, "size": size, "filename": filename}, part, pauses, sent)
    else:
        yield whole("PUT", "/files", stream, sha256, {"filename": filename}, sent)
    return name


def whole(
    method: str, path: str, stream: IO[bytes], sha256: bytes, query: dict[str, str], sent: Sent | None = None
) -> Ask:
    """The request that carries all of a stream, from its beginning."""
    size = length(stream)
    headers = content_digest(sha256) | {"Content-Length": str(size)}
    options = {"params": query, "headers": headers, "timeout": SUBMIT_TIMEOUT}
    return Ask(method, path, options, Body(stream, 0, size, size, sent))


def _in_parts(
    stream: IO[bytes], told: dict[str, Any], part: int, pauses: Sequence[float], sent: Sent | None
) -> Flow[None]:
    """Send ``stream``, of which ``told`` gives digest, size and filename, in parts of ``part`` bytes.

    After a cut it asks how much has arrived and goes on from there; it gives up, with the error of the last try, when
    ``pauses`` (seconds) are used up and nothing has arrived meanwhile. An upload that was begun before, by another
    process say, is gone on with.
    """
    begun = yield Ask("POST", "/uploads", {"json": told})
    path, offset, left = f"/uploads/{begun['id']}", begun["offset"], list(pauses)
    while offset < told["size"]:
        options = {"headers": {"Upload-Offset": str(offset)}, "timeout": None}
        try:
            body = Body(stream, offset, min(part, told["size"] - offset), told["size"], sent)
            arrived = (yield Ask("PATCH", path, options, body))["offset"]
        except CountersignError as error:
            if not left or error.code not in CUT:
                raise
            yield Pause(left.pop(0))
            arrived = yield from _arrived(path, told, offset)
        if arrived > offset:
            offset, left = arrived, list(pauses)


def _arrived(path: str, told: dict[str, Any], known: int) -> Flow[int]:
    """How much has arrived; ``known``, what had before, where the server is away.

    All of it, if the last part did and only its answer was lost: the upload is gone then, and the file is there.
    """
    try:
        return int((yield Ask("GET", path))["offset"])
    except CountersignError as error:
        if error.code == AWAY:
            return known
        if not unknown(error):
            raise
    return int((yield Ask("GET", f"/files/{told['digest']}"))["size"])


class Looks:
    """When a job that is watched is looked at again: ever more seldom, and patiently where the server is away."""

    def __init__(self) -> None:
        self._pause, self._longest = POLL_SECONDS
        self._answered = time.monotonic()

    def missed(self, error: Unavailable) -> float:
        """Seconds to the next look after one that found no server; ``error`` itself after two minutes of them."""
        if time.monotonic() - self._answered > AWAY_SECONDS:
            raise error
        return self._longest

    def held_back(self) -> float:
        """Seconds to the next look after one that the server was to hold back: none unless it had no place for it."""
        taken, pause = time.monotonic() - self._answered, self.answered()
        return pause if taken < HELD_SECONDS else 0.0

    def answered(self) -> float:
        """Seconds to the next look after one that was answered."""
        self._answered, pause = time.monotonic(), self._pause
        self._pause = min(pause * POLL_GROWTH, self._longest)
        return pause
