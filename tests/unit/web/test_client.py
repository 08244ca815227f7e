from __future__ import annotations

import asyncio
import inspect
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from flask import Flask

from shared.db import Database
from shared.errors import NotAuthorised, Unavailable
from tests.factories import ModelFile, batch_of, png, unbacked_model
from web.client import ApiError, AsyncClient, Client, Files, find_server
from web.client.common import POLL_SECONDS
from web.people import create_first_person


def failing() -> pytest.RaisesExc[ApiError]:
    return pytest.raises(ApiError)


OK, HANG_UP = "ok", "hang up"


@contextmanager
def server(
    *connections: tuple[str, ...], body: bytes = b'{"state": "running"}', status: str = "200 OK"
) -> Iterator[str]:
    """A server that does on each connection what is listed for it, request after request."""
    answer = (
        f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n".encode() + body
    )

    def serve(listening: socket.socket) -> None:
        for acts in connections:
            connection, _ = listening.accept()
            with connection:
                for act in acts:
                    connection.recv(65536)
                    if act == OK:
                        connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(20)
        assert not thread.is_alive(), "not all that was listed was asked for"


def test_a_look_survives_a_connection_that_the_server_closed() -> None:
    with server((OK, HANG_UP), (OK,)) as url, Client(url, "k") as client:
        assert client.job("job_1")["state"] == "running"
        assert client.job("job_1")["state"] == "running"


def test_watching_waits_for_a_server_that_is_restarted() -> None:
    done = b'{"state": "succeeded"}'
    with server((HANG_UP,), (HANG_UP,), (OK,), body=done) as url, Client(url, "k") as client:
        assert [job["state"] for job in client.watch("job_1")] == ["succeeded"]


def test_a_server_that_has_no_place_to_wait_is_not_asked_without_a_pause() -> None:
    asked: list[float] = []

    def answer(_: httpx.Request) -> httpx.Response:
        asked.append(time.monotonic())
        return httpx.Response(200, json={"state": "running" if len(asked) < 3 else "succeeded"})

    async def await_it() -> str:
        async with AsyncClient("http://test", "k", (), httpx.MockTransport(answer)) as client:
            return str((await client.wait("job_1"))["state"])

    with Client("http://test", "k", transport=httpx.MockTransport(answer)) as client:
        assert client.wait("job_1")["state"] == "succeeded"
    assert asked[1] - asked[0] >= POLL_SECONDS[0] <= asked[2] - asked[1]
    asked.clear()
    assert asyncio.run(await_it()) == "succeeded"
    assert asked[1] - asked[0] >= POLL_SECONDS[0] <= asked[2] - asked[1]


class Pipe(io.BytesIO):
    """What can be read once."""

    def seekable(self) -> bool:
        return False


def archive(stream: io.BytesIO) -> Files:
    return [("archive", ("a.zip", stream, "application/zip"))]


def test_a_submission_that_cannot_be_rewound_is_never_sent_twice() -> None:
    with server((HANG_UP,)) as url, Client(url, "k") as client, pytest.raises(Unavailable) as caught:
        client.submit("verify", {}, archive(Pipe(b"x")))
    assert caught.value.code == "server_unreachable"


def test_a_submission_whose_answer_was_lost_is_sent_again_with_its_key() -> None:
    seen: list[httpx.Request] = []

    def lose_the_first(request: httpx.Request) -> httpx.Response:
        request.read()
        seen.append(request)
        if len(seen) == 1:
            raise httpx.ReadError("cut off")
        return httpx.Response(202, json={"id": "job_1"})

    client = Client("http://test", "k", pauses=(0.0,), transport=httpx.MockTransport(lose_the_first))
    with client:
        assert client.submit("verify", {}, archive(io.BytesIO(b"some bytes")))["id"] == "job_1"
    assert len({request.headers["Idempotency-Key"] for request in seen}) == 1
    assert [b"some bytes" in request.content for request in seen] == [True, True]


def test_an_absent_server_is_told_of_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with Client(f"http://127.0.0.1:{taken.getsockname()[1]}", "k", pauses=(60.0,)) as client, failing_to_reach():
            client.submit("verify", {}, archive(io.BytesIO(b"x")))


def failing_to_reach() -> pytest.RaisesExc[Unavailable]:
    return pytest.raises(Unavailable, match="No answer")


BUSY = httpx.Response(429, headers={"Retry-After": "0"}, json={"code": "rate_limited", "detail": "Too many."})


def restless(busy: int) -> tuple[httpx.MockTransport, list[bytes]]:
    """A server that finds the first requests too many, and what it was sent."""
    seen: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.read())
        if len(seen) <= busy:
            return httpx.Response(429, headers=BUSY.headers, content=BUSY.content)
        return httpx.Response(
            404 if request.url.path.endswith("aa") else 200, json={"id": "job_1", "code": "file_unknown"}
        )

    return httpx.MockTransport(answer), seen


