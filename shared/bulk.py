"""Many rows into one table at once, those that are there left as they are.

Both ways take half the time of a statement for each row (benchmarks/NOTES.md). Values are turned into what the driver
takes by the columns' own types, and none is written into the statement's text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

MANY = 32  # rows from which it is worth it
SQLITE_VALUES = 16_000  # in one statement; SQLite takes twice as many
SQLITE_ROWS = 500  # more at once are not quicker

Row = Mapping[str, Any]


def fits(table: sa.Table, rows: Sequence[Row]) -> bool:
    """Whether ``rows`` are worth it, and name all that the table's defaults would otherwise be made for, row by row."""
    given = rows[0].keys() if rows else ()
    return len(rows) >= MANY and all(column.default is None or column.name in given for column in table.columns)


def insert_new(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert ``rows``, which all have the same columns, but for those whose key is there (``ON CONFLICT DO NOTHING``).

    In the transaction of ``connection``, which is to SQLite or PostgreSQL.
    """
    columns = [table.columns[name] for name in rows[0]]
    values = _as_bound(connection.dialect, columns, rows)
    if connection.dialect.name == "sqlite":
        _in_statements(connection, table, columns, values)
    else:
        _by_copy(connection, table, columns, values)


def _as_bound(dialect: sa.Dialect, columns: Sequence[sa.Column[Any]], rows: Sequence[Row]) -> Iterable[Sequence[Any]]:
    """The rows as sequences of what the driver takes, column by column: one look at each type, not one a value."""
    turned = []
    for column in columns:
        values = [row[column.name] for row in rows]
        turn: Callable[[Any], Any] | None = column.type.dialect_impl(dialect).bind_processor(dialect)
        turned.append(values if turn is None else [turn(value) for value in values])
    return zip(*turned, strict=True)


def _in_statements(
    connection: sa.Connection, table: sa.Table, columns: Sequence[sa.Column[Any]], values: Iterable[Sequence[Any]]
) -> None:
    into, names = _names(connection.dialect, table, columns)
    one = f"({','.join('?' * len(columns))})"
    for part in _parts(list(values), min(SQLITE_ROWS, SQLITE_VALUES // len(columns))):
        rows = ",".join([one] * len(part))
        statement = f"INSERT INTO {into} ({names}) VALUES {rows} ON CONFLICT DO NOTHING"  # noqa: S608 (no value in it)
        connection.exec_driver_sql(statement, tuple(value for row in part for value in row))


def _by_copy(
    connection: sa.Connection, table: sa.Table, columns: Sequence[sa.Column[Any]], values: Iterable[Sequence[Any]]
) -> None:
    """Through a table of this transaction alone: COPY itself knows no ON CONFLICT."""
    into, names = _names(connection.dialect, table, columns)
    between = connection.dialect.identifier_preparer.quote(f"incoming_{table.name}")
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE {between} ON COMMIT DROP AS SELECT {names} FROM {into} WITH NO DATA"  # noqa: S608
    )
    statement = f"COPY {between} ({names}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    its_error = connection.dialect.loaded_dbapi.Error
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in values:
                copy.write_row(row)
    except its_error as error:  # told like those of all other statements: a full disk, a server that is away
        raise DBAPIError.instance(statement, None, error, its_error, dialect=connection.dialect) from error
    connection.exec_driver_sql(
        f"INSERT INTO {into} ({names}) SELECT {names} FROM {between} ON CONFLICT DO NOTHING"  # noqa: S608
    )
    connection.exec_driver_sql(f"DROP TABLE {between}")


def _names(dialect: sa.Dialect, table: sa.Table, columns: Sequence[sa.Column[Any]]) -> tuple[str, str]:
    quote = dialect.identifier_preparer
    return quote.format_table(table), ", ".join(quote.quote(column.name) for column in columns)


def _parts(rows: list[Sequence[Any]], size: int) -> Iterator[list[Sequence[Any]]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
