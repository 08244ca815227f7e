"""A client's large files, over lines that break."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from flask import Flask

from shared.db import Database
from shared.errors import Unavailable
from shared.tables import PartialUpload, Upload
from tests.factories import batch_of, png, unbacked_model
from web.client import Client
from web.people import create_first_person

PART = 1000  # bytes


class BrokenLine(httpx.BaseTransport):
    """Breaks during the PATCH requests of these numbers: after half of the body, or after all of it.

    ``away`` further requests find no server after the first break.
    """

    def __init__(self, app: Flask, half: tuple[int, ...] = (), whole: tuple[int, ...] = (), away: int = 0) -> None:
        self._server = httpx.WSGITransport(app)
        self._half, self._whole = half, whole
        self.away = away
        self.sent: list[tuple[int, int]] = []  # offset and bytes of each part

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.sent and self.away:
            self.away -= 1
            raise httpx.ConnectError("refused")
        if request.method != "PATCH":
            return self._server.handle_request(request)
        body = request.read()
        self.sent.append((int(request.headers["Upload-Offset"]), len(body)))
        number = len(self.sent)
        if number not in self._half + self._whole:
            return self._server.handle_request(httpx.Request("PATCH", request.url, headers=told(request), content=body))
        arrived = body[: len(body) // 2] if number in self._half else body
        self._server.handle_request(httpx.Request("PATCH", request.url, headers=told(request), content=arrived)).read()
        raise httpx.ReadError("cut off")


def told(request: httpx.Request) -> dict[str, str]:
    return {name: request.headers[name] for name in ("Authorization", "Upload-Offset")}


@pytest.fixture
def key(sqlite_database: Database) -> str:
    unbacked_model(sqlite_database)
    first = create_first_person(sqlite_database)
    assert first is not None
    return first.api_key


def client_on(line: BrokenLine, key: str, pauses: tuple[float, ...] = (0.0,)) -> Client:
    return Client("http://localhost", key, pauses, line, PART)


def test_after_a_cut_only_the_rest_is_sent(sqlite_app: Flask, sqlite_database: Database, key: str) -> None:
    content = np.random.default_rng(1).bytes(3500)
    line = BrokenLine(sqlite_app, half=(2,), whole=(3,))
    with client_on(line, key) as client:
        digest = client.send_file(io.BytesIO(content), "people.zip")
        assert line.sent == [(0, 1000), (1000, 1000), (1500, 1000), (2500, 1000)]
        assert client.send_file(io.BytesIO(content), "people.zip") == digest
    with sqlite_database.read() as session:
        (stored,) = session.scalars(sa.select(Upload)).all()
        assert (stored.digest, stored.size, stored.filename) == (digest, 3500, "people.zip")
        assert session.scalars(sa.select(PartialUpload)).all() == []


def test_the_answer_to_the_last_part_may_be_lost(sqlite_app: Flask, sqlite_database: Database, key: str) -> None:
    line = BrokenLine(sqlite_app, whole=(2,))
    with client_on(line, key) as client:
        digest = client.send_file(io.BytesIO(bytes(1500)), "zeros")
    assert line.sent == [(0, 1000), (1000, 500)]
    with sqlite_database.read() as session:
        assert session.scalars(sa.select(Upload.digest)).all() == [digest]


def test_a_server_that_starts_anew_is_waited_for(sqlite_app: Flask, sqlite_database: Database, key: str) -> None:
    line = BrokenLine(sqlite_app, half=(1,), away=3)
    with client_on(line, key, (0.0, 0.0, 0.0)) as client:
        digest = client.send_file(io.BytesIO(bytes(1500)), "zeros")
    assert line.away == 0
    assert line.sent == [(0, 1000), (0, 1000), (500, 1000)]  # the second is refused: half of the first had arrived
    with sqlite_database.read() as session:
        assert session.scalars(sa.select(Upload.digest)).all() == [digest]


def test_a_server_that_stays_away_is_told_of(sqlite_app: Flask, key: str) -> None:
    line = BrokenLine(sqlite_app, half=(1,), away=99)
    with client_on(line, key, (0.0, 0.0)) as client, pytest.raises(Unavailable) as refused:
        client.send_file(io.BytesIO(bytes(1500)), "zeros")
    assert refused.value.code == "server_unreachable"


def test_what_was_given_up_is_gone_on_with(sqlite_app: Flask, sqlite_database: Database, key: str) -> None:
    content = np.random.default_rng(2).bytes(2500)
    with client_on(BrokenLine(sqlite_app, half=(2,)), key, ()) as client, pytest.raises(Unavailable):
        client.send_file(io.BytesIO(content), "people.zip")
    line = BrokenLine(sqlite_app)
    with client_on(line, key) as client:
        client.send_file(io.BytesIO(content), "people.zip")
    assert line.sent == [(1500, 1000)]


def test_a_large_archive_goes_in_parts_before_its_job(sqlite_app: Flask, sqlite_database: Database, key: str) -> None:
    batch = batch_of(("1", "0.png", "1.png"), images={"0.png": png(0), "1.png": png(1)})
    line = BrokenLine(sqlite_app, half=(1,))
    with client_on(line, key) as client:
        job = client.submit(
            "verify", {"tag": "night"}, [("archive", ("batch.zip", io.BytesIO(batch), "application/zip"))]
        )
    assert len(batch) > PART
    assert sum(size for _, size in line.sent) >= len(batch)
    assert (job["state"], job["tag"], job["label"]) == ("queued", "night", "batch.zip")


def test_what_was_sent_is_told_and_never_more_than_the_whole(sqlite_app: Flask, key: str) -> None:
    told: list[tuple[int, int]] = []
    line = BrokenLine(sqlite_app, half=(2,))
    with Client("http://localhost", key, (0.0,), line, PART, lambda *each: told.append(each)) as client:
        client.send_file(io.BytesIO(np.random.default_rng(3).bytes(2500)), "people.zip")
        assert told[-1] == (2500, 2500)
        assert {whole for _, whole in told} == {2500}
        assert [done for done, _ in told if done <= 1000] == [1000]
        told.clear()
        client.send_file(io.BytesIO(b"small"), "small")
        assert told == [(5, 5)]
