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


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Count the rows that a test compares."""
    nights: dict[str, Night] = {}
    for name in ("sqlite_night", "postgresql_night", "night"):
        if name in request.fixturenames:
            nights[name] = request.getfixturevalue(name)
    before = {name: night.compared for name, night in nights.items()}
    yield
    _compared[request.node.name] = sum(night.compared - before[name] for name, night in nights.items())


_compared: dict[str, int] = {}  # by test


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was compared, for the table in docs/RELIABILITY.md."""
    if _compared:
        terminalreporter.section("rows compared with those of an undisturbed run")
        for name, rows in _compared.items():
            terminalreporter.write_line(f"{rows:7,}  {name}")
        terminalreporter.write_line(f"{sum(_compared.values()):7,}  in {len(_compared)} tests")


@pytest.fixture(params=KINDS)
def night(request: pytest.FixtureRequest) -> Night:
    """A stack on SQLite in every run of the tests, and on PostgreSQL too in ``make faults``."""
    found: Night = request.getfixturevalue(f"{request.param}_night")
    return found
