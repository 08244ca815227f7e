"""The article's way, as the peer: a loop over pairs, with the number of threads that suits it best here."""

from __future__ import annotations

import time
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from benchmarks.speed.samples import Images, Pairs
from benchmarks.speed.service import random_network

SIDE = 105
TRY = 8  # pairs that a number of threads is tried with


def loop_rate(images: Images, pairs: Pairs, folder: Path) -> float:
    """Pairs per second: open both files, resize, two forward passes of one image in float32, one distance."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in images.items():
        (folder / name).write_bytes(data)
    paths = [(folder / one, folder / two) for one, two in pairs]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(_best_threads(tuple(paths[:TRY])))
        return _rate(paths)
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _best_threads(paths: tuple[tuple[Path, Path], ...]) -> int:
    """Tried once in a run: one thread, and as many as there are cores."""
    rates = {}
    for threads in sorted({1, torch.get_num_threads()}):
        torch.set_num_threads(threads)
        _rate(list(paths))
        rates[threads] = _rate(list(paths))
    return max(rates, key=lambda threads: rates[threads])


def _rate(paths: list[tuple[Path, Path]]) -> float:
    network = random_network("seed")
    started = time.perf_counter()
    with torch.no_grad():
        for pair in paths:
            one, two = (network(_input(path.read_bytes())) for path in pair)
            float(functional.pairwise_distance(one, two))
    return len(paths) / (time.perf_counter() - started)


def _input(data: bytes) -> torch.Tensor:
    image = Image.open(BytesIO(data)).convert("L").resize((SIDE, SIDE))
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)[None, None]  # (1, 1, 105, 105)
