from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from shared.errors import InvalidInput
from shared.networks import NETWORKS
from worker.ml.networks import build
from worker.ml.networks.resnets import ResNet
from worker.ml.networks.signet import LocalNorm

SIGNETS = ("signet", "signet-bn")
LAYERED = sorted(set(NETWORKS) - {"ink"})  # which has no layers; test_closedform.py tests it
LIGHT = sorted(set(LAYERED) - set(SIGNETS))  # those of which several can be made in a second

# First numbers of the embedding of the fixed canvas by the fixed weights below, float32 on the CPU.
GOLDEN = {
    "compact": [-0.0251388, 0.249651, -0.103197, 0.0740177, 0.328539, 0.124821, 0.149808, -0.0162047],
    "conv4": [-0.042756, -0.166905, 0.266099, -0.15588, 0.0635746, 0.011679, 0.372008, 0.0881759],
    "resnet18": [0.0573608, 0.10581, -0.118284, 0.060176, 0.126827, 0.0486528, -0.0794835, -0.0133484],
    "seed": [5.01338, -2.65179, -0.159722, 8.7441, -1.16666, 2.36786, 1.43613, 3.01068],
}


@cache
def made(name: str, channels: int) -> nn.Module:
    torch.manual_seed(3)
    return build(name, channels)


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    """Lets go of the networks, two gigabytes in all, when the tests of this file have ended."""
    yield
    made.cache_clear()


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


BOTH = pytest.mark.parametrize(
    ("name", "channels"), [(name, 1) for name in LAYERED] + [(name, 3) for name in (*LIGHT, "signet")]
)


@BOTH
def test_catalogue_and_builders_agree(name: str, channels: int) -> None:
    info, network = NETWORKS[name], made(name, channels).eval()
    canvases = torch.rand(2, channels, info.height, info.width)
    with torch.inference_mode():
        embeddings = network(canvases)
    assert embeddings.shape == (2, info.representation)
    assert embeddings.dtype == torch.float32
    assert torch.isfinite(embeddings).all()


@BOTH
def test_a_step_under_bfloat16_leaves_finite_weights_and_embeddings(name: str, channels: int) -> None:
    info, network = NETWORKS[name], deepcopy(made(name, channels)).train()
    canvases = (torch.rand(2, channels, info.height, info.width) > 0.9).float()
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = network(canvases)
    embeddings.float().var(0).sum().backward()
    assert torch.isfinite(embeddings).all()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", LAYERED)
def test_fresh_weights_tell_canvases_apart(name: str) -> None:
    info, network = NETWORKS[name], made(name, 1).eval()
    torch.manual_seed(3)
    canvases = (torch.rand(4, 1, info.height, info.width) > 0.9).float()
    with torch.inference_mode():
        embeddings = network(canvases)
    assert torch.pdist(embeddings).min() > 0.01 * embeddings.norm(dim=1).mean()


def test_every_builder_is_in_the_catalogue() -> None:
    with pytest.raises(InvalidInput, match=", ".join(sorted(NETWORKS))) as caught:
        build("resnet1001")
    assert caught.value.code == "network_unknown"


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_numbers_of_channels_are_refused(channels: int) -> None:
    with pytest.raises(InvalidInput, match=str(channels)) as caught:
        build("compact", channels)
    assert caught.value.code == "channels_unfit"


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_golden_embedding(name: str) -> None:
    with torch.inference_mode():
        embedding = with_fixed_weights(name)(fixed_canvas(name))[0]
    assert embedding[:8].tolist() == pytest.approx(GOLDEN[name], abs=1e-4, rel=1e-4)


def layers_of(network: nn.Module) -> str:
    return " ".join(type(layer).__name__ for layer in network.modules() if not list(layer.children()))


def convolutions_of(network: nn.Module) -> list[tuple[int, ...]]:
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    return [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0], int(c.padding[0])) for c in layers]


def dense_of(network: nn.Module) -> list[tuple[int, int]]:
    return [(layer.in_features, layer.out_features) for layer in network.modules() if isinstance(layer, nn.Linear)]


def dropouts_of(network: nn.Module) -> list[float]:
    return [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)]


