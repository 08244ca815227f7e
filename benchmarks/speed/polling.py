"""Clients that ask for their job again and again, of two web processes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from benchmarks.speed.row import Plan, Row, Sample, Subject
from benchmarks.speed.samples import Samples
from benchmarks.speed.service import Service, free_port, service

CLIENTS, PROCESSES = 64, 2
GUNICORN = ("--worker-class", "gthread", "--threads", "16", "--no-control-socket", "--log-level", "error")
NOTHING_NEW = b'HTTP/1.1 304 NOT MODIFIED\r\nETag: W/"0"\r\nContent-Length: 0\r\n\r\n'


@dataclass(frozen=True, slots=True)
class Polled:
    """What a while of polling saw."""

    rate: float  # requests/s
    p99: float  # seconds


async def poll(url: str, key: str, paths: list[str], seconds: float) -> Polled:
    """One client a path, each with a connection of its own, asks and asks again as soon as it has its answer.

    The first answer brings the ETag; all others must be 304.

    Raises:
        RuntimeError: an answer was another.
    """
    place = urlsplit(url)
    end = time.perf_counter() + seconds
    times = await asyncio.gather(*(_client(place.hostname, place.port, key, path, end) for path in paths))
    taken = [one for each in times for one in each]
    return Polled(len(taken) / seconds, float(np.percentile(taken, 99, method="higher")))


async def _client(host: str | None, port: int | None, key: str, path: str, end: float) -> list[float]:
    reader, writer = await asyncio.open_connection(host, port)
    head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {key}\r\n"
    try:
        return await _asked(reader, writer, head, end)
    finally:
        writer.close()
        await writer.wait_closed()


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str, end: float) -> list[float]:
    """Seconds of each answer but the first."""
    writer.write(f"{head}\r\n".encode())
    tag = (await _answer(reader))[1]
    request = f"{head}If-None-Match: {tag}\r\n\r\n".encode()
    taken: list[float] = []
    while (started := time.perf_counter()) < end:
        writer.write(request)
        status, known = await _answer(reader)
        taken.append(time.perf_counter() - started)
        if (status, known) != (304, tag):
            raise RuntimeError(f"{head.split()[1]} answered {status} with the ETag {known}, not 304 with {tag}")
    return taken


async def _answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Status and ETag; the body is read and dropped."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    await reader.readexactly(int(fields.get("content-length", "0")))
    return int(lines[0].split()[1]), fields.get("etag", "")


async def answer_nothing_new(port: int) -> None:
    """A server that does nothing but answer 304: what it reaches is the most that the clients can ask."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # the client has gone
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(NOTHING_NEW)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        print("ready", flush=True)
        await server.serve_forever()


def _measured(url: str, key: str, paths: list[str], seconds: float) -> Polled:
    """The clients, in a process of their own."""
    code = "import sys; from benchmarks.speed import polling; polling.main()"
    told = json.dumps({"url": url, "key": key, "paths": paths, "seconds": seconds})
    done = subprocess.run([sys.executable, "-c", code], input=told, stdout=subprocess.PIPE, text=True, check=True)
    return Polled(**json.loads(done.stdout))


def main() -> None:
    """Poll as told on standard input, write what was seen to standard output."""
    seen = asyncio.run(poll(**json.load(sys.stdin)))
    print(json.dumps({"rate": seen.rate, "p99": seen.p99}))


@contextmanager
def _program(command: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def _ceiling(seconds: float) -> float:
    """Requests per second that the clients reach where the server has nothing to do."""
    port = free_port()
    code = f"import asyncio; from benchmarks.speed import polling; asyncio.run(polling.answer_nothing_new({port}))"
    with _program([sys.executable, "-c", code]) as process:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError("the trivial server did not start")
        return _measured(f"http://127.0.0.1:{port}", "none", ["/"] * CLIENTS, seconds).rate


@contextmanager
def _two_web_processes(stack: Service) -> Iterator[str]:
    """The address of another web server on the tables of the stack, with two processes."""
    address = f"127.0.0.1:{free_port()}"
    redis = f"redis+socket://{stack.home / 'redis.sock'}?virtual_host=0"
    command = [sys.executable, "-m", "gunicorn", *GUNICORN, "--workers", str(PROCESSES), "--bind", address]
    settings = {"COUNTERSIGN_HOME": str(stack.home), "REDIS_URL": redis, "COUNTERSIGN_RATE_LIMIT": "0"}
    with _program([*command, "web.app:create_app()"], **settings):
        stack.until_healthy(f"http://{address}")
        yield f"http://{address}"


def _measure(plan: Plan) -> Iterator[Sample]:
    samples, seconds = Samples(writers=1), plan.size(10, 3)
    with service(plan.folder) as stack, _two_web_processes(stack) as url:
        with stack.caller() as caller:
            jobs = [caller.submit_pair("compact", samples.no_reuse(1)[0]) for _ in range(CLIENTS)]
            for job in jobs:
                caller.result(job)
        paths = [f"/api/v1/jobs/{job['id']}" for job in jobs]
        for _ in range(plan.rounds):
            ceiling = _ceiling(seconds / 2)
            seen = _measured(url, stack.key, paths, seconds)
            yield Sample("polling", seen.rate, ceiling)
            yield Sample("polling-p99", 1e3 * seen.p99, 1e3 * CLIENTS / ceiling)


SUBJECTS = (
    Subject(
        (
            Row("polling", f"{CLIENTS} clients polling", "requests/s", "against a trivial server", 1000, "ours"),
            Row("polling-p99", "the same, p99", "ms", "mean of the trivial server", 120, "ours", lower=True),
        ),
        _measure,
    ),
)
