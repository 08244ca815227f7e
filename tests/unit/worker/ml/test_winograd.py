from __future__ import annotations

import copy
import math
from itertools import combinations, product

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from shared.networks import NETWORKS
from shared.specs import Preprocessing, TrainSpec, canvas_of
from worker.ml.compare import euclidean
from worker.ml.embedder import Embedder
from worker.ml.fit import fit
from worker.ml.images import prepare
from worker.ml.networks import build
from worker.ml.sampling import Labels, Split
from worker.ml.synthesis import generate_writer
from worker.ml.winograd import Winograd, quickened, transforms

CPU = torch.device("cpu")
EACH = 6  # genuine signatures and forgeries of a writer
WRITERS, JUDGED = 12, 8  # in all; the first that is judged and not learned from


@pytest.mark.parametrize(("outputs", "side"), [(2, 3), (4, 3), (6, 3), (4, 5)])
def test_the_transforms_are_a_convolution(outputs: int, side: int) -> None:
    random = np.random.default_rng(3)
    tile, kernel = random.normal(size=outputs + side - 1), random.normal(size=side)
    inward, over, outward = transforms(outputs, side)
    expected = np.correlate(tile, kernel, mode="valid")
    assert outward @ ((over @ kernel) * (inward @ tile)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("side", "padding", "height", "width"),
    [
        (3, 1, 23, 23),
        (3, 1, 6, 12),
        (3, 0, 9, 17),
        (3, (0, 2), 7, 5),
        (5, 2, 47, 47),
        (5, 0, 11, 6),
        (5, (2, 1), 5, 30),
    ],
)
def test_the_numbers_are_those_of_the_plain_convolution(
    side: int, padding: int | tuple[int, int], height: int, width: int, bias: bool
) -> None:
    torch.manual_seed(1)
    layer = nn.Conv2d(7, 5, side, padding=padding, bias=bias)
    maps = torch.randn(3, 7, height, width).to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = copy.deepcopy(layer).double()(maps.double())
        seen = Winograd(layer)(maps)
    assert seen.shape == expected.shape
    assert seen.is_contiguous(memory_format=torch.channels_last)
    assert (seen - expected).abs().max() < 3e-4 * expected.std()


def test_many_images_are_convolved_a_few_at_a_time() -> None:
    torch.manual_seed(1)
    layer = nn.Conv2d(96, 256, 5, padding=2)
    maps = torch.randn(23, 96, 23, 23).to(memory_format=torch.channels_last)
    with torch.no_grad():
        together, singly = Winograd(layer)(maps), torch.cat([Winograd(layer)(one[None]) for one in maps])
    assert torch.allclose(together, singly, atol=1e-4)  # of a single one the products are too small for oneDNN


@pytest.mark.parametrize(("name", "count"), [("seed", 3), ("compact", 3), ("conv4", 0), ("ink", 0)])
def test_layers_are_replaced_only_where_it_gains(name: str, count: int) -> None:
    assert sum(isinstance(layer, Winograd) for layer in quickened(build(name).eval()).modules()) == count


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_each_network_gives_the_same_numbers(name: str) -> None:
    torch.manual_seed(4)
    network, canvas = build(name), canvas_of(name)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as training leaves them
            layer.running_mean, layer.running_var = torch.randn_like(layer.bias), torch.rand_like(layer.bias) + 0.5
    canvases = np.random.default_rng(2).integers(0, 256, (16, *canvas.shape), dtype=np.uint8)
    plain = Embedder(copy.deepcopy(network), canvas, CPU).embed(canvases)
    quick = Embedder(quickened(network.eval()), canvas, CPU).embed(canvases)
    assert np.abs(quick - plain).max() < 1e-4 * np.abs(plain).max()


@pytest.fixture(scope="module")
def signatures() -> tuple[NDArray[np.uint8], Labels]:
    """Canvases (N, 96, 192) of generated signatures, and whose they are."""
    made = [(writer, s) for writer in range(WRITERS) for s in generate_writer(5, writer, EACH, EACH)]
    canvases = np.stack([prepare(signature.image, canvas_of("compact")) for _, signature in made])
    return canvases, Labels(np.array([writer for writer, _ in made]), np.array([s.forged for _, s in made]))


def test_a_trained_network_gives_the_same_distances_and_verdicts(
    signatures: tuple[NDArray[np.uint8], Labels],
) -> None:
    canvases, labels = signatures
    trained = fit(
        canvases,
        labels,
        Split(tuple(range(JUDGED)), tuple(range(JUDGED, WRITERS))),
        TrainSpec(network="compact", epochs=3, calibration_share=0),
        on_epoch=lambda _: None,
        should_stop=lambda: False,
        on_checkpoint=lambda _: None,
        device=CPU,
    )
    distances, quick = _distances(trained.network, canvas_of("compact"), canvases, labels)
    assert len(distances) == (WRITERS - JUDGED) * (math.comb(EACH, 2) + EACH**2)
    assert np.abs(quick / distances - 1).max() < 0.01
    assert ((quick <= trained.threshold) != (distances <= trained.threshold)).mean() < 0.001


def test_the_heavy_network_gives_the_same_distances(signatures: tuple[NDArray[np.uint8], Labels]) -> None:
    canvases, labels = signatures
    torch.manual_seed(6)
    small = np.stack([cv2.resize(canvas, (105, 105), interpolation=cv2.INTER_AREA) for canvas in canvases])
    distances, quick = _distances(build("seed"), canvas_of("seed"), small, labels)
    assert np.abs(quick / distances - 1).max() < 0.001


def _distances(
    network: nn.Module, seen: Preprocessing, canvases: NDArray[np.uint8], labels: Labels
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of all genuine-genuine and genuine-forgery pairs of the writers judged: as it was, and quickened."""
    pairs = []
    for writer in range(JUDGED, WRITERS):
        genuine = np.flatnonzero((labels.writer == writer) & ~labels.forged)
        pairs += [
            *combinations(genuine, 2),
            *product(genuine, np.flatnonzero((labels.writer == writer) & labels.forged)),
        ]
    wanted, places = np.unique(np.array(pairs), return_inverse=True)
    first, second = places.reshape(-1, 2).T
    plain = Embedder(network, seen, CPU).embed(canvases[wanted])
    quick = Embedder(quickened(copy.deepcopy(network)), seen, CPU).embed(canvases[wanted])
    assert not np.array_equal(plain, quick)  # something was replaced
    return euclidean(plain, first, second), euclidean(quick, first, second)
