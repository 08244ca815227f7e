"""A terminal before the application."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from werkzeug.serving import make_server

from shared.db import Database
from web.cli.main import main
from web.people import create_first_person


@dataclass
class Terminal:
    """Runs commands against the application, served on a port."""

    url: str
    key: str

    def run(self, *arguments: str) -> Result:
        environment = {"COUNTERSIGN_URL": self.url, "COUNTERSIGN_API_KEY": self.key, "COLUMNS": "160"}
        return CliRunner().invoke(main, arguments, env=environment)


@contextmanager
def served(app: Flask, database: Database) -> Iterator[Terminal]:
    first = create_first_person(database)
    assert first is not None
    server = make_server("127.0.0.1", 0, app, threaded=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Terminal(f"http://127.0.0.1:{server.server_port}", first.api_key)
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def terminal(sqlite_app: Flask, sqlite_database: Database) -> Iterator[Terminal]:
    with served(sqlite_app, sqlite_database) as terminal:
        yield terminal
