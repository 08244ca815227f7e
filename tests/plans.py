"""How SQLite means to find what it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from shared.db import Database


@contextmanager
def plans_of(database: Database) -> Iterator[list[str]]:
    """Within, the steps of each query that ``database`` is asked, as they come."""
    plans: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            plan = connection.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(str(row[-1]) for row in plan)

    sa.event.listen(database.engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", explain)
