"""What the hardware allows: the network alone, and decoding and preparation alone, each at its best measured rate."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.speed.samples import Images
from benchmarks.speed.service import random_network
from shared.specs import Preprocessing, canvas_of
from worker.ml.embedder import as_input, best_device
from worker.ml.images import decode, prepare
from worker.ml.winograd import quickened
from worker.models import keep_memory

BATCHES = {"cpu": (8, 16, 32, 64), "cuda": (128, 256, 512, 1024)}
TRIED, MEASURED = 0.7, 3.0  # seconds


@dataclass(frozen=True, slots=True)
class Setting:
    """How the network is run."""

    batch: int
    threads: int
    quick: bool  # with fewer multiplications


def limit(model: str, images: Images) -> float:
    """Images per second: the network's time and preparation's one after the other, as they share the same cores.

    With a GPU the slower of the two. Only ways to run the network count that give the same verdicts: float32, plain and
    by Winograd's method. bfloat16 is quicker and changes too many of them (benchmarks/NOTES.md), so it is no limit of
    what may be done.
    """
    # In a process of its own, which keeps its memory as workers do: that of the peers stays as it is.
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        return apart.submit(_limit, model, images).result()


def _limit(model: str, images: Images) -> float:
    keep_memory()
    preparation = canvas_of(model)
    preparing = _preparing_rate(images, preparation)
    canvases = np.stack([prepare(decode(data), preparation) for data in images.values()])
    with _threads():
        device = best_device()
        network = rate_of(model, canvases, best_setting(model, len(canvases)), MEASURED)
    return min(preparing, network) if device.type == "cuda" else 1 / (1 / preparing + 1 / network)


def best_setting(model: str, most: int) -> Setting:
    """The quickest batch size, number of threads and way to convolve."""
    device = best_device()
    threads = sorted({1, os.cpu_count() or 1})
    ways = (False, True) if device.type == "cpu" else (False,)
    sizes = [batch for batch in BATCHES[device.type] if batch <= most] or [most]
    settings = [Setting(*setting) for setting in product(sizes, threads, ways)]
    size = canvas_of(model)
    canvases = np.zeros((most, *size.shape), np.uint8)
    return max(settings, key=lambda setting: rate_of(model, canvases, setting, TRIED))


def rate_of(model: str, canvases: NDArray[np.uint8], setting: Setting, seconds: float) -> float:
    """Images per second of the network alone: what it reads lies ready on its device."""
    torch.set_num_threads(setting.threads)
    device = best_device()
    network: nn.Module = random_network(model).to(device).to(memory_format=torch.channels_last)
    network = quickened(network) if setting.quick else network
    ready = as_input(canvases[: setting.batch], device)
    done, end = 0, 0.0
    with torch.inference_mode():
        network(ready)  # the first time is another measurement
        started = time.perf_counter()
        while end < started + seconds:
            float(network(ready).sum())  # waits for a GPU
            done, end = done + len(ready), time.perf_counter()
    return done / (end - started)


def _preparing_rate(images: Images, preparation: Preprocessing) -> float:
    files = list(images.values())
    one = partial(_prepared, preparation=preparation)
    rates = []
    for threads in sorted({1, os.cpu_count() or 1}):
        with ThreadPoolExecutor(threads) as pool:
            started = time.perf_counter()
            for _ in pool.map(one, files):
                pass
            rates.append(len(files) / (time.perf_counter() - started))
    return max(rates)


def _prepared(data: bytes, preparation: Preprocessing) -> NDArray[np.uint8]:
    return prepare(decode(data), preparation)


@contextmanager
def _threads() -> Iterator[None]:
    """The numbers of threads are afterwards as they were."""
    torch_threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        yield
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv_threads)
