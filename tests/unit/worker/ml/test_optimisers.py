from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from shared.specs import TrainSpec
from worker.ml.average import RunningAverage
from worker.ml.optimisers import LAST_RATE, Descent, build_optimiser, half_precision, rate_at, repeatable

CPU = torch.device("cpu")


def line() -> nn.Linear:
    network = nn.Linear(3, 1, bias=False)
    nn.init.ones_(network.weight)
    return network


def descent(network: nn.Module, half: torch.dtype | None = None, **fields: object) -> Descent:
    plain = {"optimiser": "sgd", "momentum": 0, "weight_decay": 0, "learning_rate": 0.1, "clip": 0}
    return Descent(network, TrainSpec.model_validate(plain | fields), CPU, half)


def test_the_cosine_falls_from_the_full_rate_after_its_rise() -> None:
    recipe = TrainSpec(learning_rate=2.0, warm_up=0.1)
    rates = [rate_at(recipe, step / 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(2.0 * 0.01, rel=0.01)
    assert all(one < other for one, other in pairwise(rates[:95]))
    assert all(one > other for one, other in pairwise(rates[105:]))
    assert rates[500] == pytest.approx(2.0 * (LAST_RATE + (1 - LAST_RATE) / 2))
    assert rates[-1] == pytest.approx(2.0 * LAST_RATE)


def test_steps_fall_at_their_epochs() -> None:
    recipe = TrainSpec(epochs=30, schedule="step", step_epochs=10, step_factor=0.5, learning_rate=1.0, warm_up=0)
    rates = [rate_at(recipe, epoch / 30) for epoch in range(30)]
    assert rates == [1.0] * 10 + [0.5] * 10 + [0.25] * 10


def test_a_constant_rate_only_rises() -> None:
    recipe = TrainSpec(schedule="constant", learning_rate=0.5, warm_up=0.2)
    assert [rate_at(recipe, at) for at in (0.3, 0.6, 1.0)] == [0.5, 0.5, 0.5]
    assert rate_at(recipe, 0.1) == pytest.approx(0.25, rel=0.02)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [0.9, 0.8, 0.7]),  # w - 0.1 each time
        ({"momentum": 0.5, "classical_momentum": True}, [0.9, 0.75, 0.575]),  # v = 0.5 v + 1
        ({"momentum": 0.5}, [0.85, 0.675, 0.4875]),  # a step of 1 + 0.5 v
        ({"weight_decay": 0.5}, [0.85, 0.7075, 0.572125]),  # the gradient is 1 + 0.5 w
    ],
)
def test_sgd_by_hand(fields: dict[str, Any], expected: list[float]) -> None:
    network = line()
    work = descent(network, **fields)
    seen = []
    for _ in range(3):
        work.step(network.weight.sum())
        seen.append(network.weight[0, 0].item())
    assert seen == pytest.approx(expected)


def test_each_name_is_its_optimiser() -> None:
    names = ("adam", "adamw", "rmsprop", "sgd")
    built = [build_optimiser([*line().parameters()], TrainSpec.model_validate({"optimiser": name})) for name in names]
    assert [type(one) for one in built] == [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.SGD]


def test_long_gradients_are_cut_to_the_limit_and_short_ones_left() -> None:
    for clip, length in ((0.3, 0.3), (5.0, math.sqrt(3)), (0.0, math.sqrt(3))):
        network = line()
        descent(network, clip=clip).step(network.weight.sum())
        assert (1 - network.weight).norm().item() == pytest.approx(0.1 * length, rel=1e-4)


def test_float16_leaves_out_a_step_that_overflows_and_lowers_its_scale() -> None:
    network = line()
    work = descent(network, torch.float16)
    scale = work.state()[1]["scale"]
    with work.autocast():
        assert network(torch.ones(2, 3)).dtype == torch.float16
    work.step(network.weight.sum() * 3e38)  # finite, and its scaled gradient is not
    assert network.weight.tolist() == [[1.0, 1.0, 1.0]]
    assert work.state()[1]["scale"] == scale / 2
    work.step(network.weight.sum())
    assert network.weight.tolist() == [pytest.approx([0.9] * 3)]


def test_a_state_taken_up_goes_on_alike() -> None:
    steps = [torch.randn(3, generator=torch.Generator().manual_seed(seed)) for seed in range(6)]
    whole, part = line(), line()
    first, begun = (descent(one, torch.float16, optimiser="adam") for one in (whole, part))
    for number, direction in enumerate(steps):
        first.step((whole.weight * direction).sum())
        if number < 3:
            begun.step((part.weight * direction).sum())
    again = descent(part, torch.float16, optimiser="adam")
    again.take_up(*begun.state())
    for direction in steps[3:]:
        again.step((part.weight * direction).sum())
    assert torch.equal(whole.weight, part.weight)
    assert again.state()[1] == first.state()[1]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_a_state_from_a_file_goes_on_alike_whatever_the_strides_of_the_weights(name: str) -> None:
    """As networks on the CPU have them, channels last; a file knows no strides. Adam's fused step mixed them up."""
    torch.manual_seed(1)
    images = torch.rand(4, 3, 8, 8)
    begun = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    fields: dict[str, Any] = {"optimiser": name, "momentum": 0.9, "weight_decay": 5e-4, "learning_rate": 0.01}
    first = descent(begun, **fields)
    first.step(begun(images).square().mean())
    again = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    again.load_state_dict(begun.state_dict())
    tensors, scale = first.state()
    second = descent(again, **fields)
    second.take_up({key: value.clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}, scale)
    for network, down in ((begun, first), (again, second)):
        down.step(network(images).square().mean())
    assert torch.equal(begun.weight, again.weight)


def test_bfloat16_is_used_where_the_processor_has_it() -> None:
    able = torch.cpu.get_capabilities()
    has = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    assert half_precision(CPU) == (torch.bfloat16 if has else None)
    with descent(line()).autocast():
        assert line()(torch.ones(1, 3)).dtype == torch.float32


def test_the_order_of_sums_is_fixed_within_and_left_as_it_was() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    with repeatable(CPU):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    with repeatable(torch.device("cuda")):
        assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("keep", "expected"), [(0.0, 5.0), (0.9, None)])
def test_the_running_average(keep: float, expected: float | None) -> None:
    network = nn.BatchNorm1d(1)
    average = RunningAverage(network, keep)
    mean = 1.0
    for step in range(1, 6):
        with torch.no_grad():
            network.weight.fill_(step)
        network.load_state_dict({"num_batches_tracked": torch.tensor(step)}, strict=False)
        average.follow(network)
        share = min(keep, step / (step + 10))
        mean = share * mean + (1 - share) * step
    assert average.values["weight"].item() == pytest.approx(expected or mean)
    assert average.values["num_batches_tracked"].item() == 5
    assert average.steps == 5
