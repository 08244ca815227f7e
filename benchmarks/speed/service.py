"""A plain ``countersign up`` as its users meet it: an HTTP client, and the models that are measured."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import httpx
import torch
from torch import nn

from benchmarks.speed.caller import Caller
from benchmarks.speed.samples import Images, Pairs, archive
from shared.db import Database
from shared.model_files import ModelMeta
from shared.registry import add_model
from shared.specs import canvas_of
from shared.storage import open_store
from shared.tables import ModelVersion
from web.client import Client, Document, ended, find_server
from web.client.steps import PART
from worker.ml.checkpoint import digest, save_model
from worker.ml.networks import build

MODELS = ("seed", "compact")
COUNTERSIGN = str(Path(sys.executable).with_name("countersign"))


class Service:
    """A running stack."""

    def __init__(self, home: Path, pid: int) -> None:
        self.home = home
        self.pid = pid
        self.url, self.key = find_server(None, None, home)
        self.client = Client(self.url, self.key)

    def database(self) -> Database:
        """Its tables, to prepare a measurement or to look at one; to be closed."""
        return Database(f"sqlite:///{self.home / 'countersign.db'}")

    def seconds(self, model: str, images: Images, pairs: Pairs) -> float:
        """From the submit call to the last result readable."""
        return self.verify(model, images, pairs)[0]

    def verify(self, model: str, images: Images, pairs: Pairs) -> tuple[float, str]:
        """The same, and the job."""
        batch = archive(images, pairs)
        started = time.perf_counter()
        job = self.submit(model, batch)
        self.last_result(job, len(pairs))
        return time.perf_counter() - started, job["id"]

    def submit(self, model: str, batch: BinaryIO) -> Document:
        """Queue a batch."""
        return self.client.submit("verify", {"model": model}, [("archive", ("batch.zip", batch, "application/zip"))])

    def last_result(self, job: Document, rows: int) -> Document:
        """Wait until the job has ended and read its last result."""
        return last_result(self.client, job, rows)

    def answers(self, job_id: str, places: Iterable[int]) -> dict[int, float]:
        """Distances of a job by their places in the batch, from 0."""
        return {place: self.client.result(job_id, place + 1)["distance"] for place in places}

    def until_healthy(self, url: str) -> None:
        """Wait for a web server that was just started."""
        for _ in range(300):
            with suppress(httpx.TransportError):
                if httpx.get(f"{url}/healthz").is_success:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"the web server {url} did not start")

    def another_client(self, part: int | None = None) -> Client:
        """A client with a connection of its own; ``part`` is the size of the parts of large files, bytes."""
        return Client(self.url, self.key, part=part or PART)

    def caller(self) -> Caller:
        """A light client for single pairs, with a connection of its own."""
        return Caller(self.url, self.key)

    def warm(self, images: Images, pairs: Pairs, *models: str) -> None:
        """Have the models loaded: the first batch after a start is another measurement."""
        for model in models:
            self.seconds(model, images, pairs)


def last_result(client: Client, job: Document, rows: int) -> Document:
    """Wait until a job has ended and read its last result.

    Raises:
        RuntimeError: it failed, or left comparisons without an answer.
    """
    while not ended(job):
        job = client.job(job["id"], wait=60)
    result = client.result(job["id"], rows)
    if job["state"] != "succeeded" or job["done"] != rows or result["distance"] is None:
        raise RuntimeError(f"{job['done']} of {rows} comparisons were scored: {job['error']}, {result['message']}")
    return result


@contextmanager
def service(folder: Path, **environment: str) -> Iterator[Service]:
    """``countersign up`` by its defaults, but that it does not count requests; both models are registered."""
    home = folder / "home"
    if not home.exists():
        install(folder)
    settings = os.environ | {"COUNTERSIGN_RATE_LIMIT": "0"} | environment
    command = [COUNTERSIGN, "up", "--home", str(home), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=settings) as process:
        try:
            for line in process.stdout or ():
                if "is ready" in line:
                    break
            yield Service(home, process.pid)
        finally:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(60)


def install(folder: Path) -> None:
    """Make the home of a stack before its first start: tables, and the measured models in the registry."""
    home = folder / "home"
    home.mkdir(parents=True)
    database = Database(f"sqlite:///{home / 'countersign.db'}")
    database.migrate()
    register(database, home / "blobs")


def register(database: Database, blobs: Path) -> None:
    """Put the measured models into the registry. Their weights are random, which costs the same time."""
    store = open_store(str(blobs))
    for name in MODELS:
        meta = ModelMeta(network=name, preprocessing=canvas_of(name), threshold=1.0)
        content = save_model(random_network(name), meta)
        blob = store.put(f"models/{digest(content).removeprefix('sha256:')}.safetensors", [content])
        model = ModelVersion(name=name, digest=digest(content), blob=blob.key, network=name, threshold=1.0, summary={})
        with database.write() as session:
            add_model(session, model, make_default=name == "compact")
    database.close()


def random_network(name: str) -> nn.Module:
    """The same weights each time."""
    torch.manual_seed(1)
    return build(name).eval()


def free_port() -> int:
    """A port of this host that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
