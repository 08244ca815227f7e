"""A model file is judged by its header alone: whole, ours, of a known network, and with that network's weights."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
import torch

from shared.errors import InvalidInput
from shared.model_files import FINGERPRINTS, META_KEY, check_model_file, fingerprint
from shared.networks import NETWORKS
from tests.factories import ModelFile
from worker.ml.checkpoint import build_empty, load_model

KINDS = {torch.float32: "F32", torch.int64: "I64", torch.float64: "F64", torch.bool: "BOOL"}
Header = dict[str, Any]


def judge(content: bytes) -> str:
    """The network of the file, or the code with which it is refused."""
    try:
        return check_model_file(io.BytesIO(content), len(content)).network
    except InvalidInput as error:
        return error.code


def changed(content: bytes, change: Callable[[Header], object]) -> bytes:
    """The file with another header."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def with_meta(**values: Any) -> Callable[[Header], object]:
    def change(header: Header) -> None:
        meta = json.loads(header["__metadata__"][META_KEY]) | values
        header["__metadata__"][META_KEY] = json.dumps(meta)

    return change


def one_shorter(header: Header) -> None:
    name = next(name for name, tensor in header.items() if len(tensor.get("shape", ())) > 1)
    header[name]["shape"][0] -= 1


def turned(header: Header) -> None:
    name = next(name for name, tensor in header.items() if len(set(tensor.get("shape", ()))) > 1)
    header[name]["shape"].reverse()


def test_a_file_that_was_written_here_is_taken(tiny_model: ModelFile) -> None:
    found = check_model_file(io.BytesIO(tiny_model.content), len(tiny_model.content))
    assert found == load_model(tiny_model.content)[1]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda header: header.pop("__metadata__"), "model_file_foreign"),
        (lambda header: header.update(__metadata__={"format": "pt"}), "model_file_foreign"),
        (with_meta(threshold=-1), "model_file_foreign"),
        (with_meta(network="resnet152"), "network_unknown"),
        (with_meta(network="seed"), "weights_unfit"),
        (with_meta(comparer="weighted-l1"), "weights_unfit"),
        (with_meta(comparer="local"), "weights_unfit"),
        (turned, "weights_unfit"),
        (one_shorter, "model_file_invalid"),
        (lambda header: header.popitem(), "model_file_invalid"),
        (lambda header: header.update(more=7), "model_file_invalid"),
        (
            lambda header: header.update(more={"dtype": "F99", "shape": [0], "data_offsets": [0, 0]}),
            "model_file_invalid",
        ),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    tiny_model: ModelFile, change: Callable[[Header], object], code: str
) -> None:
    assert judge(changed(tiny_model.content, change)) == code


def test_what_is_no_safetensors_file_is_refused(tiny_model: ModelFile) -> None:
    whole = tiny_model.content
    nested = b"[" * 100_000
    for content in (
        b"",
        b"\x80\x04K\x01.",
        b"PK\x03\x04" + bytes(100),
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", len(nested)) + nested,
        whole[:-1],
        whole + b"\0",
        whole[:100],
    ):
        assert judge(content) == "model_file_invalid"


def test_the_fingerprints_are_those_of_the_networks() -> None:
    for (name, channels, learned), wanted in FINGERPRINTS.items():
        comparer = "weighted-l1" if learned else NETWORKS[name].comparer
        state = build_empty(name, channels, comparer).state_dict()
        tensors = {key: (KINDS[value.dtype], tuple(value.shape)) for key, value in state.items()}
        assert fingerprint(tensors) == wanted, (name, channels, learned)
    assert {name for name, _, _ in FINGERPRINTS} == set(NETWORKS)
