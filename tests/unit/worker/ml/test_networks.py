from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shared.errors import InvalidInput
from shared.specs import NETWORKS
from worker.ml.networks import build

# First numbers of the embedding of the fixed canvas by the fixed weights below, float32 on the CPU.
GOLDEN = {
    "compact": [0.0604315, 0.156154, 0.161977, -0.0940515, 0.0915907, 0.104356, 0.20577, -0.266008],
    "seed": [5.01338, -2.65179, -0.159722, 8.7441, -1.16666, 2.36786, 1.43613, 3.01068],
}


def with_fixed_weights(name: str) -> nn.Module:
    """Weights from numpy's legacy generator, whose stream never changes; scaled as He et al. for their fan-in."""
    network, stream = build(name).eval(), np.random.RandomState(7)
    with torch.no_grad():
        for parameter in network.parameters():
            fan_in = max(1, parameter[0].numel())
            values = stream.standard_normal(tuple(parameter.shape)) * np.sqrt(2 / fan_in)
            parameter.copy_(torch.from_numpy(values) if parameter.dim() > 1 else torch.from_numpy(0.5 + 0.1 * values))
    return network


def fixed_canvas(name: str) -> torch.Tensor:
    info = NETWORKS[name]
    rows, columns = np.mgrid[0 : info.height, 0 : info.width]
    waves = np.sin(rows / 5.0) * np.cos(columns / 9.0)
    return torch.from_numpy(np.where(waves > 0.6, waves, 0)).float()[None, None]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_catalogue_and_builders_agree(name: str) -> None:
    info = NETWORKS[name]
    canvases = torch.rand(3, 1, info.height, info.width)
    embeddings = build(name).eval()(canvases)
    assert embeddings.shape == (3, info.representation)
    assert torch.isfinite(embeddings).all()


def test_every_builder_is_in_the_catalogue() -> None:
    with pytest.raises(InvalidInput, match=", ".join(sorted(NETWORKS))) as caught:
        build("resnet1001")
    assert caught.value.code == "network_unknown"


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_golden_embedding(name: str) -> None:
    with torch.inference_mode():
        embedding = with_fixed_weights(name)(fixed_canvas(name))[0]
    assert embedding[:8].tolist() == pytest.approx(GOLDEN[name], abs=1e-4, rel=1e-4)


def test_seed_is_the_listing_of_the_article() -> None:
    network = build("seed")
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    dense = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    shapes = [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0], c.padding[0]) for c in convolutions]
    assert shapes == [(1, 96, 11, 1, 0), (96, 256, 5, 1, 2), (256, 384, 3, 1, 1), (384, 256, 3, 1, 1)]
    assert [(layer.in_features, layer.out_features) for layer in dense] == [(30976, 1024), (1024, 128)]
    order = " ".join(type(layer).__name__ for layer in network.modules() if not list(layer.children()))
    assert order == (
        "Conv2d ReLU MaxPool2d Conv2d ReLU MaxPool2d Dropout Conv2d ReLU Conv2d ReLU MaxPool2d Dropout "
        "Linear ReLU Dropout Linear"
    )
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.3, 0.3, 0.5]


def test_compact_is_at_most_two_million_weights() -> None:
    assert sum(weight.numel() for weight in build("compact").parameters()) <= 2_000_000


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_weights_repeat_with_the_seed_of_torch(name: str) -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(torch.cat([weight.detach().ravel() for weight in build(name).parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_fresh_weights_tell_canvases_apart(name: str) -> None:
    torch.manual_seed(3)
    info = NETWORKS[name]
    canvases = (torch.rand(4, 1, info.height, info.width) > 0.9).float()
    embeddings = build(name).eval()(canvases)
    assert torch.pdist(embeddings).min() > 0.01 * embeddings.norm(dim=1).mean()


def test_compact_embeds_on_its_sphere() -> None:
    embeddings = with_fixed_weights("compact")(torch.rand(4, 1, 96, 192))
    assert embeddings.norm(dim=1).tolist() == pytest.approx([1.5] * 4, rel=1e-5)
