"""ZIP archives that strangers sent: their directory is checked once, entries are read in place, nothing is unpacked."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from shared.errors import InvalidInput, UnusableImage

LOCAL_HEADER = 30  # bytes before the name in an entry's local header (APPNOTE 4.3.7)
# What zipfile and zlib raise for archives that are cut short or damaged.
DAMAGES = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError)
MAX_OFFSET = 2**62
END_RECORD, WIDE_RECORD = 22, 56  # bytes, without comments
END_REACH = 2**16 + 256  # bytes from the end within which the end records lie
LONG_RECORD = 200  # bytes of an entry in the directory, its name included; most are shorter
BOMB_FLOOR = 64 * 2**20  # below this size a high ratio is a blank page, not an attack


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Sizes in bytes; ``max_ratio`` is unpacked over packed."""

    max_entries: int
    max_entry: int
    max_ratio: float


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one entry's bytes lie. Enough to read it without the archive's directory."""

    name: str
    offset: int
    packed_size: int
    size: int
    method: int
    crc: int  # CRC-32 of the unpacked bytes


class Archive:
    """The directory of a ZIP archive, checked against the limits.

    Raises:
        InvalidInput: codes ``archive_not_zip``, ``archive_truncated``, ``archive_too_many_entries``,
            ``archive_bomb``, ``archive_encrypted``.
    """

    def __init__(self, file: BinaryIO, limits: ArchiveLimits) -> None:
        self._file = file
        self._limits = limits
        _refuse_crowded(file, limits.max_entries)  # before zipfile takes the whole directory into memory
        self._zip = _open_zip(file)
        for info in self._zip.infolist():
            _refuse_hostile(info, limits)

    def names(self) -> Iterator[str]:
        """Names of all files, in the archive's order, as they are written in it."""
        return (info.filename for info in self._zip.infolist() if not info.is_dir())

    def find(self, name: str) -> Entry | None:
        """The entry called ``name``; None when there is none.

        Raises:
            UnusableImage: code ``entry_name_unsafe``, for a name that is absolute or climbs with ``..``.
        """
        if is_unsafe(name):
            raise UnusableImage(
                "entry_name_unsafe", f"The name {name!r} is absolute or contains '..'; name files inside the archive."
            )
        info = self._zip.NameToInfo.get(name) or self._zip.NameToInfo.get(name.replace("/", "\\"))  # as old tools write
        if info is None:
            return None
        return Entry(
            info.filename, info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC
        )

    def read(self, entry: Entry) -> bytes:
        """The bytes of ``entry``; see :func:`read_entry`."""
        return read_entry(self._file, entry, self._limits.max_entry)

    def open_stream(self, name: str) -> BinaryIO:
        """``name`` as a stream, unpacked as it is read; reading may raise one of ``DAMAGES``.

        Raises:
            InvalidInput: codes ``archive_truncated``, ``archive_method_unknown``.
        """
        if self._zip.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InvalidInput("archive_method_unknown", f"{name} is packed in a rare way; use stored or deflate.")
        try:
            return self._zip.open(name)  # type: ignore[return-value]  # zipfile's own reader type; it reads bytes
        except DAMAGES as error:
            raise damaged() from error


def read_entry(file: BinaryIO, entry: Entry, max_entry: int) -> bytes:
    """The unpacked bytes of one entry, read at its offset.

    Raises:
        UnusableImage: codes ``entry_too_large``, ``entry_damaged``, ``entry_method_unknown``.
    """
    largest = max(entry.size, entry.packed_size)  # a directory that lies must not fill the memory either
    if largest > max_entry:
        raise UnusableImage("entry_too_large", f"{entry.name} has {largest:,} bytes; at most {max_entry:,} are read.")
    if not 0 <= entry.offset < MAX_OFFSET:  # the archive's first bytes are lost, or its directory lies
        raise _entry_damaged(entry)
    file.seek(entry.offset)
    header = file.read(LOCAL_HEADER)
    if len(header) < LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise _entry_damaged(entry)
    skip = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    file.seek(entry.offset + LOCAL_HEADER + skip)
    return _unpack(file.read(entry.packed_size), entry)


def _unpack(packed: bytes, entry: Entry) -> bytes:
    if entry.method == zipfile.ZIP_STORED:
        data = packed
    elif entry.method == zipfile.ZIP_DEFLATED:
        try:
            # One byte over the declared size is enough to see that the directory lied.
            data = zlib.decompressobj(-15).decompress(packed, entry.size + 1)
        except zlib.error as error:
            raise _entry_damaged(entry) from error
    else:
        raise UnusableImage(
            "entry_method_unknown", f"{entry.name} is packed by method {entry.method}; use stored or deflate."
        )
    if len(data) != entry.size or zlib.crc32(data) != entry.crc:
        raise _entry_damaged(entry)
    return data


def _entry_damaged(entry: Entry) -> UnusableImage:
    return UnusableImage("entry_damaged", f"{entry.name}: the archive is damaged at this entry. Make it anew.")


def damaged() -> InvalidInput:
    """What to say of an archive whose directory or manifest cannot be read."""
    return InvalidInput("archive_truncated", "The ZIP archive is cut short or damaged. Make it anew and send it again.")


def is_unsafe(name: str) -> bool:
    """Whether a name is absolute, has a drive letter, or climbs out with ``..``."""
    path = name.replace("\\", "/")
    return path.startswith("/") or ".." in path.split("/") or path[1:2] == ":"


def _open_zip(file: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except DAMAGES as error:
        file.seek(0)
        if file.read(4) == b"PK\x03\x04":
            raise damaged() from error
        raise InvalidInput(
            "archive_not_zip", "This is not a ZIP archive. Pack the files as ZIP and send that."
        ) from error


def _refuse_crowded(file: BinaryIO, most: int) -> None:
    """Refuse by what the end of the archive declares (APPNOTE 4.3.14 to 4.3.16); a damaged end is found later."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_REACH))
    tail = file.read(END_REACH)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < END_RECORD:
        return
    entries, directory = struct.unpack("<HL", tail[at + 10 : at + 16])
    wide = tail.rfind(b"PK\x06\x06", 0, at)
    if wide >= 0 and at - wide >= WIDE_RECORD:
        entries, directory = struct.unpack("<QQ", tail[wide + 32 : wide + 48])
    entries = max(entries, directory // LONG_RECORD)  # a count that is too low does not help
    if entries > most:
        raise InvalidInput(
            "archive_too_many_entries",
            f"The archive has {entries:,} entries or more, over the {most:,} allowed. Split it.",
        )


def _refuse_hostile(info: zipfile.ZipInfo, limits: ArchiveLimits) -> None:
    if not info.filename:
        raise damaged()
    if info.flag_bits & 0x1:
        raise InvalidInput(
            "archive_encrypted", f"The entry {info.filename} is encrypted. Send the archive without a password."
        )
    if info.file_size > BOMB_FLOOR and info.file_size > limits.max_ratio * max(info.compress_size, 1):
        raise InvalidInput(
            "archive_bomb",
            f"The entry {info.filename} would grow {info.file_size // max(info.compress_size, 1):,} times when "
            f"unpacked, to {info.file_size:,} bytes. It is refused as a decompression bomb.",
        )
