"""The CSV tables of an evaluation, in pieces of bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

PIECE_ROWS = 2000
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_pieces(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[bytes]:
    """A CSV file (UTF-8, CRLF). Texts that a spreadsheet would run are quoted; numbers keep their sign."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    for count, row in enumerate(rows, 1):
        writer.writerow([_cell(value) for value in row])
        if count % PIECE_ROWS == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
    return f"{value:.7g}" if isinstance(value, float) else value
