"""Model versions from the store to memory, and from training to the store."""

from __future__ import annotations

from collections import OrderedDict
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


def limit_threads(settings: Settings) -> None:
    """Have torch use as many threads as the settings allow one worker, and OpenCV one: images are spread by us."""
    cv2.setNumThreads(1)
    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)


class ModelCache:
    """The encoders this process has loaded, most recently used last; weights are loaded on first use."""

    def __init__(self, store: BlobStore, size: int = 2) -> None:
        self._store = store
        self._size = size
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
        if device.type == "cpu":  # a GPU's library chooses its own way to convolve
            network = quickened(network)
        return Embedder(network, meta.preprocessing, device, compare=comparer(meta.comparer, network))


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
