"""CSV files within an archive: small, of any separator, read line by line so that a bad one costs only itself."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from shared.errors import CountersignError
from worker.ml.layouts.found import Skipped
from worker.ml.layouts.names import path_of

MAX_TABLE = 32 * 2**20  # bytes; half a million rows
_MAX_CELL = 1_000  # characters of a name
ReadTable = Callable[[str, int], bytes]
"""(entry, most bytes) -> content; raises CountersignError where the entry is larger or damaged."""


@dataclass(slots=True)
class Table:
    """The rows of one CSV file, each with its line (from 1), and the lines that are none."""

    entry: str
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, line: int, code: str, reason: str) -> None:
        """List one line as not used."""
        self.skipped.append(Skipped(self.entry, reason, code, line))


def read_table(entry: str, read: ReadTable) -> Table:
    """Read a CSV file as UTF-8, or as UTF-16 where its mark says so; cells are stripped, empty lines passed over.

    Nothing is raised: a file or line that cannot be read is listed in ``skipped`` with code table_unreadable,
    table_encoding or row_unreadable, or with the code that ``read`` raised.
    """
    table = Table(entry)
    try:
        text = _decoded(read(entry, MAX_TABLE))
    except CountersignError as error:
        table.skip(0, error.code, error.message)
        return table
    except UnicodeDecodeError:
        table.skip(0, "table_encoding", "not UTF-8 text: save it as 'CSV UTF-8'")
        return table
    lines = list(io.StringIO(text, newline=None))
    separator = max(",;\t", key=next((line for line in lines if line.strip()), "").count)
    for number, line in enumerate(lines, 1):
        if line.strip():
            _read_line(table, number, line, separator)
    if not table.rows:
        table.skip(0, "table_empty", "there is no row in it")
    return table


class Finder:
    """Finds the entry that a CSV file means by a path."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._exact: dict[str, str] = {}
        self._folded: dict[str, str | None] = {}
        for entry in entries:
            path = str(path_of(entry))
            self._exact[path] = entry
            folded = path.casefold()
            self._folded[folded] = None if folded in self._folded else entry  # two that differ in case alone

    def find(self, name: str, folders: Iterable[PurePosixPath]) -> str | None:
        """The entry called ``name`` in the first of ``folders`` that has it; the case may differ if one fits."""
        paths = [str(folder / path_of(name)) for folder in folders]
        for path in paths:
            if path in self._exact:
                return self._exact[path]
        return next((found for path in paths if (found := self._folded.get(path.casefold()))), None)


def _decoded(data: bytes) -> str:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig")


def _read_line(table: Table, number: int, line: str, separator: str) -> None:
    try:
        # Names hold no line breaks: with one line at a time, a stray quote cannot swallow the rows after it.
        cells = next(csv.reader([line.rstrip("\n")], delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        table.skip(number, "row_unreadable", f"cannot be read as CSV: {error}")
        return
    if any(len(cell) > _MAX_CELL or "\0" in cell for cell in cells):
        table.skip(number, "row_unreadable", f"a cell has over {_MAX_CELL:,} characters, or a NUL")
        return
    table.rows.append((number, [cell.strip() for cell in cells]))
