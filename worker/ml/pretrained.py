"""Weights that others trained, from a file of the operator's: a state dict of torchvision, never code."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import nn

from shared.errors import InvalidInput
from worker.ml.checkpoint import digest
from worker.ml.networks.resnets import ResNet

# Of damaged bytes (no file is read meanwhile), of tensors that do not fit, and of what is no state dict at all.
_MISFITS = (
    SafetensorError, UnpicklingError, OSError, EOFError, LookupError, RuntimeError, ValueError, TypeError,
    AttributeError, AssertionError, struct.error,
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(pth|safetensors)")


def find_weights(folder: Path, name: str) -> Path:
    """The file of that name in the operator's folder of weights; names with a path in them are refused.

    Raises InvalidInput with code weights_unknown.
    """
    path = folder / name
    if not _NAME.fullmatch(name) or not path.is_file():
        raise InvalidInput(
            "weights_unknown",
            f"The server's folder of weights holds no file {name[:100]!r}. Ask its operator to put it there.",
        )
    return path


def take_weights(network: nn.Module, path: Path) -> str:
    """Have ``network`` start from the weights in ``path``; returns the digest of the file.

    ``path`` is a state dict of torchvision's network of the same name: ``.pth``, of which torch reads tensors only,
    or ``.safetensors``. Raises InvalidInput with code weights_unfit: the file is damaged or of another network, or
    ``network`` takes no such weights.
    """
    if not isinstance(network, ResNet):
        raise InvalidInput("weights_unfit", "This network has no weights of torchvision. Choose one of the resnets.")
    content = path.read_bytes()
    try:
        network.take_pretrained(_parse(content, path.suffix))
    except _MISFITS as error:
        raise InvalidInput(
            "weights_unfit",
            f"{path.name} is not a state dict of this network. Save torchvision's own, as .pth or .safetensors.",
        ) from error
    return digest(content)


def _parse(content: bytes, suffix: str) -> dict[str, torch.Tensor]:
    if suffix == ".safetensors":
        return load_tensors(content)
    weights: dict[str, torch.Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return weights
