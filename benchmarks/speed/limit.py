"""What the hardware allows: the network alone, and decoding and preparation alone, each at its best measured rate."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product

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
from worker.ml.optimisers import half_precision

BATCHES = {"cpu": (8, 16, 32, 64), "cuda": (128, 256, 512, 1024)}
TRIED, MEASURED = 0.7, 3.0  # seconds


@dataclass(frozen=True, slots=True)
class Setting:
    """How the network is run."""

    batch: int
    threads: int
    dtype: torch.dtype


def limit(model: str, images: Images) -> float:
    """Images per second: the network's time and preparation's one after the other, as they share the same cores.

    With a GPU the slower of the two. The network runs in whatever precision is quickest, also where the product does
    not use it.
    """
    preparation = canvas_of(model)
    preparing = _preparing_rate(images, preparation)
    canvases = np.stack([prepare(decode(data), preparation) for data in images.values()])
    with _threads():
        device = best_device()
        network = rate_of(model, canvases, best_setting(model, len(canvases)), MEASURED)
    return min(preparing, network) if device.type == "cuda" else 1 / (1 / preparing + 1 / network)


@lru_cache
def best_setting(model: str, most: int) -> Setting:
    """The quickest batch size, number of threads and precision; looked for once in a run."""
    device = best_device()
    half = half_precision(device)
    threads = sorted({1, os.cpu_count() or 1})
    precisions = [torch.float32] if half is None else [torch.float32, half]
    sizes = [batch for batch in BATCHES[device.type] if batch <= most] or [most]
    settings = [Setting(*setting) for setting in product(sizes, threads, precisions)]
    size = canvas_of(model)
    canvases = np.zeros((most, *size.shape), np.uint8)
    return max(settings, key=lambda setting: rate_of(model, canvases, setting, TRIED))


def rate_of(model: str, canvases: NDArray[np.uint8], setting: Setting, seconds: float) -> float:
    """Images per second of the network alone: what it reads lies ready on its device."""
    torch.set_num_threads(setting.threads)
    device = best_device()
    network: nn.Module = random_network(model).to(device, setting.dtype).to(memory_format=torch.channels_last)
    ready = as_input(canvases[: setting.batch], device).to(setting.dtype).contiguous(memory_format=torch.channels_last)
    done, end = 0, 0.0
    with torch.inference_mode():
        network(ready)  # the first time is another measurement
        started = time.perf_counter()
        while end < started + seconds:
            float(network(ready).float().sum())  # waits for a GPU
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
