"""The migrations make exactly the tables that the classes describe, and can be undone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from shared.db import MIGRATIONS, Database
from shared.errors import Conflict
from shared.tables import Base


def test_tables_and_migrations_agree(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_primary_keys_and_constraints_agree(database: Database) -> None:
    found = sa.inspect(database.engine)
    for table in Base.metadata.sorted_tables:
        assert found.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]
        unique = {tuple(each["column_names"]) for each in found.get_unique_constraints(table.name)}
        wanted = {tuple(c.columns.keys()) for c in table.constraints if isinstance(c, sa.UniqueConstraint)}
        assert unique == wanted


def test_the_newest_tables_are_left_alone(sqlite_url: str) -> None:
    """Alembic is not even loaded, which takes most of a second start's time for tables."""
    migrate = f"from shared.db import Database; Database({sqlite_url!r}).migrate()"
    code = f"import sys; {migrate}; print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_way_back_leaves_nothing(
    kind: str, request: pytest.FixtureRequest, new_postgresql: Callable[[str], str]
) -> None:
    url = request.getfixturevalue("sqlite_url") if kind == "sqlite" else new_postgresql("countersign_template")
    database = Database(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    for to in ("0001", "base"):
        with database.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, to)
        if to != "base":
            database.migrate()
            test_tables_and_migrations_agree(database)
    assert set(sa.inspect(database.engine).get_table_names()) <= {"alembic_version"}
    database.migrate()
    found = set(sa.inspect(database.engine).get_table_names())
    database.close()
    assert {table.name for table in Base.metadata.sorted_tables} <= found


def test_tables_of_another_version_are_refused_plainly(database: Database) -> None:
    with database.write() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="Start that version") as refused:
        database.migrate()
    assert refused.value.code == "tables_unknown"
