"""How weights follow the gradient: optimisers, schedules of the learning rate, clipping, and half precision."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from shared.specs import TrainSpec

Tensors = dict[str, torch.Tensor]

LAST_RATE = 0.01  # of the full learning rate, at the end of the cosine schedule


def half_precision(device: torch.device) -> torch.dtype | None:
    """The half precision that ``device`` is fast in: bfloat16 where the hardware has it, else float16 on CUDA.

    None elsewhere: where it is emulated it is slower than float32.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else None


def rate_at(recipe: TrainSpec, progress: float) -> float:
    """The learning rate when ``progress`` (0..1) of all epochs are done.

    After a straight rise: half a cosine from the full rate down (Loshchilov and Hutter 2017, equation 5), steps, or no
    fall at all.
    """
    rise = min(1.0, (progress + 1e-3) / recipe.warm_up) if recipe.warm_up else 1.0
    match recipe.schedule:
        case "cosine":
            fall = LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * progress)) / 2
        case "step":
            fall = recipe.step_factor ** math.floor(progress * recipe.epochs / recipe.step_epochs + 1e-9)
        case "constant":
            fall = 1.0
    return recipe.learning_rate * rise * fall


class Descent:
    """The optimiser of a network's weights as the recipe has it.

    ``half`` is the type that the network computes in, None: float32. The gradients of float16 are scaled, so that small
    ones do not vanish; a step whose gradients overflow is left out and the scale lowered (Micikevicius et al. 2018,
    section 3.2).
    """

    def __init__(self, network: nn.Module, recipe: TrainSpec, device: torch.device, half: torch.dtype | None) -> None:
        self._weights = list(network.parameters())
        self._recipe, self._device, self._half = recipe, device, half
        self._optimiser = build_optimiser(self._weights, recipe)
        self._scaler = torch.amp.GradScaler(device.type, enabled=half == torch.float16)

    @property
    def rate(self) -> float:
        """The learning rate now."""
        return float(self._optimiser.param_groups[0]["lr"])

    def set_rate(self, progress: float) -> None:
        """Set the learning rate for when ``progress`` (0..1) of all epochs are done."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(self._recipe, progress)

    def autocast(self) -> AbstractContextManager[object]:
        """Within, the network computes in half precision, where the device has it."""
        return torch.autocast(self._device.type, self._half, enabled=self._half is not None)

    def step(self, loss: torch.Tensor) -> None:
        """One step down ``loss``, a finite scalar."""
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(loss))
        self._scaler.unscale_(self._optimiser)
        if self._recipe.clip:
            nn.utils.clip_grad_norm_(self._weights, self._recipe.clip)
        self._scaler.step(self._optimiser)
        self._scaler.update()

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """What :meth:`take_up` takes: tensors keyed ``<index of a weight>/<name>``, and the scale's, fit for JSON."""
        tensors = {
            f"{index}/{name}": value
            for index, values in self._optimiser.state_dict()["state"].items()
            for name, value in values.items()
            if value is not None
        }
        return tensors, self._scaler.state_dict()

    def take_up(self, tensors: Tensors, scale: dict[str, Any]) -> None:
        """Go on from a :meth:`state`."""
        state: dict[int, Tensors] = {}
        for key, value in tensors.items():
            index, name = key.split("/", 1)
            state.setdefault(int(index), {})[name] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": state, "param_groups": groups})
        if scale and self._scaler.is_enabled():
            self._scaler.load_state_dict(scale)


def build_optimiser(weights: list[nn.Parameter], recipe: TrainSpec) -> torch.optim.Optimizer:
    """The recipe's optimiser of ``weights``."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    match recipe.optimiser:
        case "adam":  # not fused: that goes through memory in order, and moments from a file have other strides
            return torch.optim.Adam(weights, rate, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(weights, rate, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(weights, rate, weight_decay=decay)
        case "sgd":
            nesterov = recipe.momentum > 0 and not recipe.classical_momentum
            return torch.optim.SGD(weights, rate, momentum=recipe.momentum, weight_decay=decay, nesterov=nesterov)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Within, sums on the CPU are made in one order, so that a training repeats to the last bit on the same machine."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    switches: Any = torch.utils.deterministic  # a module whose attributes are properties: nothing has their types
    filled = switches.fill_uninitialized_memory
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        switches.fill_uninitialized_memory = False  # nothing here reads what it has not written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        switches.fill_uninitialized_memory = filled
