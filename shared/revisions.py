"""Which revision tables are of, and whether it is the newest: told without SQLAlchemy, which takes long to load."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

MIGRATIONS = Path(__file__).with_name("migrations")
SQLITE = "sqlite:///"


def is_newest(revision: str | None) -> bool:
    """Whether no migration is left to do for tables of this revision."""
    newest = max(path.name for path in MIGRATIONS.glob("versions/[0-9]*.py"))  # begins with its revision
    return bool(revision) and newest.startswith(f"{revision}_")


def is_newest_sqlite(url: str) -> bool:
    """Whether ``url`` is of an SQLite file with the newest tables. Where that is not to be seen at once, it is not."""
    path = Path(url.removeprefix(SQLITE))
    if not url.startswith(SQLITE) or not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=0)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return False
    return row is not None and is_newest(row[0])
