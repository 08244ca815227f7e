"""One stack of each kind that is there to be broken."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.factories import ModelFile
from tests.faults.night import Night, a_night
from tests.servers import Stack

_PATHS = (str(Path(__file__).parent / "poison"), os.environ.get("PYTHONPATH"))
POISON = {"PYTHONPATH": os.pathsep.join(filter(None, _PATHS))}  # makes one image deadly, and nothing else
KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)]


@pytest.fixture(scope="session")
def sqlite_night(short_tmp: Path, tiny_model: ModelFile) -> Iterator[Night]:
    """The embedded stack: SQLite."""
    with Stack(short_tmp / "night", POISON) as stack, a_night(stack, tiny_model) as night:
        yield night


@pytest.fixture(scope="session")
def postgresql_night(
    short_tmp: Path, session_postgresql: Callable[[str], str], tiny_model: ModelFile
) -> Iterator[Night]:
    """The same programs on PostgreSQL."""
    url = session_postgresql("template0")
    with Stack(short_tmp / "pg-night", POISON | {"DATABASE_URL": url}) as stack, a_night(stack, tiny_model) as night:
        yield night


@pytest.fixture(params=KINDS)
def night(request: pytest.FixtureRequest) -> Night:
    """A stack on SQLite in every run of the tests, and on PostgreSQL too in ``make faults``."""
    found: Night = request.getfixturevalue(f"{request.param}_night")
    return found