def test_seed_is_the_listing_of_the_article() -> None:
    network = build("seed")
    assert convolutions_of(network) == [(1, 96, 11, 1, 0), (96, 256, 5, 1, 2), (256, 384, 3, 1, 1), (384, 256, 3, 1, 1)]
    assert dense_of(network) == [(30976, 1024), (1024, 128)]
    assert dropouts_of(network) == [0.3, 0.3, 0.5]
    assert layers_of(network) == (
        "Conv2d ReLU MaxPool2d Conv2d ReLU MaxPool2d Dropout Conv2d ReLU Conv2d ReLU MaxPool2d Dropout "
        "Linear ReLU Dropout Linear"
    )


@pytest.mark.parametrize(("name", "norm"), [("signet", "LocalNorm"), ("signet-bn", "BatchNorm2d")])
def test_signet_is_the_table_of_its_paper(name: str, norm: str) -> None:
    with torch.device("meta"):  # shapes alone
        network = build(name)
    assert convolutions_of(network) == [(1, 96, 11, 1, 0), (96, 256, 5, 1, 2), (256, 384, 3, 1, 1), (384, 256, 3, 1, 1)]
    assert dense_of(network) == [(256 * 17 * 25, 1024), (1024, 128)]
    assert dropouts_of(network) == [0.3, 0.3, 0.5]
    assert layers_of(network) == (
        f"Conv2d ReLU {norm} MaxPool2d Conv2d ReLU {norm} MaxPool2d Dropout Conv2d ReLU Conv2d ReLU MaxPool2d Dropout "
        "Linear ReLU Dropout Linear ReLU"
    )


@pytest.mark.parametrize("size", [1, 4, 5])
def test_local_norm_is_torchs_with_the_sum_for_the_mean(size: int) -> None:
    maps = torch.randn(2, 7, 5, 6, generator=torch.Generator().manual_seed(1)) * 30
    ours = LocalNorm(size, alpha=2e-4, beta=0.6, k=1.5)(maps)
    assert torch.allclose(ours, nn.LocalResponseNorm(size, alpha=2e-4 * size, beta=0.6, k=1.5)(maps), rtol=1e-6)


def test_local_norm_is_the_formula_of_its_paper() -> None:
    maps = torch.randn(1, 6, 2, 2, generator=torch.Generator().manual_seed(2)) * 50
    expected = torch.empty_like(maps)
    for channel in range(6):
        around = maps[:, max(0, channel - 2) : channel + 3]
        expected[:, channel] = maps[:, channel] / (2 + 1e-4 * around.square().sum(1)) ** 0.75
    assert torch.allclose(LocalNorm()(maps), expected, rtol=1e-5)


def test_local_norm_computes_in_float32_whatever_comes() -> None:
    maps = (torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(3)) * 20).bfloat16()
    maps.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        normed = LocalNorm()(maps)
    normed.sum().backward()
    assert normed.dtype == torch.float32
    assert torch.equal(normed, LocalNorm()(maps.float()))
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()


def test_compact_is_at_most_two_million_weights() -> None:
    assert sum(weight.numel() for weight in build("compact").parameters()) <= 2_000_000


@pytest.mark.parametrize("name", LIGHT)
def test_weights_repeat_with_the_seed_of_torch(name: str) -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(torch.cat([weight.detach().ravel() for weight in build(name).parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize("name", ["compact", "conv4", "resnet18"])
def test_some_networks_embed_on_a_sphere(name: str) -> None:
    info = NETWORKS[name]
    embeddings = with_fixed_weights(name)(torch.rand(3, 1, info.height, info.width))
    assert embeddings.norm(dim=1).tolist() == pytest.approx([1.5] * 3, rel=1e-5)


def test_a_grey_resnet_sees_equal_colours_as_the_one_in_colour_does() -> None:
    """The same pretrained weights, up to the difference between the colours' means and deviations and their mean."""
    torch.manual_seed(1)
    weights = {
        name: value for name, value in ResNet("resnet18", 3).backbone.state_dict().items() if not name.startswith("fc")
    }
    grey, colour = ResNet("resnet18", 1), ResNet("resnet18", 3)
    for network in (grey, colour):
        network.take_pretrained(weights)
        network.head.load_state_dict(grey.head.state_dict())
        network.means.fill_(0.45)
        network.deviations.fill_(0.225)
        network.eval()
    pictures = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(grey(pictures), colour(pictures.expand(-1, 3, -1, -1)), atol=1e-4)
