"""What the command line is given, as streams to send: files as they are, folders zipped on the way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click
from zipstream import ZipStream

SKIPPED = ("__MACOSX", ".DS_Store", "Thumbs.db")


class StreamedZip(io.RawIOBase):
    """A folder as a ZIP archive that is made while it is read: nothing is written to the disk."""

    def __init__(self, folder: Path) -> None:
        # Images are compressed already; storing them costs no time and lets the server read them in place.
        archive = ZipStream(sized=False)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not any(part in SKIPPED for part in path.parts):
                archive.add_path(path, path.relative_to(folder).as_posix())
        self._pieces: Iterator[bytes] = iter(archive)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # the buffer protocol has no type in 3.11
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


def open_archive(path: Path, needs_manifest: bool) -> tuple[str, IO[bytes]]:
    """The name and bytes of the archive at ``path``: a ZIP file, or a folder to be zipped."""
    if path.is_dir():
        if needs_manifest and not any(entry.name.lower() == "manifest.csv" for entry in path.iterdir()):
            raise click.ClickException(f"{path} has no manifest.csv (columns id,questioned,reference).")
        return f"{path.resolve().name}.zip", io.BufferedReader(StreamedZip(path), 1 << 20)
    return path.name, path.open("rb")
