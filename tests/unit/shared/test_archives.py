from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.archives import Archive, ArchiveLimits, is_unsafe, read_entry
from shared.errors import CountersignError, InvalidInput, UnusableImage
from shared.manifest import check_manifest
from tests.factories import bomb_of, manifest_of, png, zip_of

LIMITS = ArchiveLimits(max_entries=10, max_entry=2**20, max_ratio=400.0)


def opened(data: bytes, limits: ArchiveLimits = LIMITS) -> Archive:
    return Archive(io.BytesIO(data), limits)


def refusal(data: bytes, limits: ArchiveLimits = LIMITS) -> str:
    with pytest.raises(InvalidInput) as caught:
        opened(data, limits)
    assert len(caught.value.message) > 20
    return caught.value.code


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_entries_are_read_in_place(method: int) -> None:
    archive = opened(zip_of({"a/x.png": b"hello" * 100, "b.png": b""}, method))
    assert list(archive.names()) == ["a/x.png", "b.png"]
    entry = archive.find("a/x.png")
    assert entry is not None
    assert archive.read(entry) == b"hello" * 100
    empty = archive.find("b.png")
    assert empty is not None
    assert archive.read(empty) == b""


def test_folders_are_no_files() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.mkdir("folder")
        archive.writestr("folder/x.png", b"x")
    assert list(opened(out.getvalue()).names()) == ["folder/x.png"]


def test_an_absent_entry() -> None:
    assert opened(zip_of({"a": b"x"})).find("b") is None


def test_data_before_the_archive_does_not_matter() -> None:
    archive = opened(b"#!/bin/sh self-extracting\n" + zip_of({"a": b"inside"}))
    entry = archive.find("a")
    assert entry is not None
    assert archive.read(entry) == b"inside"


@pytest.mark.parametrize("data", [b"", b"P", b"not a zip at all", png(), b"Rar!\x1a\x07\x00" * 10])
def test_not_a_zip(data: bytes) -> None:
    assert refusal(data) == "archive_not_zip"


