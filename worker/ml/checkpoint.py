"""Networks and half-finished trainings as bytes: safetensors throughout, never pickle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from shared.errors import InvalidInput
from shared.model_files import META_KEY, ModelMeta
from shared.networks import NETWORKS, ComparerName
from worker.ml.compare import comparer
from worker.ml.networks import build
from worker.ml.weighted_l1 import give_comparison

Tensors = dict[str, torch.Tensor]

_PARTS = ("weights", "averaged", "best", "optimiser")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training after ``epoch`` epochs. ``optimiser`` is keyed ``<parameter index>/<name>``; notes fit JSON."""

    epoch: int
    weights: Tensors
    averaged: Tensors
    best: Tensors
    optimiser: Tensors
    notes: dict[str, Any]


def digest(data: bytes) -> str:
    """Name a file's bytes: ``sha256:`` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def save_model(network: nn.Module, meta: ModelMeta) -> bytes:
    """Write weights and meta as one safetensors file. The same weights and meta give the same bytes."""
    return _pack(network.state_dict(), meta.model_dump_json())


def load_model(data: bytes | Path) -> tuple[nn.Module, ModelMeta]:
    """Read a file of :func:`save_model`: the network, on the CPU and in evaluation mode, and its meta.

    Raises InvalidInput with code model_damaged if the bytes are not such a file, or its network is not in the
    catalogue, or weights, canvas and comparer do not fit that network, or a weight is not finite.
    """
    content = data.read_bytes() if isinstance(data, Path) else data
    try:
        text, tensors = _unpack(content)
        meta = ModelMeta.model_validate_json(text)
        info = NETWORKS[meta.network]
        if (meta.preprocessing.height, meta.preprocessing.width) != (info.height, info.width):
            raise ValueError("the canvas is not the network's")
        network = restore(build_empty(meta.network, meta.preprocessing.channels, meta.comparer), tensors).eval()
        comparer(meta.comparer, network)  # a name without its comparer is damage too
    except (SafetensorError, ValidationError, ValueError, LookupError, RuntimeError) as error:
        raise InvalidInput(
            "model_damaged", "The model file is damaged or of another version. Import it again, or train it anew."
        ) from error
    return network, meta


def build_empty(name: str, channels: int = 1, comparer_name: ComparerName = "euclidean") -> nn.Module:
    """Make a network without memory for its weights: for :func:`restore`, which brings them."""
    with torch.device("meta"):
        network = build(name, channels)
        if comparer_name == "weighted-l1":
            give_comparison(network, NETWORKS[name].representation)
    return network


def restore(network: nn.Module, tensors: Tensors) -> nn.Module:
    """Give a network these weights; ValueError or RuntimeError if they are not exactly its own, and finite."""
    for name, current in network.state_dict().items():
        if name in tensors and (tensors[name].dtype != current.dtype or not tensors[name].isfinite().all()):
            raise ValueError(f"{name} has another type or is not finite")
    network.load_state_dict(tensors, assign=True)
    return network


def save_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Write a half-finished training as one safetensors file."""
    tensors = {f"{part}/{name}": value for part in _PARTS for name, value in getattr(checkpoint, part).items()}
    return _pack(tensors, json.dumps({"epoch": checkpoint.epoch, "notes": checkpoint.notes}))


def load_checkpoint(data: bytes) -> Checkpoint:
    """Read a file of :func:`save_checkpoint`. Raises InvalidInput with code checkpoint_damaged."""
    try:
        text, tensors = _unpack(data)
        said = json.loads(text)
        parts: dict[str, Tensors] = {part: {} for part in _PARTS}
        for key, value in tensors.items():
            part, name = key.split("/", 1)
            parts[part][name] = value
        return Checkpoint(epoch=int(said["epoch"]), notes=dict(said["notes"]), **parts)
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise InvalidInput(
            "checkpoint_damaged", "The training's checkpoint is damaged. Start the training again."
        ) from error


def _pack(tensors: Tensors, text: str) -> bytes:
    # Memory layout is no part of the numbers: a network in channels_last must give the bytes of any other.
    rows = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # One key only: safetensors writes several in no fixed order, and equal models must have equal digests.
    return save_tensors(rows, metadata={META_KEY: text})


def _unpack(data: bytes) -> tuple[str, Tensors]:
    tensors = load_tensors(data)  # checks the header, so that its length may be trusted below
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header["__metadata__"][META_KEY], tensors
