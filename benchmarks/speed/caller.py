"""A program that calls the API, as light as its language allows: what it measures is not to be its own weight."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from http import HTTPStatus
from types import TracebackType
from urllib.parse import urlsplit

from benchmarks.speed.samples import Images
from web.client import Document, ended

WAIT = 30  # seconds that the server is asked to hold an answer back
CLOSED = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)


class Caller:
    """One connection that is kept. It asks what a sensible program asks: submit, wait, read."""

    def __init__(self, url: str, key: str) -> None:
        self._headers = {"Authorization": f"Bearer {key}"}
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)

    def __enter__(self) -> Caller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def submit_pair(self, model: str, images: Images) -> Document:
        """Queue one comparison, of the first of two images with the second, once: it carries an ``Idempotency-Key``."""
        key = str(uuid.uuid4())
        headers = {"Content-Type": f"multipart/form-data; boundary={key}", "Idempotency-Key": key}
        return self._asked("POST", "/jobs", _form(key, model, images), headers)[0]

    def result(self, job: Document) -> Document:
        """Wait until a job of one comparison has ended and read its result.

        Raises:
            RuntimeError: it failed, or left the comparison without an answer.
        """
        path = f"/jobs/{job['id']}"
        while not ended(job):
            job, headers = self._asked("GET", path, headers={"Prefer": f"wait={WAIT}"})
            if not ended(job) and "Preference-Applied" not in headers:
                time.sleep(float(headers["Retry-After"]))  # too many wait already
        result = self._asked("GET", f"{path}/results/1")[0]
        if job["state"] != "succeeded" or result["distance"] is None:
            raise RuntimeError(f"a comparison was not scored: {job['error']}, {result['message']}")
        return result

    def _asked(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[Document, http.client.HTTPMessage]:
        sent = method, f"/api/v1{path}", body, self._headers | (headers or {})
        try:
            self._connection.request(*sent)
            response = self._connection.getresponse()
        except CLOSED:  # by the server, which keeps idle ones for two seconds; nothing asked here is done twice
            self._connection.close()
            self._connection.request(*sent)
            response = self._connection.getresponse()
        document: Document = json.loads(response.read())
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{method} {path} was answered {response.status}: {document}")
        return document, response.headers


def _form(boundary: str, model: str, images: Images) -> bytes:
    """The body of a submission: ``multipart/form-data``."""
    parts = [(f'name="{name}"', value.encode()) for name, value in (("kind", "verify"), ("model", model))]
    for field, (name, data) in zip(("questioned", "reference"), images.items(), strict=True):
        parts.append((f'name="{field}"; filename="{name}"\r\nContent-Type: image/png', data))
    lines = [
        piece
        for told, data in parts
        for piece in (f"--{boundary}\r\nContent-Disposition: form-data; {told}\r\n\r\n".encode(), data, b"\r\n")
    ]
    return b"".join([*lines, f"--{boundary}--\r\n".encode()])
