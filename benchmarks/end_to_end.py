"""The service from the submit call to the last result, against the loop that the article's code would run."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations, count
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from PIL import Image
from rich.progress import track

from shared.db import Database
from shared.model_files import ModelMeta
from shared.registry import add_model
from shared.specs import NETWORKS, Preprocessing
from shared.storage import open_store
from shared.tables import ModelVersion
from web.client import Client, find_server
from worker.ml.checkpoint import digest, save_model
from worker.ml.networks import build
from worker.ml.synthesis import generate_writer

Images = dict[str, bytes]
Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Rates are comparisons per second, medians over the rounds."""

    workload: str
    service: float
    loop: float
    ratio: float
    lowest: float
    highest: float


def measure(rounds: int, comparisons: int, loop: int) -> list[Row]:
    """All rows: two workloads, two networks, each against the loop with ``seed`` in the same run."""
    with tempfile.TemporaryDirectory() as folder, _service(Path(folder)) as (client, seed_file):
        samples = _Samples(Path(folder))
        rows = []
        for workload, make in (("no reuse", samples.no_reuse), ("a real batch", samples.real_batch)):
            for network in ("seed", "compact"):
                rates = []
                for _ in track(range(rounds), f"{workload}, {network}"):
                    service = _time_service(client, network, *make(comparisons))
                    rates.append((service, _time_loop(seed_file, *make(loop), Path(folder))))
                ratios = [service / article for service, article in rates]
                speeds = (median(rate[0] for rate in rates), median(rate[1] for rate in rates))
                rows.append(Row(f"{workload}, {network}", *speeds, median(ratios), min(ratios), max(ratios)))
        return rows


class _Samples:
    """Generated signatures, never the same twice: an embedding that is stored already would cost nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers = count(1)

    def _images(self, most: int) -> Iterator[tuple[str, bytes]]:
        for writer in self._writers:
            for signature in generate_writer(7, writer, min(most, 24), 0):
                name = f"{writer}-{signature.index}.png"
                yield name, cv2.imencode(".png", signature.image)[1].tobytes()

    def no_reuse(self, comparisons: int) -> tuple[Images, Pairs]:
        """Every image in one comparison only."""
        stream = self._images(24)
        images = dict(next(stream) for _ in range(2 * comparisons))
        names = list(images)
        return images, list(zip(names[::2], names[1::2], strict=True))

    def real_batch(self, comparisons: int) -> tuple[Images, Pairs]:
        """All pairs of writers with 24 signatures each, as many writers as it takes."""
        stream = self._images(24)
        images: Images = {}
        pairs: Pairs = []
        while len(pairs) < comparisons:
            own = dict(next(stream) for _ in range(24))
            images |= own
            pairs += combinations(own, 2)
        return images, pairs[:comparisons]


def _time_service(client: Client, network: str, images: Images, pairs: Pairs) -> float:
    """Comparisons per second by an HTTP client, from the submit call to the last result read."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in images.items():
            archive.writestr(name, data)
        manifest = io.StringIO()
        writer = csv.writer(manifest)
        writer.writerow(("id", "questioned", "reference"))
        writer.writerows((number, *pair) for number, pair in enumerate(pairs, 1))
        archive.writestr("manifest.csv", manifest.getvalue())
    buffer.seek(0)
    started = time.perf_counter()
    job = client.submit("verify", {"model": network}, [("archive", ("batch.zip", buffer, "application/zip"))])
    *_, job = client.watch(job["id"])
    answers = sum(answer["distance"] is not None for answer in client.results(job["id"]))
    seconds = time.perf_counter() - started
    if answers != len(pairs):
        raise RuntimeError(f"{answers} of {len(pairs)} comparisons were scored: {job['error']}")
    return len(pairs) / seconds


def _time_loop(weights: Path, images: Images, pairs: Pairs, folder: Path) -> float:
    """The article's way: for each pair open both files, resize, two forward passes of one image, one distance."""
    paths = folder / "loop"
    paths.mkdir(exist_ok=True)
    for name, data in images.items():
        (paths / name).write_bytes(data)
    network = build("seed").eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    started = time.perf_counter()
    with torch.no_grad():
        for pair in pairs:
            one, two = (network(_article_input(paths / name)) for name in pair)
            float(torch.nn.functional.pairwise_distance(one, two))
    return len(pairs) / (time.perf_counter() - started)


def _article_input(path: Path) -> torch.Tensor:
    image = Image.open(path).convert("L").resize((105, 105))
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)[None, None]  # (1, 1, 105, 105)


@contextmanager
def _service(folder: Path) -> Iterator[tuple[Client, Path]]:
    """A plain ``countersign up`` with both networks registered; weights are random, which costs the same time."""
    home = folder / "home"
    home.mkdir()
    command = [str(Path(sys.executable).with_name("countersign")), "up", "--home", str(home), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            for line in process.stdout or ():
                if "is ready" in line:
                    break
            weights = folder / "seed.pt"
            _register(home, weights)
            with Client(*find_server(None, None, home)) as client:
                yield client, weights
        finally:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(60)


def _register(home: Path, seed_weights: Path) -> None:
    database, store = Database(f"sqlite:///{home / 'countersign.db'}"), open_store(str(home / "blobs"))
    for name, info in NETWORKS.items():
        torch.manual_seed(1)
        network = build(name).eval()
        if name == "seed":
            torch.save(network.state_dict(), seed_weights)
        meta = ModelMeta(network=name, preprocessing=Preprocessing(height=info.height, width=info.width), threshold=1.0)
        content = save_model(network, meta)
        blob = store.put(f"models/{digest(content).removeprefix('sha256:')}.safetensors", [content])
        model = ModelVersion(name=name, digest=digest(content), blob=blob.key, network=name, threshold=1.0, summary={})
        with database.write() as session:
            add_model(session, model, make_default=name == "compact")
    database.close()
