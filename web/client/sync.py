"""The client of the API for programs that wait for their answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from types import TracebackType
from typing import IO, Any, TypeVar

import httpx

from shared.errors import CountersignError, Unavailable
from web.client.calls import Calls
from web.client.common import (
    CUT_OFF,
    LONG_POLL,
    RESEND_PAUSES,
    Document,
    Files,
    Sent,
    answered,
    ended,
    problem_of,
    rest,
    settings_of,
    unreachable,
)
from web.client.steps import PART, Ask, Body, Flow, Looks, Pause, large_archive, sending, sha256_of, submitting, whole

T = TypeVar("T")


class Client(Calls):
    """Talks to one server with one key."""

    def __init__(
        self,
        url: str,
        key: str,
        pauses: Sequence[float] = RESEND_PAUSES,
        transport: httpx.BaseTransport | None = None,
        part: int = PART,
        sent: Sent | None = None,
    ) -> None:
        self._pauses = pauses  # seconds before a submission whose answer was lost is sent again
        self._part = part  # bytes; larger files go in parts of this size
        self._tell = sent  # is told of files that go by themselves
        self._http = httpx.Client(transport=transport, **settings_of(url, key))

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
        if large := large_archive(files, self._part):
            fields = fields | {"archive_digest": self.send_file(large[1], large[0])}
            files = [file for file in files if file[0] != "archive"]
        return self._run(submitting(kind, fields, files, key, self._pauses))

    def send_file(self, stream: IO[bytes], filename: str) -> str:
        """The digest of a file, which is sent unless the server has it. Jobs name it, in ``archive_digest`` say.

        A file over 64 MiB goes in parts: after a cut it goes on where it stopped, also when it is called anew.
        """
        return self._run(sending(stream, filename, sha256_of(stream), self._part, self._pauses, self._tell))

    def upload_model(self, stream: IO[bytes], name: str | None = None) -> Document:
        """Register the model file in ``stream``; without ``name`` it keeps the one it was trained under."""
        return self._do(whole("POST", "/models", stream, sha256_of(stream), {"name": name} if name else {}, self._tell))

    def wait(self, job_id: str) -> Document:
        """The job once it has ended; it is not polled, the server holds its answer back."""
        looks = Looks()
        while not ended(job := self.job(job_id, LONG_POLL)):
            time.sleep(looks.held_back())
        return job

    def watch(self, job_id: str) -> Iterator[Document]:
        """The job again and again until it has ended; the last one yielded has.

        A server that is away (restarted, say) is waited for, up to two minutes.
        """
        looks = Looks()
        while True:
            try:
                job = self.job(job_id)
            except Unavailable as error:
                time.sleep(looks.missed(error))
                continue
            pause = looks.answered()
            yield job
            if ended(job):
                return
            time.sleep(pause)

    def _run(self, flow: Flow[T]) -> T:
        go_on = partial(next, flow)
        while True:
            try:
                step = go_on()
            except StopIteration as done:
                result: T = done.value
                return result
            try:
                go_on = partial(flow.send, self._do(step))
            except CountersignError as error:
                go_on = partial(flow.throw, error)

    def _do(self, step: Ask | Pause) -> Document:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return {}
        return self._call(step.method, step.path, body=step.body, **step.options)

    def _pages(self, path: str, member: str, cursor: str, query: dict[str, Any]) -> Iterator[Document]:
        more = True
        while more:
            page = self._call("GET", path, params=query)
            yield from page[member]
            more = page["next"] not in (None, query.get(cursor))  # the same: no more for now
            query = query | {cursor: page["next"]}

    def _stream(self, path: str, query: dict[str, str], target: IO[bytes]) -> None:
        for tried in count():
            pause = self._written(path, query, target, tried)
            if pause is None:
                return
            time.sleep(pause)

    def _written(self, path: str, query: dict[str, str], target: IO[bytes], tried: int) -> float | None:
        with self._told(), self._http.stream("GET", path, params=query) as response:
            if response.is_error:
                response.read()
                if (pause := rest(response, tried)) is None:
                    raise problem_of(response)
                return pause
            for piece in response.iter_bytes():
                target.write(piece)
        return None

    def _text(self, path: str) -> str:
        response = self._request("GET", path)
        if response.is_error:
            raise problem_of(response)
        return response.text

    def _call(self, method: str, path: str, **options: Any) -> Document:
        return answered(self._request(method, path, **options))

    def _request(self, method: str, path: str, body: Body | None = None, **options: Any) -> httpx.Response:
        for tried in count():
            content = {"content": body.pieces()} if body else {}
            response = self._sent(method, path, **options, **content)
            pause = rest(response, tried) if "files" not in options else None  # those are rewound by who sends them
            if pause is None:
                break
            time.sleep(pause)
        return response

    def _sent(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._told():
            try:
                return self._http.request(method, path, **options)
            except CUT_OFF:
                if method != "GET":
                    raise
                return self._http.request(method, path, **options)  # the server closed the connection as it was used

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise unreachable(self._http.base_url, error) from error