def test_a_client_that_asked_too_often_rests_and_goes_on() -> None:
    """Whatever it asks; a body is read anew for the next try."""
    acts: list[Callable[[Client], object]] = [
        lambda client: client.job("job_1"),
        lambda client: client.cancel("job_1"),
        lambda client: client.results_csv("job_1", io.BytesIO()),
        lambda client: client.upload_model(io.BytesIO(b"some bytes")),
        lambda client: client.submit("verify", {}, archive(io.BytesIO(b"some bytes"))),
    ]
    for act in acts:
        transport, seen = restless(2)
        with Client("http://test", "k", (0.0, 0.0, 0.0), transport) as client:
            act(client)
        assert len(seen) == 3
        assert all((b"some bytes" in body) == (b"some bytes" in seen[0]) for body in seen)


def test_a_client_that_is_never_let_in_gives_up() -> None:
    acts: list[Callable[[Client], object]] = [
        lambda client: client.job("job_1"),
        lambda client: client.model_file("m", io.BytesIO()),
    ]
    for act in acts:
        transport, seen = restless(99)
        with Client("http://test", "k", transport=transport) as client, failing() as caught:
            act(client)
        assert (caught.value.code, len(seen)) == ("rate_limited", 4)


def test_the_async_client_rests_too() -> None:
    async def work() -> None:
        async with AsyncClient("http://test", "k", transport=busy_line) as client:
            assert (await client.job("job_1"))["id"] == "job_1"
            target = io.BytesIO()
            await client.results_csv("job_1", target)
            assert target.getvalue()
            await client.upload_model(io.BytesIO(b"some bytes"))

    for busy in (1, 3):
        busy_line, seen = restless(busy)
        asyncio.run(work())
        assert len(seen) == 3 + busy


def test_the_client_against_the_application(sqlite_app: Flask, sqlite_database: Database) -> None:
    unbacked_model(sqlite_database)
    first = create_first_person(sqlite_database)
    assert first is not None
    with Client("http://localhost", first.api_key, transport=httpx.WSGITransport(sqlite_app)) as client:
        digest = client.send_file(io.BytesIO(png()), "q.png")
        assert client.send_file(io.BytesIO(png()), "q.png") == digest
        fields = {"questioned_digest": digest, "reference_digest": digest, "tag": "night"}
        job = client.submit("verify", fields, [], key="one")
        assert client.submit("verify", fields, [], key="one")["id"] == job["id"]
        assert [found["id"] for found in client.jobs(tag="night")] == [job["id"]]
        assert list(client.jobs(state="failed")) == []
        assert client.cancel(job["id"])["state"] == "cancelled"
        assert client.wait(job["id"])["state"] == "cancelled"
        assert client.retry(job["id"])["attempt"] == 2
        with pytest.raises(ApiError) as caught:
            client.finish(job["id"])
        assert caught.value.code == "job_not_finishable"
        assert [row["verdict"] for row in client.results(job["id"])] == [None]
        assert list(client.results(job["id"], "reject")) == []
        assert list(client.results(job["id"], scored=True)) == []  # nothing is, so it ends and is not asked on and on
        assert list(client.results(job["id"], after=1)) == []
        assert client.result(job["id"], 1)["verdict"] is None


def test_the_async_client() -> None:
    """Its requests are those of the other one; what it does with the answers is its own."""
    seen: list[httpx.Request] = []
    pages = [{"results": [{"ordinal": 1}], "next": 1}, {"results": [{"ordinal": 2}], "next": None}]
    states = iter(["running", "succeeded"])

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        seen.append(request)
        if len(seen) == 1:
            raise httpx.ReadError("cut off")
        if request.url.path.endswith("/results"):
            return httpx.Response(200, json=pages[int(request.url.params["after"])])
        if request.url.path.endswith("/models"):
            return httpx.Response(404, json={"code": "model_unknown", "detail": "There is none."})
        return httpx.Response(200, json={"id": "job_1", "state": next(states, "succeeded")})

    async def work() -> list[int]:
        async with AsyncClient("http://test", "k", (0.0,), httpx.MockTransport(answer)) as client:
            job = await client.submit("verify", {"tag": "night"}, archive(io.BytesIO(b"some bytes")))
            assert (await client.wait(job["id"]))["state"] == "succeeded"
            await client.cancel(job["id"])
            await client.finish(job["id"])
            await client.retry(job["id"])
            with failing() as caught:
                await client.models()
            assert caught.value.code == "model_unknown"
            return [row["ordinal"] async for row in client.results(job["id"])]

    assert asyncio.run(work()) == [1, 2]
    assert seen[0].headers["Idempotency-Key"] == seen[1].headers["Idempotency-Key"]
    assert b"some bytes" in seen[1].content
    assert seen[2].headers["Prefer"] == "wait=30"