def test_a_truncated_zip() -> None:
    whole = zip_of({"a.png": png(), "b.png": png(1)})
    for length in (len(whole) - 1, len(whole) // 2, 10, 4):
        assert refusal(whole[:length]) == "archive_truncated"


def test_a_bomb() -> None:
    assert refusal(bomb_of()) == "archive_bomb"


def test_a_small_blank_page_is_no_bomb() -> None:
    assert list(opened(zip_of({"blank.bmp": bytes(2**20)})).names()) == ["blank.bmp"]


def test_too_many_entries() -> None:
    assert refusal(zip_of({str(number): b"" for number in range(11)})) == "archive_too_many_entries"
    opened(zip_of({str(number): b"" for number in range(10)}))


def test_an_encrypted_entry() -> None:
    data = bytearray(zip_of({"secret.png": b"content"}))
    data[data.find(b"PK\x01\x02") + 8] |= 0x1
    assert refusal(bytes(data)) == "archive_encrypted"


@pytest.mark.parametrize("name", ["../x.png", "a/../../x", "/etc/passwd", "C:\\x.png", "\\\\host\\x", "..", "a\\..\\b"])
def test_unsafe_names(name: str) -> None:
    assert is_unsafe(name)
    with pytest.raises(UnusableImage) as caught:
        opened(zip_of({name: b"x"})).find(name)
    assert caught.value.code == "entry_name_unsafe"


@pytest.mark.parametrize("name", ["x.png", "a/b/x.png", "..x.png", "a..b/x", "x/...", "ä/ß.png"])
def test_safe_names(name: str) -> None:
    assert not is_unsafe(name)
    assert opened(zip_of({name: b"x"})).find(name) is not None


def entry_fault(data: bytes, name: str = "a.bin", limits: ArchiveLimits = LIMITS) -> str:
    archive = opened(data, limits)
    entry = archive.find(name)
    assert entry is not None
    with pytest.raises(UnusableImage) as caught:
        archive.read(entry)
    assert name in caught.value.message
    return caught.value.code


def test_a_damaged_entry() -> None:
    content = random.Random(1).randbytes(3000) + bytes(3000)  # noqa: S311 (no secret)
    data = bytearray(zip_of({"a.bin": content}))
    data[60:200] = bytes(140)
    assert entry_fault(bytes(data)) == "entry_damaged"


def test_an_entry_whose_header_is_gone() -> None:
    data = bytearray(zip_of({"a.bin": b"content"}))
    data[0:4] = b"XXXX"
    assert entry_fault(bytes(data)) == "entry_damaged"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_directory_that_lies_about_the_size(method: int) -> None:
    for size in (5, 5000):
        data = bytearray(zip_of({"a.bin": b"content" * 10}, method))
        at = data.find(b"PK\x01\x02") + 24
        data[at : at + 4] = size.to_bytes(4, "little")
        assert entry_fault(bytes(data)) == "entry_damaged"


def test_an_entry_over_the_limit() -> None:
    limits = ArchiveLimits(10, 1024, 400.0)
    assert entry_fault(zip_of({"a.bin": bytes(1025)}), limits=limits) == "entry_too_large"


def test_an_entry_with_much_packed_data_is_not_read_into_memory() -> None:
    """The directory may say that a mountain of packed bytes unpacks to little; the mountain must not be read."""

    class Counting(io.BytesIO):
        largest = 0

        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            Counting.largest = max(Counting.largest, len(found))
            return found

    content = random.Random(2).randbytes(200_000)  # noqa: S311 (no secret)
    data = bytearray(zip_of({"a.bin": content}, zipfile.ZIP_STORED))
    at = data.find(b"PK\x01\x02") + 24
    data[at : at + 4] = (10).to_bytes(4, "little")
    archive = opened(bytes(data))
    entry = archive.find("a.bin")
    assert entry is not None
    Counting.largest = 0
    with pytest.raises(UnusableImage) as caught:
        read_entry(Counting(bytes(data)), entry, 1024)
    assert caught.value.code == "entry_too_large"
    assert Counting.largest < 2000


def test_an_unknown_method() -> None:
    assert entry_fault(zip_of({"a.bin": b"content" * 50}, zipfile.ZIP_LZMA)) == "entry_method_unknown"


def stream_fault(data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        check_manifest(opened(data))
    return caught.value.code


def test_a_manifest_that_cannot_be_unpacked() -> None:
    rows = [(number, f"{random.Random(number).random()}.png", "b.png") for number in range(500)]  # noqa: S311
    text = manifest_of(*rows)
    damages: list[Callable[[bytearray], object]] = [
        lambda data: data.__setitem__(slice(0, 4), b"XXXX"),
        lambda data: data.__setitem__(slice(60, 160), bytes(100)),
    ]
    for damage in damages:
        data = bytearray(zip_of({"manifest.csv": text}))
        damage(data)
        assert stream_fault(bytes(data)) == "archive_truncated"
    assert stream_fault(zip_of({"manifest.csv": text}, zipfile.ZIP_LZMA)) == "archive_method_unknown"


GOOD = zip_of({"manifest.csv": manifest_of(("1", "a.png", "b.png")), "a.png": png(0), "b.png": png(1)})


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_anywhere_is_answered_with_a_code(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for position, value in changes:
        data[position] = value
    with suppress(CountersignError):  # anything else is a fault of ours
        archive = opened(bytes(data))
        check_manifest(archive)
        for name in archive.names():
            with suppress(UnusableImage):
                entry = archive.find(name)
                assert entry is not None
                archive.read(entry)


def test_an_archive_that_lost_its_first_bytes_costs_the_entry_only() -> None:
    """zipfile then gives the first entry a negative offset; a seek there would raise OSError, the host's fault."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("first.png", b"first")
        archive.writestr("second.png", b"second")
    found = Archive(io.BytesIO(whole.getvalue()[20:]), LIMITS)
    first, second = found.find("first.png"), found.find("second.png")
    assert first is not None
    assert second is not None
    with pytest.raises(UnusableImage) as refusal:
        found.read(first)
    assert refusal.value.code == "entry_damaged"
    assert found.read(second) == b"second"


def test_a_stored_entry_whose_bytes_changed_is_not_taken_for_sound() -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("scan.bmp", b"ink" * 100)
    found = Archive(io.BytesIO(whole.getvalue().replace(b"ink" * 20, b"INK" * 20, 1)), LIMITS)
    entry = found.find("scan.bmp")
    assert entry is not None
    with pytest.raises(UnusableImage) as refusal:
        found.read(entry)
    assert refusal.value.code == "entry_damaged"


def test_names_that_old_tools_wrote_with_backslashes_are_found() -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = "scans\\a.png"
        archive.writestr(info, b"a")
    entry = Archive(whole, LIMITS).find("scans/a.png")
    assert entry is not None
