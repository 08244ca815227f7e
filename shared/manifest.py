"""``manifest.csv``: one comparison a row. Read as spreadsheets of all countries write it, one row at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from shared.archives import DAMAGES, Archive, damaged
from shared.errors import Fault, InvalidInput

REQUIRED = ("id", "questioned", "reference")
OPTIONAL = ("questioned_page", "reference_page", "questioned_box", "reference_box", "tag")
SEVERAL = "|"
MAX_ID = 255
MAX_TAG = 80
MAX_NAME = 600  # characters of up to four bytes: PostgreSQL's indexes take 2,700 bytes
MAX_LINE = 1 << 20  # characters; a longer line is no table, and must not fill the memory


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image a row names. ``page`` counts from 1; ``box`` is x, y, w, h in pixels of that page."""

    entry: str
    page: int = 1
    box: tuple[int, int, int, int] | None = None

    @property
    def box_text(self) -> str | None:
        return " ".join(map(str, self.box)) if self.box else None

    @property
    def name(self) -> str:
        """Tells the region within its upload."""
        return f"{self.entry}#{self.page}" + (f"[{self.box_text}]" if self.box else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``fault`` says what is wrong with it; then the images may be missing."""

    line: int
    external_id: str
    questioned: ImageRef | None
    references: tuple[ImageRef, ...]
    fault: Fault | None = None
    tag: str | None = None  # the sender's, given back with the answer


def manifest_name(archive: Archive) -> str:
    """The archive's ``manifest.csv``: at its root, or in its only outer folder; upper case is fine.

    Raises:
        InvalidInput: code ``manifest_missing``.
    """
    found = [n for n in archive.names() if n.rpartition("/")[2].lower() == "manifest.csv" and "__MACOSX" not in n]
    found.sort(key=lambda name: name.count("/"))
    if not found:
        raise InvalidInput(
            "manifest_missing",
            "The archive has no manifest.csv. Add one with the columns id,questioned,reference beside the images.",
        )
    return found[0]


def check_manifest(archive: Archive) -> None:
    """Make sure that a batch can be taken in: manifest there, its columns, at least one row.

    Raises:
        InvalidInput: codes ``manifest_missing``, ``manifest_columns``, ``manifest_empty``, ``manifest_unreadable``.
    """
    with archive.open_stream(manifest_name(archive)) as stream:
        next(read_manifest(stream, max_references=1))


def read_manifest(stream: BinaryIO, max_references: int) -> Iterator[Row]:
    """Yield the rows in order. A bad row is yielded with its fault; the rows after it are read all the same.

    Raises:
        InvalidInput: codes ``manifest_columns``, ``manifest_empty``, ``manifest_unreadable``, ``archive_truncated``.
    """
    lines = _lines(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
    try:
        header = next(lines, "")
        reader = csv.reader(lines, delimiter=_separator(header), skipinitialspace=True)
        columns = _columns(next(csv.reader([header], delimiter=_separator(header), skipinitialspace=True), []))
        empty, line = True, 2
        for cells in reader:
            if any(cell.strip() for cell in cells):
                empty = False
                yield _row(line, cells, columns, max_references)
            line = reader.line_num + 2  # the row that follows begins there; rows may hold line breaks
    except UnicodeDecodeError as error:
        raise InvalidInput("manifest_unreadable", "manifest.csv is not UTF-8 text. Save it as 'CSV UTF-8'.") from error
    except csv.Error as error:
        raise InvalidInput("manifest_unreadable", f"manifest.csv cannot be read as CSV: {error}.") from error
    except DAMAGES as error:
        raise damaged() from error
    if empty:
        raise InvalidInput("manifest_empty", "manifest.csv has a heading but no rows. Add one row for each comparison.")


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise InvalidInput("manifest_unreadable", f"manifest.csv has a line of over {MAX_LINE:,} characters.")
        yield line


def _separator(header: str) -> str:
    return max(",;\t", key=header.count)


def _columns(heading: list[str]) -> dict[str, int]:
    columns = {cell.strip().strip('"').lower(): position for position, cell in enumerate(heading)}
    if len(columns) < len(heading):
        _refuse_repeated([cell.strip().strip('"').lower() for cell in heading])
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise InvalidInput(
            "manifest_columns",
            f"manifest.csv has no column {' and no column '.join(missing)}. Its first line must name the columns "
            f"{','.join(REQUIRED)}; it reads: {','.join(heading)[:200] or 'nothing'}.",
            tuple(Fault("manifest_columns", f"the column {name} is missing", "line 1") for name in missing),
        )
    return columns


def _refuse_repeated(names: list[str]) -> None:
    """Of two columns of one name one would be ignored, and nobody would know which."""
    repeated = sorted(name for name in (*REQUIRED, *OPTIONAL) if names.count(name) > 1)
    if repeated:
        raise InvalidInput(
            "manifest_columns",
            f"manifest.csv has more than one column {' and '.join(repeated)}. Leave one of each.",
            tuple(Fault("manifest_columns", f"the column {name} comes twice", "line 1") for name in repeated),
        )


class _BadCell(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _row(line: int, cells: list[str], columns: dict[str, int], max_references: int) -> Row:
    def cell(name: str) -> str:
        position = columns.get(name, -1)
        return cells[position].strip() if 0 <= position < len(cells) else ""

    external_id, tag = cell("id"), cell("tag")
    try:
        if any("\0" in text for text in cells):
            raise _BadCell("row_invalid", "the row contains NUL characters")
        if not external_id:
            raise _BadCell("id_missing", "the id is empty")
        if len(external_id) > MAX_ID:
            raise _BadCell("id_too_long", f"the id has {len(external_id)} characters; at most {MAX_ID} are kept")
        if len(tag) > MAX_TAG:
            raise _BadCell("tag_too_long", f"the tag has {len(tag)} characters; at most {MAX_TAG} are kept")
        questioned = _images(cell("questioned"), cell("questioned_page"), cell("questioned_box"), "questioned", 1)
        references = _images(
            cell("reference"), cell("reference_page"), cell("reference_box"), "reference", max_references
        )
    except _BadCell as error:
        fault = Fault(error.code, f"Line {line}: {error}.", f"line {line}")
        kept = tag[:MAX_TAG].replace("\0", "") or None
        return Row(line, external_id[:MAX_ID].replace("\0", ""), None, (), fault, kept)
    return Row(line, external_id, questioned[0], references, tag=tag or None)


def _images(names: str, pages: str, boxes: str, column: str, most: int) -> tuple[ImageRef, ...]:
    entries = [_clean(part) for part in names.split(SEVERAL) if part.strip()]
    if not entries:
        raise _BadCell(f"{column}_missing", f"no image is named in the column {column}")
    if len(entries) > most:
        raise _BadCell(f"{column}_too_many", f"{len(entries)} images are named in the column {column}; at most {most}")
    if any(len(entry) > MAX_NAME for entry in entries):
        raise _BadCell(f"{column}_too_long", f"an image name in the column {column} is over {MAX_NAME} characters")
    page_of = _spread(pages, len(entries), f"{column}_page")
    box_of = _spread(boxes, len(entries), f"{column}_box")
    return tuple(
        ImageRef(entry, _page(page, column), _box(box, column))
        for entry, page, box in zip(entries, page_of, box_of, strict=True)
    )


def _clean(name: str) -> str:
    return name.strip().replace("\\", "/").removeprefix("./")


def _spread(text: str, count: int, column: str) -> list[str]:
    """One value for each image; a single value serves them all."""
    parts = [part.strip() for part in text.split(SEVERAL)]
    if len(parts) == 1:
        return parts * count
    if len(parts) != count:
        raise _BadCell(f"{column}_invalid", f"{column} has {len(parts)} values for {count} images")
    return parts


def _page(text: str, column: str) -> int:
    if not text:
        return 1
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) < 1:
        raise _BadCell(f"{column}_page_invalid", f"{column}_page is {text[:40]!r}; pages count from 1")
    return int(text)


def _box(text: str, column: str) -> tuple[int, int, int, int] | None:
    if not text:
        return None
    numbers = text.replace(",", " ").split()
    usable = len(numbers) == 4 and all(n.isascii() and n.isdigit() and len(n) < 8 for n in numbers)
    if not usable or int(numbers[2]) < 1 or int(numbers[3]) < 1:
        raise _BadCell(f"{column}_box_invalid", f"{column}_box is {text[:40]!r}; write 'x y w h' in pixels")
    x, y, w, h = map(int, numbers)
    return x, y, w, h
