"""Blobs: uploads, model files, views and checkpoints. A folder by default."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from shared.errors import Conflict, NotFound, StorageFull, Unavailable

KEY = re.compile(r"[a-z]+/[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
PIECE = 1 << 20
STALE_SECONDS = 86_400.0  # since the last byte was written


@dataclass(frozen=True, slots=True)
class Stored:
    """What was stored: its key, ``sha256:`` digest and size in bytes."""

    key: str
    digest: str
    size: int


class BlobStore(Protocol):
    """Named, immutable byte strings. A blob is whole or absent, also after a crash, unless it grows by ``extend``.

    A blob whose row is not committed yet, or is about to go, is *loose*: should its program be killed in between, the
    mark stays, and the sweep removes the blob after a day.
    """

    def put(self, key: str, pieces: Iterable[bytes]) -> Stored: ...
    def put_all(self, blobs: Sequence[tuple[str, Iterable[bytes]]]) -> list[Stored]: ...
    def open(self, key: str) -> BinaryIO: ...
    def exists(self, key: str) -> bool: ...
    def delete(self, key: str) -> None: ...
    def length(self, key: str) -> int: ...
    def extend(self, key: str, position: int, piece: bytes) -> None: ...
    def move(self, key: str, target: str) -> None: ...
    def loosen(self, key: str) -> None: ...
    def fasten(self, key: str) -> None: ...
    def long_loose(self) -> list[str]: ...
    def expire(self, folder: str, seconds: float) -> int: ...


class FolderStore:
    """Blobs as files. Written to a temporary name, synced, then renamed into place."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root / "staging"
        self._loose = root / "loose"  # an empty file for each
        self._staging.mkdir(parents=True, exist_ok=True)
        self._sweep_out()

    def _sweep_out(self) -> None:
        """Remove what processes that were killed left half-written; a blob being written is never so old."""
        for path in self._staging.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - STALE_SECONDS:
                    path.unlink()

    def put(self, key: str, pieces: Iterable[bytes]) -> Stored:
        """Store ``pieces`` under ``key``, replacing what was there.

        Raises:
            StorageFull: the disk has no room; nothing is left behind.
            Unavailable: code ``storage_unavailable``.
        """
        return self.put_all([(key, pieces)])[0]

    def put_all(self, blobs: Sequence[tuple[str, Iterable[bytes]]]) -> list[Stored]:
        """Store several, each under its key, as ``put`` does; the disk is waited for less often than by one at a time.

        Each is whole or absent; should it raise, some may be there.
        """
        self._refuse_absence()
        with _full_disk_is_told(), ExitStack() as unless_stored:
            written = [self._write(key, pieces, unless_stored) for key, pieces in blobs]
            folders = {target.parent: None for _, _, target in written}
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            for _, temporary, target in written:
                temporary.replace(target)
            for folder in folders:
                _sync_folder(folder)
            unless_stored.pop_all()
        return [stored for stored, _, _ in written]

    def _write(self, key: str, pieces: Iterable[bytes], unless_stored: ExitStack) -> tuple[Stored, Path, Path]:
        """Write a blob under a temporary name, to the disk; what was stored, where it lies, and where it belongs."""
        target, digest, size = self._path(key), hashlib.sha256(), 0
        temporary = self._staging / secrets.token_hex(8)
        unless_stored.callback(temporary.unlink, missing_ok=True)
        with temporary.open("xb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                size += len(piece)
            file.flush()
            os.fsync(file.fileno())
        return Stored(key, f"sha256:{digest.hexdigest()}", size), temporary, target

    def open(self, key: str) -> BinaryIO:
        """A seekable file, for reading.

        Raises:
            NotFound: no such blob.
            Unavailable: code ``storage_unavailable``: the whole folder is away.
        """
        try:
            return self._path(key).open("rb")
        except FileNotFoundError as error:
            self._refuse_absence()
            raise NotFound("blob_missing", f"The stored file {key} is gone.") from error

    def exists(self, key: str) -> bool:
        return self._path(key).exists()

    def delete(self, key: str) -> None:
        """Remove a blob; no error when it is already gone."""
        with suppress(FileNotFoundError):
            self._path(key).unlink()
        self.fasten(key)

    def loosen(self, key: str) -> None:
        """Mark a blob that may belong to nobody: before it is stored, or before its row goes.

        Raises:
            StorageFull. Unavailable: code ``storage_unavailable``.
        """
        self._refuse_absence()
        with _full_disk_is_told():
            self._loose.mkdir(exist_ok=True)
            self._mark(key).touch()

    def fasten(self, key: str) -> None:
        """Take the mark away: the blob's row is committed, or the blob is gone."""
        with suppress(FileNotFoundError):
            self._mark(key).unlink()

    def long_loose(self) -> list[str]:
        """The keys of blobs that were loosened, and written, over a day ago: who did it is not at it any more."""
        found = []
        for path in self._loose.iterdir() if self._loose.is_dir() else ():
            key = path.name.replace(".", "/", 1)
            if max(_touched(path), _touched(self._path(key))) < time.time() - STALE_SECONDS:
                found.append(key)
        return found

    def _mark(self, key: str) -> Path:
        self._path(key)  # which refuses what is no key
        return self._loose / key.replace("/", ".", 1)

    def length(self, key: str) -> int:
        """How many bytes there are; 0 where there is no such blob. Raises Unavailable like ``open``."""
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            self._refuse_absence()
            return 0

    def _refuse_absence(self) -> None:
        """A shared folder that is not mounted looks like an empty one: nothing is gone that may come back."""
        if not self._staging.is_dir():
            raise Unavailable("storage_unavailable", "The storage is not there. Try again in a minute.")

    def extend(self, key: str, position: int, piece: bytes) -> None:
        """Append ``piece`` to a blob of exactly ``position`` bytes, which is made where there is none.

        Of two that append at the same place one is refused, and whatever stands before it is never changed.

        Raises:
            Conflict: code ``upload_offset``: the blob has another length.
            StorageFull: what found room is kept.
            Unavailable: code ``storage_unavailable``.
        """
        self._refuse_absence()
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _full_disk_is_told(), path.open("ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            length = os.fstat(file.fileno()).st_size
            if length != position:
                raise Conflict("upload_offset", f"The file has {length:,} bytes so far. Go on from there.")
            left = memoryview(piece)
            while left:
                left = left[file.write(left) :]

    def move(self, key: str, target: str) -> None:
        """Give a blob that has grown to its end another key, and have it survive a power cut.

        Raises:
            NotFound: code ``blob_missing``. Unavailable: code ``storage_unavailable``.
        """
        self._refuse_absence()
        place = self._path(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        with self.open(key) as file:
            os.fsync(file.fileno())
            self._path(key).replace(place)
        _sync_folder(place.parent)

    def expire(self, folder: str, seconds: float) -> int:
        """Remove the blobs of a folder, ``views`` say, that are older; what can be made anew. Returns how many.

        Raises:
            Unavailable: code ``storage_unavailable``.
        """
        self._refuse_absence()
        oldest, removed = time.time() - seconds, 0
        place = self._path(f"{folder}/any").parent
        for path in place.iterdir() if place.is_dir() else ():
            with suppress(FileNotFoundError):  # removed by another at this moment
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ValueError(f"not a blob key: {key!r}")
        return self.root / key


def _touched(path: Path) -> float:
    """When a file was last written; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def open_store(url: str) -> BlobStore:
    """The store that ``url`` names: a folder, as a path or ``file://``."""
    if "://" in url and not url.startswith("file://"):
        raise ValueError(f"STORAGE_URL must be a folder, got {url!r}")
    return FolderStore(Path(url.removeprefix("file://")))


def pieces_of(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes of ``stream``, a mebibyte at a time."""
    while piece := stream.read(PIECE):
        yield piece


@contextmanager
def _full_disk_is_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull from error
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)  # the rename itself must survive a power cut
    finally:
        os.close(handle)
