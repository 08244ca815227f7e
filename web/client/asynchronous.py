"""The client of the API for programs that await their answers."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from types import TracebackType
from typing import IO, Any, TypeVar

import httpx

from shared.errors import CountersignError, Unavailable
from web.client.async_calls import AsyncCalls
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


class AsyncClient(AsyncCalls):
    """Talks to one server with one key; its methods do as those of :class:`web.client.Client`."""

    def __init__(
        self,
        url: str,
        key: str,
        pauses: Sequence[float] = RESEND_PAUSES,
        transport: httpx.AsyncBaseTransport | None = None,
        part: int = PART,
        sent: Sent | None = None,
    ) -> None:
        self._pauses = pauses
        self._part = part
        self._tell = sent
        self._http = httpx.AsyncClient(transport=transport, **settings_of(url, key))

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def submit(self, kind: str, fields: dict[str, str], files: Files, key: str | None = None) -> Document:
        """Queue a job, once. A large archive goes in parts before; what else is sent is read whole first.

        Reading a file as it is sent would stop all else that awaits.
        """
        if large := large_archive(files, self._part):
            fields = fields | {"archive_digest": await self.send_file(large[1], large[0])}
            files = [file for file in files if file[0] != "archive"]
        read = [
            (field, (name, io.BytesIO(await asyncio.to_thread(stream.read)), media))
            for field, (name, stream, media) in files
        ]
        return await self._run(submitting(kind, fields, list(read), key, self._pauses))

    async def send_file(self, stream: IO[bytes], filename: str) -> str:
        """The digest of a file, which is sent unless the server has it; over 64 MiB in parts."""
        sha256 = await asyncio.to_thread(sha256_of, stream)
        return await self._run(sending(stream, filename, sha256, self._part, self._pauses, self._tell))

    async def upload_model(self, stream: IO[bytes], name: str | None = None) -> Document:
        """Register the model file in ``stream``; without ``name`` it keeps the one it was trained under."""
        sha256 = await asyncio.to_thread(sha256_of, stream)
        return await self._do(whole("POST", "/models", stream, sha256, {"name": name} if name else {}, self._tell))

    async def wait(self, job_id: str) -> Document:
        """The job once it has ended; it is not polled, the server holds its answer back."""
        looks = Looks()
        while not ended(job := await self.job(job_id, LONG_POLL)):
            await asyncio.sleep(looks.held_back())
        return job

    async def watch(self, job_id: str) -> AsyncIterator[Document]:
        """The job again and again until it has ended; the last one yielded has."""
        looks = Looks()
        while True:
            try:
                job = await self.job(job_id)
            except Unavailable as error:
                await asyncio.sleep(looks.missed(error))
                continue
            pause = looks.answered()
            yield job
            if ended(job):
                return
            await asyncio.sleep(pause)

    async def _run(self, flow: Flow[T]) -> T:
        go_on = partial(next, flow)
        while True:
            try:
                step = go_on()
            except StopIteration as done:
                result: T = done.value
                return result
            try:
                go_on = partial(flow.send, await self._do(step))
            except CountersignError as error:
                go_on = partial(flow.throw, error)

    async def _do(self, step: Ask | Pause) -> Document:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return {}
        return await self._call(step.method, step.path, body=step.body, **step.options)

    async def _pages(self, path: str, member: str, cursor: str, query: dict[str, Any]) -> AsyncIterator[Document]:
        more = True
        while more:
            page = await self._call("GET", path, params=query)
            for each in page[member]:
                yield each
            more = page["next"] not in (None, query.get(cursor))  # the same: no more for now
            query = query | {cursor: page["next"]}

    async def _stream(self, path: str, query: dict[str, str], target: IO[bytes]) -> None:
        for tried in count():
            pause = await self._written(path, query, target, tried)
            if pause is None:
                return
            await asyncio.sleep(pause)

    async def _written(self, path: str, query: dict[str, str], target: IO[bytes], tried: int) -> float | None:
        with self._told():
            async with self._http.stream("GET", path, params=query) as response:
                if response.is_error:
                    await response.aread()
                    if (pause := rest(response, tried)) is None:
                        raise problem_of(response)
                    return pause
                async for piece in response.aiter_bytes():
                    await asyncio.to_thread(target.write, piece)
        return None

    async def _text(self, path: str) -> str:
        response = await self._request("GET", path)
        if response.is_error:
            raise problem_of(response)
        return response.text

    async def _call(self, method: str, path: str, **options: Any) -> Document:
        return answered(await self._request(method, path, **options))

    async def _request(self, method: str, path: str, body: Body | None = None, **options: Any) -> httpx.Response:
        for tried in count():
            content = {"content": body.awaited()} if body else {}
            response = await self._sent(method, path, **options, **content)
            pause = rest(response, tried) if "files" not in options else None  # those are rewound by who sends them
            if pause is None:
                break
            await asyncio.sleep(pause)
        return response

    async def _sent(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._told():
            try:
                return await self._http.request(method, path, **options)
            except CUT_OFF:
                if method != "GET":
                    raise
                return await self._http.request(method, path, **options)  # as the other client does

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise unreachable(self._http.base_url, error) from error
