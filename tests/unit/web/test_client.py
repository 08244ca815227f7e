from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.errors import NotAuthorised, Unavailable
from web.client import ApiError, Client, find_server


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


def test_a_submission_is_never_sent_twice() -> None:
    with server((HANG_UP,)) as url, Client(url, "k") as client, pytest.raises(Unavailable) as caught:
        client.submit("verify", {}, [("archive", ("a.zip", io.BytesIO(b"x"), "application/zip"))])
    assert caught.value.code == "server_unreachable"


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
