from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from shared.networks import NETWORKS
from shared.specs import Preprocessing
from worker.ml.embedder import Embedder, as_input
from worker.ml.networks import build

SMALL = Preprocessing(height=16, width=20)
CPU = torch.device("cpu")


class Tiny(nn.Module):
    """Two layers, dropout between them; runs out of memory above ``room`` canvases, as a small GPU would."""

    def __init__(self, room: int = 1000) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 5, 4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(36, 7))
        self.room = room
        self.batches: list[int] = []

    def forward(self, canvases: torch.Tensor) -> torch.Tensor:
        if len(canvases) > self.room:
            raise torch.OutOfMemoryError
        self.batches.append(len(canvases))
        embeddings: torch.Tensor = self.layers(canvases)
        return embeddings


def canvases(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, 16, 20), dtype=np.uint8)


def test_embeddings_are_those_of_plain_torch() -> None:
    network, pixels = Tiny(), canvases(9)
    with torch.no_grad():
        plain = network.eval().layers(torch.from_numpy(pixels / 255).float()[:, None])
    network.train()
    embeddings = Embedder(network, SMALL, CPU).embed(pixels)
    assert embeddings.dtype == np.float32
    assert embeddings == pytest.approx(plain.numpy(), abs=1e-6)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_one_at_a_time_as_in_a_batch(name: str) -> None:
    info = NETWORKS[name]
    torch.manual_seed(4)
    pixels = np.random.default_rng(2).integers(0, 256, (3, info.height, info.width), dtype=np.uint8)
    embedder = Embedder(build(name), Preprocessing(height=info.height, width=info.width), CPU)
    whole = embedder.embed(pixels)
    singly = np.concatenate([embedder.embed(pixels[index : index + 1]) for index in range(3)])
    assert whole == pytest.approx(singly, abs=1e-3)


def test_sub_batches_do_not_show() -> None:
    network = Tiny()
    pixels = canvases(11)
    in_fours = Embedder(network, SMALL, CPU, batch=4).embed(pixels)
    assert network.batches == [4, 4, 3]
    assert in_fours == pytest.approx(Embedder(network, SMALL, CPU).embed(pixels), abs=1e-6)


def test_no_canvases_give_no_embeddings() -> None:
    assert Embedder(Tiny(), SMALL, CPU).embed(canvases(0)).shape == (0, 7)


def test_out_of_memory_halves_the_batch_and_goes_on() -> None:
    network, pixels = Tiny(room=3), canvases(10)
    embedder = Embedder(network, SMALL, CPU, batch=8)
    embeddings = embedder.embed(pixels)
    assert embedder.batch == 2
    assert network.batches == [2] * 5
    assert embeddings == pytest.approx(Embedder(Tiny(), SMALL, CPU).embed(pixels), abs=1e-6)


def test_out_of_memory_with_a_single_canvas_is_raised() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Embedder(Tiny(room=0), SMALL, CPU).embed(canvases(2))


@pytest.mark.parametrize("shape", [(2, 20, 16), (16, 20), (2, 1, 16, 20)])
def test_canvases_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="16 x 20"):
        Embedder(Tiny(), SMALL, CPU).embed(np.zeros(shape, np.uint8))


def test_a_read_only_array_will_do() -> None:
    pixels = canvases(2)
    pixels.flags.writeable = False
    assert Embedder(Tiny(), SMALL, CPU).embed(pixels).shape == (2, 7)


def test_canvases_in_colour_become_three_planes() -> None:
    class Colours(nn.Module):
        def forward(self, planes: torch.Tensor) -> torch.Tensor:
            assert planes.is_contiguous(memory_format=torch.channels_last)
            return planes.flatten(2).mean(2) * 255  # (N, 3)

    pixels = np.zeros((2, 16, 20, 3), np.uint8)
    pixels[0], pixels[1, :8] = (10, 20, 30), (40, 0, 200)
    seen = Preprocessing(preset="photo", height=16, width=20, channels=3)
    assert Embedder(Colours(), seen, CPU).embed(pixels) == pytest.approx(np.array([[10, 20, 30], [20, 0, 100]]))
    with pytest.raises(ValueError, match="16 x 20 x 3"):
        Embedder(Colours(), seen, CPU).embed(pixels[..., 0])


def test_a_network_that_sees_pixels_gives_what_it_gives_of_its_input() -> None:
    class Looks(nn.Module):
        def forward(self, planes: torch.Tensor) -> torch.Tensor:
            raise AssertionError("it sees pixels")

        def of_pixels(self, seen: NDArray[np.uint8]) -> NDArray[np.float32]:
            return seen.reshape(len(seen), -1)[:, :7].astype(np.float32)

    pixels = canvases(3)
    assert (Embedder(Looks(), SMALL, CPU).embed(pixels) == pixels.reshape(3, -1)[:, :7]).all()
    info = NETWORKS["ink"]
    written = np.zeros((2, info.height, info.width), np.uint8)
    written[:, 100:110, 100:500], written[1, 300:600, 200:208] = 90, 255
    ink = build("ink").eval()
    given = Embedder(ink, Preprocessing(height=info.height, width=info.width), CPU).embed(written)
    assert (given == ink(as_input(written, CPU)).numpy()).all()


def test_streams_do_not_show() -> None:
    network, pixels = Tiny(), canvases(11)
    plain = Embedder(copy.deepcopy(network), SMALL, CPU).embed(pixels)
    assert Embedder(network, SMALL, CPU, batch=4, streams=2).embed(pixels) == pytest.approx(plain, abs=1e-6)
    assert sorted(network.batches) == [3, 4, 4]


@pytest.mark.parametrize("streams", [1, 2])
def test_batches_flow_in_their_order_and_the_next_are_taken_meanwhile(streams: int) -> None:
    network, pixels = Tiny(), canvases(11)
    whole = Embedder(copy.deepcopy(network), SMALL, CPU).embed(pixels)
    taken: list[int] = []

    def batches() -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for start in range(0, 11, 2):
            taken.append(start)
            yield start, pixels[start : start + 2]

    flow = Embedder(network, SMALL, CPU, streams=streams).embed_each(batches())
    first, rows = next(flow)
    assert (first, taken) == (0, [0, 2, 4][: streams + 1])
    parts = [rows, *(rows for _, rows in flow)]
    assert np.concatenate(parts) == pytest.approx(whole, abs=1e-6)
    assert taken == list(range(0, 11, 2))


def test_batches_that_nobody_comes_for_are_not_taken() -> None:
    batches = ((number, canvases(2)) for number in range(9))
    flow = Embedder(Tiny(), SMALL, CPU).embed_each(batches)
    next(flow)
    flow.close()
    assert next(batches)[0] == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_the_input_is_channels_last_with_a_single_channel_too(channels: int) -> None:
    shape = (2, 6, 5) if channels == 1 else (2, 6, 5, 3)
    pixels = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    made = as_input(pixels, CPU)
    assert (made.shape, made.stride()) == ((2, channels, 6, 5), (30 * channels, 1, 5 * channels, channels))
    assert made.permute(0, 2, 3, 1).numpy() == pytest.approx(pixels.reshape(2, 6, 5, channels) / 255)
