"""The same batch with Ray Data, as its guide to offline inference has it; a program, so that Ray's start-up is told.

Reads what to do as JSON on standard input (``Wanted``) and writes ``Done``. Preparation is a stateless function over
batches, the network a class in a pool of actors; what comes out are the distances, in the order of the pairs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.speed.service import random_network
from shared.specs import canvas_of
from worker.ml.compare import euclidean
from worker.ml.embedder import Embedder
from worker.ml.images import decode, prepare

Columns = dict[str, NDArray[Any]]
BATCHES = (16, 32)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Files as pairs of paths. ``setting`` is (batch, actors); without it the best is looked for first."""

    model: str
    pairs: list[tuple[str, str]]
    few: int  # pairs of a run that shows what every run costs at its beginning
    temporary: str
    setting: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Done:
    """``few`` and ``all`` are seconds of a run over the first pairs and over all of them."""

    setting: tuple[int, int]
    few: float
    all: float
    distances: list[float]


class Network:
    """What each actor holds."""

    def __init__(self, model: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._embedder = Embedder(random_network(model), canvas_of(model))

    def __call__(self, columns: Columns) -> Columns:
        """Canvases of both sides, (N, H, W) each, to the distances (N,)."""
        count = len(columns["place"])
        rows = self._embedder.embed(np.concatenate([columns["one"], columns["two"]]))
        places = np.arange(count)
        return {"place": columns["place"], "distance": euclidean(rows, places, places + count)}


def prepare_pairs(columns: Columns, model: str) -> Columns:
    """Paths of both sides to canvases."""
    canvas = canvas_of(model)
    return {"place": columns["place"]} | {
        side: np.stack([prepare(decode(Path(path).read_bytes()), canvas) for path in columns[side]])
        for side in ("one", "two")
    }


def run(wanted: Wanted, pairs: list[tuple[str, str]], setting: tuple[int, int]) -> tuple[float, list[float]]:
    """Seconds and distances."""
    import ray.data

    batch, actors = setting
    threads = max(1, (os.cpu_count() or 1) // actors)
    started = time.perf_counter()
    rows = [{"place": place, "one": one, "two": two} for place, (one, two) in enumerate(pairs)]
    data = ray.data.from_items(rows, override_num_blocks=max(2, min(len(rows) // batch, 64)))
    prepared = data.map_batches(prepare_pairs, batch_size=batch, fn_kwargs={"model": wanted.model}, num_cpus=0.5)
    scored = prepared.map_batches(
        Network, fn_constructor_args=(wanted.model, threads), batch_size=batch, concurrency=actors, num_cpus=0.5
    )
    found = {row["place"]: float(row["distance"]) for row in scored.iter_rows()}
    return time.perf_counter() - started, [found[place] for place in range(len(pairs))]


def main() -> None:
    """Run it."""
    wanted = Wanted(**json.load(sys.stdin))
    import ray

    ray.init(include_dashboard=False, log_to_driver=False, logging_level="error", _temp_dir=wanted.temporary)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        setting = wanted.setting or _best(wanted)
        few = run(wanted, wanted.pairs[: wanted.few], setting)[0] if wanted.few else 0.0
        seconds, distances = run(wanted, wanted.pairs, setting)
    finally:
        ray.shutdown()
    print(json.dumps(asdict(Done(setting, few, seconds, distances))))


def _best(wanted: Wanted) -> tuple[int, int]:
    settings = list(product(BATCHES, sorted({1, os.cpu_count() or 1})))
    return min(settings, key=lambda setting: run(wanted, wanted.pairs[: 8 * max(BATCHES)], setting)[0])
