"""Canvases to embeddings, the way every inference does it: verification, validation and calibration."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shared.specs import Preprocessing
from worker.ml.compare import Comparer, euclidean

_BATCH = {"cpu": 32, "cuda": 512}  # canvases at a time; on the CPU larger ones only leave its caches
_OTHER_BATCH = 64

K = TypeVar("K")


def best_device() -> torch.device:
    """The first CUDA device if there is one, else the CPU. Not called at import: a worker forks before it."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def as_input(canvases: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """uint8 (N, H, W) or (N, H, W, 3) to the networks' input: float32 (N, C, H, W) in 0..1, channels_last.

    C is 1 or 3. The result lies on the device.
    """
    pixels = torch.from_numpy(np.array(canvases)).to(device).float().div_(255)  # a copy: a memory map may be read-only
    last = pixels.unsqueeze(-1) if pixels.dim() == 3 else pixels  # (N, H, W, C)
    # Permuted, not .contiguous(): of a single channel that would change nothing, and the strides would say "channels
    # first", so that the first convolution and its pooling took six times as long.
    return last.permute(0, 3, 1, 2)


@runtime_checkable
class SeesPixels(Protocol):
    """A network that looks at canvases as they are: to make numbers of 0..1 of them and back took it an eighth."""

    def of_pixels(self, canvases: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Representations (N, R) of canvases (N, H, W)."""
        ...


class Embedder:
    """A network ready to embed. Takes the network over: moves it to the device and into evaluation mode.

    ``preprocessing`` gives the size of the canvases accepted. ``compare`` tells how far apart two rows of what
    :meth:`embed` gives are. ``batch`` is how many canvases pass at once; it is halved for good whenever the device
    runs out of memory. With ``streams`` so many threads embed a batch each at a time, with one thread of torch in
    each: they do not wait for one another, as torch's own do after each operation.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        device: torch.device | None = None,
        batch: int | None = None,
        compare: Comparer = euclidean,
        streams: int = 1,
    ) -> None:
        self.device = device if device is not None else best_device()
        self.preprocessing = preprocessing
        self.compare = compare
        self.batch = batch if batch is not None else _BATCH.get(self.device.type, _OTHER_BATCH)
        self.network = network.to(self.device).to(memory_format=torch.channels_last).eval()
        self.streams = streams
        one_thread = partial(torch.set_num_threads, 1) if streams > 1 else None
        self._streams = ThreadPoolExecutor(streams, "stream", one_thread)
        # Threads of its own, so that who has only a few does not stand in line behind the batches of who has many.
        self._flow = ThreadPoolExecutor(streams, "flow", one_thread)

    def embed(self, canvases: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed uint8 canvases (N, H, W) or (N, H, W, 3), as made by ``images.prepare``, to float32 (N, R).

        In float32 throughout. Raises ValueError for canvases of another size, torch.OutOfMemoryError if not even one
        fits the device.
        """
        if self.streams == 1 or len(canvases) < 2:
            return self._embed(canvases)
        each = min(self.batch, -(-len(canvases) // self.streams))
        starts = range(0, len(canvases), each)
        return np.concatenate(
            list(self._streams.map(self._embed, (canvases[start : start + each] for start in starts)))
        )

    def embed_each(
        self, batches: Iterable[tuple[K, NDArray[np.uint8]]]
    ) -> Generator[tuple[K, NDArray[np.float32]], None, None]:
        """What :meth:`embed` gives for each of ``batches``, in order, beside what came with the canvases.

        The next batches are taken, and embedded, while the caller is busy with one: as many as there are streams, and
        one that waits. Those that nobody comes for are dropped.
        """
        waiting: deque[tuple[K, Future[NDArray[np.float32]]]] = deque()
        try:
            for key, canvases in batches:
                waiting.append((key, self._flow.submit(self._embed, canvases)))
                if len(waiting) > self.streams:
                    key, first = waiting.popleft()
                    yield key, first.result()
            while waiting:
                key, first = waiting.popleft()
                yield key, first.result()
        finally:
            for _, future in waiting:
                future.cancel()

    def _embed(self, canvases: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A batch at a time, in this thread."""
        if canvases.shape[1:] != self.preprocessing.shape:
            expected = " x ".join(map(str, self.preprocessing.shape))
            raise ValueError(f"expected canvases of {expected}, got an array of shape {canvases.shape}")
        parts: list[NDArray[np.float32]] = []
        done = 0
        while done < len(canvases) or not parts:
            try:
                parts.append(self._embed_batch(canvases[done : done + self.batch]))
            except torch.OutOfMemoryError:
                if self.batch == 1:
                    raise
                self.batch //= 2
                continue
            done += len(parts[-1])
        return np.concatenate(parts)

    @torch.inference_mode()
    def _embed_batch(self, canvases: NDArray[np.uint8]) -> NDArray[np.float32]:
        if isinstance(self.network, SeesPixels):
            return self.network.of_pixels(canvases)
        embeddings: NDArray[np.float32] = self.network(as_input(canvases, self.device)).float().cpu().numpy()
        return embeddings
