"""The client of the API for programs that await."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any

import httpx

from shared.errors import CountersignError
from web.client import (
    KEEP_SECONDS,
    LONG_POLL,
    RESEND_PAUSES,
    TIMEOUT,
    Document,
    Files,
    answered,
    ended,
    once,
    submission,
    unreachable,
    waiting,
    worth_again,
)
from web.webhook_calls import AsyncWebhookCalls


class AsyncClient(AsyncWebhookCalls):
    """Talks to one server with one key; its methods do as those of :class:`web.client.Client`."""

    def __init__(
        self,
        url: str,
        key: str,
        pauses: Sequence[float] = RESEND_PAUSES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._pauses = pauses
        self._http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/api/v1",
            headers={"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT,
            limits=httpx.Limits(keepalive_expiry=KEEP_SECONDS),
            transport=transport,
        )

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def submit(self, kind: str, fields: dict[str, str], files: Files, key: str | None = None) -> Document:
        """Queue a job, once. Streams are read whole first: reading a file would stop all else that awaits."""
        read = [(field, (name, await asyncio.to_thread(stream.read), media)) for field, (name, stream, media) in files]
        options = submission(kind, fields, files, key) | ({"files": read} if read else {})
        for pause in self._pauses:
            try:
                return await self._call("POST", "/jobs", **options)
            except CountersignError as error:
                if not worth_again(error):
                    raise
            await asyncio.sleep(pause)
        return await self._call("POST", "/jobs", **options)

    async def job(self, job_id: str, wait: int = 0) -> Document:
        """The job; with ``wait``, once it has ended or after so many seconds (at most 60)."""
        return await self._call("GET", f"/jobs/{job_id}", headers=waiting(wait))

    async def wait(self, job_id: str) -> Document:
        """The job once it has ended."""
        while not ended(job := await self.job(job_id, LONG_POLL)):
            pass
        return job

    async def cancel(self, job_id: str) -> Document:
        return await self._call("POST", f"/jobs/{job_id}/cancel", headers=once())

    async def finish(self, job_id: str) -> Document:
        """End a training now, with the best weights so far."""
        return await self._call("POST", f"/jobs/{job_id}/finish", headers=once())

    async def retry(self, job_id: str) -> Document:
        """Queue a failed or cancelled job again, with only what is missing."""
        return await self._call("POST", f"/jobs/{job_id}/retry", headers=once())

    async def models(self) -> list[Document]:
        found: list[Document] = (await self._call("GET", "/models"))["models"]
        return found

    async def result(self, job_id: str, ordinal: int) -> Document:
        """One comparison with its answer; ``ordinal`` is its place in the batch, from 1."""
        return await self._call("GET", f"/jobs/{job_id}/results/{ordinal}")

    async def results(self, job_id: str, verdict: str | None = None) -> AsyncIterator[Document]:
        """All results of a verification, or those of one verdict, fetched a page at a time."""
        query: dict[str, Any] = {"verdict": verdict} if verdict else {}
        after: int | None = 0
        while after is not None:
            page = await self._call("GET", f"/jobs/{job_id}/results", params=query | {"after": after, "limit": 1000})
            for result in page["results"]:
                yield result
            after = page["next"]

    async def _call(self, method: str, path: str, **options: Any) -> Document:
        try:
            response = await self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise unreachable(self._http.base_url, error) from error
        return answered(response)
