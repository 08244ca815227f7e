"""A client of the API. The command line uses it; so may any script."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any
from urllib.parse import quote

import httpx

from shared.errors import CountersignError, NotAuthorised, Unavailable
from shared.webhooks.signing import verify_webhook as verify_webhook  # for programs that receive webhooks
from web.parts import PART, length, send_in_parts
from web.webhook_calls import WebhookCalls

TIMEOUT = httpx.Timeout(60.0, connect=5.0, write=None)
KEEP_SECONDS = 1.0  # an idle connection is used again; gunicorn closes them after two
SUBMIT_TIMEOUT = httpx.Timeout(None, connect=5.0)
LONG_POLL = 30  # seconds that the server is asked to hold an answer back
RESEND_PAUSES = (1.0, 3.0, 10.0)
POLL_SECONDS = (0.2, 2.0)  # first and longest pause between two looks at a job
AWAY_SECONDS = 120.0  # how long a job that is watched waits for its server

Document = dict[str, Any]
Files = list[tuple[str, tuple[str, IO[bytes], str]]]


class ApiError(CountersignError):
    """The server's own answer: its code, message and status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code, message)
        self.status = status


class Client(WebhookCalls):
    """Talks to one server with one key."""

    def __init__(
        self,
        url: str,
        key: str,
        pauses: Sequence[float] = RESEND_PAUSES,
        transport: httpx.BaseTransport | None = None,
        part: int = PART,
    ) -> None:
        self._pauses = pauses  # seconds before a submission whose answer was lost is sent again
        self._part = part  # bytes; larger files go in parts of this size
        headers = {"Authorization": f"Bearer {key}"}
        limits = httpx.Limits(keepalive_expiry=KEEP_SECONDS)
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/v1", headers=headers, timeout=TIMEOUT, limits=limits, transport=transport
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def submit(self, kind: str, fields: dict[str, str], files: Files, key: str | None = None) -> Document:
        """Queue a job, once: ``files`` are (field, (name, stream, media type)); streams are sent as they are read.

        Where the answer is lost, the same request is sent again, up to three times, if its streams can be rewound.
        It carries ``key``, or one of its own, so that it is never done twice. A large archive that can be rewound goes
        in parts before: see :meth:`send_file`.
        """
        fields, files = self._archive_before(fields, files)
        options = submission(kind, fields, files, key)
        for pause in self._pauses if rewindable(files) else ():
            try:
                return self._call("POST", "/jobs", **options)
            except (Unavailable, ApiError) as error:
                if not worth_again(error):
                    raise
            time.sleep(pause)
            rewind(files)
        return self._call("POST", "/jobs", **options)

    def send_file(self, stream: IO[bytes], filename: str) -> str:
        """The digest of a file, which is sent unless the server has it. Jobs name it, in ``archive_digest`` say.

        A file over 64 MiB goes in parts: after a cut it goes on where it stopped, also when it is called anew.
        """
        digest = hashlib.file_digest(stream, "sha256")  # type: ignore[arg-type]  # typed IO[bytes]
        name = f"sha256:{digest.hexdigest()}"
        try:
            self._call("GET", f"/files/{name}")
        except ApiError as error:
            if error.code != "file_unknown":
                raise
            size = length(stream)
            if size > self._part:
                told = {"digest": name, "size": size, "filename": filename}
                send_in_parts(self._call, stream, told, part=self._part, pauses=self._pauses)
                return name
            stream.seek(0)
            options = {"params": {"filename": filename}, "headers": content_digest(digest.digest())}
            self._call("PUT", "/files", content=stream, timeout=SUBMIT_TIMEOUT, **options)
        return name

    def _archive_before(self, fields: dict[str, str], files: Files) -> tuple[dict[str, str], Files]:
        """What is left to submit once a large archive was sent by itself."""
        for field, (filename, stream, _) in files:
            if field == "archive" and stream.seekable():
                large = length(stream) > self._part
                stream.seek(0)
                if large:
                    others = [file for file in files if file[0] != "archive"]
                    return fields | {"archive_digest": self.send_file(stream, filename)}, others
        return fields, files

    def job(self, job_id: str, wait: int = 0) -> Document:
        """The job; with ``wait``, once it has ended or after so many seconds (at most 60)."""
        return self._call("GET", f"/jobs/{job_id}", headers=waiting(wait))

    def jobs(self, **filters: str) -> Iterator[Document]:
        """Jobs, newest first, fetched a page at a time; ``kind``, ``state``, ``tag``, ``external_id`` choose some."""
        query: dict[str, Any] = filters | {"limit": 100}
        while True:
            page = self._call("GET", "/jobs", params=query)
            yield from page["jobs"]
            if page["next"] is None:
                return
            query["before"] = page["next"]

    def wait(self, job_id: str) -> Document:
        """The job once it has ended; it is not polled, the server holds its answer back."""
        while not ended(job := self.job(job_id, LONG_POLL)):
            pass
        return job

    def cancel(self, job_id: str) -> Document:
        return self._call("POST", f"/jobs/{job_id}/cancel", headers=once())

    def finish(self, job_id: str) -> Document:
        """End a training now, with the best weights so far."""
        return self._call("POST", f"/jobs/{job_id}/finish", headers=once())

    def retry(self, job_id: str) -> Document:
        """Queue a failed or cancelled job again, with only what is missing."""
        return self._call("POST", f"/jobs/{job_id}/retry", headers=once())

    def models(self, archived: bool = False) -> list[Document]:
        """The models that jobs may use; with ``archived`` all of them."""
        query = {"archived": "true"} if archived else {}
        found: list[Document] = self._call("GET", "/models", params=query)["models"]
        return found

    def model(self, name: str) -> Document:
        """One model version, by name, name@version, digest or alias."""
        return self._call("GET", _model(name))

    def model_file(self, name: str, target: IO[bytes]) -> None:
        """Write the file of a model into ``target``, as it arrives."""
        self._stream(f"{_model(name)}/file", {}, target)

    def upload_model(self, stream: IO[bytes], name: str | None = None) -> Document:
        """Register the model file in ``stream``; without ``name`` it keeps the one it was trained under."""
        digest = hashlib.file_digest(stream, "sha256")  # type: ignore[arg-type]  # typed IO[bytes]
        stream.seek(0)
        options = {"params": {"name": name} if name else {}, "headers": content_digest(digest.digest())}
        return self._call("POST", "/models", content=stream, timeout=SUBMIT_TIMEOUT, **options)

    def promote(self, name: str, note: str = "") -> Document:
        """Have verifications that name no model use this one, and keep why."""
        return self._call("POST", f"{_model(name)}/default", params={"note": note} if note else {})

    def make_candidate(self, name: str) -> Document:
        """Have jobs mean this one by ``candidate``."""
        return self._call("POST", f"{_model(name)}/candidate")

    def drop_candidate(self, name: str) -> Document:
        """Have ``candidate`` mean this one no longer."""
        return self._call("DELETE", f"{_model(name)}/candidate")

    def archive(self, name: str) -> Document:
        """Keep a model for reading: no new job may use it."""
        return self._call("POST", f"{_model(name)}/archive")

    def unarchive(self, name: str) -> Document:
        """Let new jobs use it again."""
        return self._call("POST", f"{_model(name)}/unarchive")

    def card(self, name: str) -> str:
        """The card of a model, in Markdown."""
        with self._told():
            response = self._request("GET", f"{_model(name)}/card", {})
        if response.is_error:
            raise problem_of(response)
        return response.text

    def watch(self, job_id: str) -> Iterator[Document]:
        """The job again and again until it has ended; the last one yielded has.

        A server that is away (restarted, say) is waited for, up to two minutes.
        """
        pause, longest = POLL_SECONDS
        seen = time.monotonic()
        while True:
            try:
                job = self.job(job_id)
            except Unavailable:
                if time.monotonic() - seen > AWAY_SECONDS:
                    raise
                time.sleep(longest)
                continue
            seen = time.monotonic()
            yield job
            if ended(job):
                return
            time.sleep(pause)
            pause = min(pause * 1.3, longest)

    def result(self, job_id: str, ordinal: int) -> Document:
        """One comparison with its answer; ``ordinal`` is its place in the batch, from 1."""
        return self._call("GET", f"/jobs/{job_id}/results/{ordinal}")

    def results(self, job_id: str, verdict: str | None = None) -> Iterator[Document]:
        """All results of a verification, or those of one verdict, fetched a page at a time."""
        return self._pages(f"/jobs/{job_id}/results", "results", {"verdict": verdict} if verdict else {})

    def results_csv(self, job_id: str, target: IO[bytes], verdict: str | None = None) -> None:
        """Write all results of a verification, or those of one verdict, as CSV into ``target``, as they arrive."""
        wanted = {"verdict": verdict} if verdict else {}
        self._stream(f"/jobs/{job_id}/results", {"format": "csv", **wanted}, target)

    def identifications(self, job_id: str) -> Iterator[Document]:
        """All answers of an identification, fetched a page at a time."""
        return self._pages(f"/jobs/{job_id}/identifications", "identifications")

    def identifications_csv(self, job_id: str, target: IO[bytes]) -> None:
        """Write all answers of an identification as CSV into ``target``, as they arrive."""
        self._csv(f"/jobs/{job_id}/identifications", target)

    def trials(self, job_id: str) -> list[Document]:
        """The trials of a search for settings, in the order they were begun."""
        found: list[Document] = self._call("GET", f"/jobs/{job_id}/trials")["trials"]
        return found

    def trials_csv(self, job_id: str, target: IO[bytes]) -> None:
        """Write them as CSV into ``target``."""
        self._csv(f"/jobs/{job_id}/trials", target)

    def files(self, job_id: str) -> list[Document]:
        """The files that a job left behind: name, size and digest of each."""
        found: list[Document] = self._call("GET", f"/jobs/{job_id}/files")["files"]
        return found

    def download(self, job_id: str, name: str, target: IO[bytes]) -> None:
        """Write one of them into ``target``, as it arrives."""
        self._stream(f"/jobs/{job_id}/files/{quote(name, safe='')}", {}, target)

    def _pages(self, path: str, member: str, query: Mapping[str, str] = MappingProxyType({})) -> Iterator[Document]:
        after = 0
        while True:
            page = self._call("GET", path, params={**query, "after": after, "limit": 1000})
            yield from page[member]
            if page["next"] is None:
                return
            after = page["next"]

    def _csv(self, path: str, target: IO[bytes]) -> None:
        self._stream(path, {"format": "csv"}, target)

    def _stream(self, path: str, query: dict[str, str], target: IO[bytes]) -> None:
        with self._told(), self._http.stream("GET", path, params=query) as response:
            if response.is_error:
                response.read()
                raise problem_of(response)
            for piece in response.iter_bytes():
                target.write(piece)

    def _call(self, method: str, path: str, **options: Any) -> Document:
        with self._told():
            response = self._request(method, path, options)
        return answered(response)

    def _request(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if method != "GET":
                raise
            return self._http.request(method, path, **options)  # the server closed the connection as we used it again

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise unreachable(self._http.base_url, error) from error


def submission(kind: str, fields: dict[str, str], files: Files, key: str | None) -> dict[str, Any]:
    """The request that queues a job, as httpx takes it."""
    # No limit on the wait: after the last byte of a large upload the server still stores and checks it.
    return {
        "params": {"kind": kind},
        "data": fields,
        "files": files,
        "headers": once(key),
        "timeout": SUBMIT_TIMEOUT,
    }


def content_digest(sha256: bytes) -> dict[str, str]:
    """The header that says what a body must be (RFC 9530)."""
    return {"Content-Digest": f"sha-256=:{base64.b64encode(sha256).decode()}:"}


def _model(name: str) -> str:
    return f"/models/{quote(name, safe='')}"


def once(key: str | None = None) -> dict[str, str]:
    """The header that has a request done once, however often it is sent."""
    return {"Idempotency-Key": key or str(uuid.uuid4())}


def waiting(seconds: int) -> dict[str, str]:
    """The header that has an answer held back."""
    return {"Prefer": f"wait={seconds}"} if seconds else {}


def ended(job: Document) -> bool:
    """Whether nothing more will happen to the job by itself."""
    return job["state"] in ("succeeded", "failed", "cancelled")


def rewindable(files: Files) -> bool:
    """Whether the streams can be sent a second time."""
    return all(stream.seekable() for _, (_, stream, _) in files)


def rewind(files: Files) -> None:
    """Have the streams begin anew."""
    for _, (_, stream, _) in files:
        stream.seek(0)


def worth_again(error: CountersignError) -> bool:
    """Whether the answer was lost on the way; a server that is not there, or refuses, is told of at once."""
    lost = error.code == "server_unreachable" and not isinstance(error.__cause__, httpx.ConnectError)
    return lost or error.code == "idempotency_in_flight"


def unreachable(url: httpx.URL, error: httpx.TransportError) -> Unavailable:
    """No answer came, in words."""
    return Unavailable("server_unreachable", f"No answer from {url}: {error}. Is 'countersign up' running?")


def answered(response: httpx.Response) -> Document:
    """The document of an answer.

    Raises:
        ApiError: the server refused.
    """
    if response.is_error:
        raise problem_of(response)
    document: Document = response.json() if response.content else {}
    return document


def problem_of(response: httpx.Response) -> ApiError:
    """What the server refused with."""
    try:
        problem = response.json()
        return ApiError(response.status_code, problem["code"], problem["detail"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return ApiError(response.status_code, "http_error", f"The server answered {response.status_code}.")


def find_server(url: str | None, key: str | None, home: Path) -> tuple[str, str]:
    """Address and key: those given, or those that the embedded stack in ``home`` left there.

    Raises:
        NotAuthorised: code ``key_missing``: neither is to be found.
    """
    path = home / "credentials.json"
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if url is None or url == kept.get("url"):  # the key of the local stack is for the local stack only
        url, key = kept.get("url"), key or kept.get("api_key")
    if not url or not key:
        raise NotAuthorised(
            "key_missing",
            f"No server is known. Start one with 'countersign up' (its home would be {home}), "
            "or set COUNTERSIGN_URL and COUNTERSIGN_API_KEY.",
        )
    return url, key
