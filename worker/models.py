"""Model versions from the store to memory, and from training to the store."""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from contextlib import suppress
from functools import lru_cache

import cv2
import torch
from torch import nn

from shared.config import Settings
from shared.errors import NotFound
from shared.model_files import ModelMeta
from shared.storage import BlobStore
from shared.tables import ModelVersion
from worker.context import Context
from worker.ml.checkpoint import digest, load_model
from worker.ml.compare import comparer
from worker.ml.embedder import Embedder, best_device
from worker.ml.winograd import quickened

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h; one arena, as others cannot grow that far


def limit_threads(settings: Settings) -> None:
    """Have torch use as many threads as the settings allow one worker, and OpenCV one: images are spread by us."""
    keep_memory()
    cv2.setNumThreads(1)
    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)


@lru_cache(maxsize=1)
def keep_memory() -> None:
    """Have the C library keep what tensors leave for those that follow, where it is glibc.

    It would hand the large ones back and ask for them again with each layer: a fifth of the time of ``seed`` went into
    clearing their pages. The process holds the most that it ever needed at once.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for parameter, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, 2**30), (M_TRIM_THRESHOLD, 2**31 - 1)):
            mallopt(parameter, value)


class ModelCache:
    """The encoders this process has loaded, most recently used last; weights are loaded on first use."""

    def __init__(self, store: BlobStore, size: int = 2) -> None:
        self._store = store
        self._size = size
        self._streams = torch.get_num_threads()
        self._loaded: OrderedDict[int, Embedder] = OrderedDict()

    def get(self, model: ModelVersion) -> Embedder:
        """The encoder of ``model``.

        Raises:
            NotFound: code ``model_deleted``: it was deleted while jobs waited for it, or its file is gone or changed.
        """
        if model.deleted_at is not None:
            raise NotFound("model_deleted", f"The model {model.label} was deleted. Submit the job again with another.")
        if model.id not in self._loaded:
            self._loaded[model.id] = self._load(model)
            while len(self._loaded) > self._size:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(model.id)
        return self._loaded[model.id]

    def _load(self, model: ModelVersion) -> Embedder:
        network, meta = read_version(self._store, model)
        device = best_device()
        compare, streams = comparer(meta.comparer, network), 1
        if device.type == "cpu":  # a GPU's library chooses its own way to convolve, and one stream fills it
            network, streams = quickened(network), self._streams
        return Embedder(network, meta.preprocessing, device, compare=compare, streams=streams)


def read_version(store: BlobStore, model: ModelVersion) -> tuple[nn.Module, ModelMeta]:
    """The network of ``model``, on the CPU and in evaluation mode, and what its file says of it.

    Raises:
        NotFound: code ``model_deleted``: its file is gone or changed.
        InvalidInput: code ``model_damaged``.
    """
    try:
        with store.open(model.blob) as file:
            data = file.read()
    except NotFound as error:
        raise NotFound("model_deleted", f"The weights of {model.label} are gone from the storage.") from error
    if digest(data) != model.digest:
        raise NotFound("model_deleted", f"The weights of {model.label} are not those that were registered.")
    return load_model(data)


@lru_cache(maxsize=1)
def shared_models(context: Context) -> ModelCache:
    """The process's own cache: verifications and identifications load the same weights once."""
    limit_threads(context.settings)
    return ModelCache(context.store)