def public(client: type) -> dict[str, inspect.Signature]:
    found = inspect.getmembers(client, inspect.isfunction)
    return {name: inspect.signature(method) for name, method in found if not name.startswith("_")}


def test_both_clients_can_do_the_same() -> None:
    """The same methods with the same parameters, documented, and of the same result once it is awaited."""
    one, other = public(Client), public(AsyncClient)
    assert set(one) == set(other)
    assert len(one) > 35
    for name, signature in one.items():
        assert list(signature.parameters.values()) == list(other[name].parameters.values()), name
        awaited = str(signature.return_annotation).replace("Iterator", "AsyncIterator")
        assert awaited == other[name].return_annotation, name
        both = getattr(Client, name), getattr(AsyncClient, name)
        assert all(method.__doc__ for method in both), name
        iterates = "Iterator" in awaited
        assert iterates or inspect.iscoroutinefunction(both[1]), f"{name} is to be awaited"


class Awaited(httpx.AsyncBaseTransport):
    """Carries awaited requests to a transport that waits."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        headers = {name: value for name, value in request.headers.items() if name != "transfer-encoding"}
        asked = httpx.Request(request.method, request.url, headers=headers, content=content)
        response = await asyncio.to_thread(self._transport.handle_request, asked)
        return httpx.Response(response.status_code, headers=response.headers, content=response.read())


def test_the_async_client_against_the_application(
    sqlite_app: Flask, sqlite_database: Database, tiny_model: ModelFile
) -> None:
    first = create_first_person(sqlite_database)
    assert first is not None
    batch = batch_of(("1", "0.png", "1.png"), images={"0.png": png(0), "1.png": png(1)})

    async def work() -> None:
        line = Awaited(httpx.WSGITransport(sqlite_app))
        async with AsyncClient("http://localhost", first.api_key, (0.0,), line, part=1000) as client:
            model = await client.upload_model(io.BytesIO(tiny_model.content), "sent")
            assert [each["label"] for each in await client.models()] == [model["label"]]
            assert (await client.card("sent")).startswith("# Model card")
            target = io.BytesIO()
            await client.model_file("sent", target)
            assert target.getvalue() == tiny_model.content
            digest = await client.send_file(io.BytesIO(png()), "q.png")
            assert (await client.file(digest))["filename"] == "q.png"
            assert len(batch) > 1000, "it goes in parts"
            job = await client.submit("verify", {"tag": "night"}, archive(io.BytesIO(batch)))
            assert (job["label"], job["tag"]) == ("a.zip", "night")
            assert [each["id"] async for each in client.jobs(tag="night")] == [job["id"]]
            await client.cancel(job["id"])
            assert [each["state"] async for each in client.watch(job["id"])] == ["cancelled"]
            with failing() as caught:
                await client.results_csv("job_unknown", target)
            assert caught.value.code == "job_unknown"
            await client.delete_model("sent")
            assert await client.models() == []

    asyncio.run(work())


def test_an_awaited_look_survives_a_connection_that_the_server_closed() -> None:
    async def work(url: str) -> list[str]:
        async with AsyncClient(url, "k") as client:
            return [(await client.job("job_1"))["state"] for _ in range(2)]

    with server((OK, HANG_UP), (OK,)) as url:
        assert asyncio.run(work(url)) == ["running", "running"]


def test_no_server() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        with Client(f"http://127.0.0.1:{taken.getsockname()[1]}", "k") as client:
            for call in (lambda: client.models(), lambda: client.results_csv("job_1", io.BytesIO())):
                with pytest.raises(Unavailable) as caught:
                    call()
                assert caught.value.code == "server_unreachable"


def test_the_servers_own_words_are_passed_on() -> None:
    body = json.dumps({"code": "job_unknown", "detail": "There is no job."}).encode()
    with server((OK,), body=body, status="404 NOT FOUND") as url, Client(url, "k") as client, failing() as caught:
        client.job("job_1")
    assert (caught.value.status, caught.value.code, caught.value.message) == (404, "job_unknown", "There is no job.")


def test_an_answer_that_is_not_ours() -> None:
    with (
        server((OK,), body=b"<html>Bad Gateway", status="502 Bad Gateway") as url,
        Client(url, "k") as client,
        failing() as caught,
    ):
        client.results_csv("job_1", io.BytesIO())
    assert (caught.value.status, caught.value.code) == (502, "http_error")


def test_find_server(tmp_path: Path) -> None:
    with pytest.raises(NotAuthorised, match="countersign up"):
        find_server(None, None, tmp_path)
    (tmp_path / "credentials.json").write_text('{"url": "http://kept", "api_key": "kept"}')
    assert find_server(None, None, tmp_path) == ("http://kept", "kept")
    assert find_server("http://given", "given", tmp_path) == ("http://given", "given")
    assert find_server("http://given", "given", tmp_path / "none") == ("http://given", "given")
