from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from shared.errors import InvalidInput
from shared.model_files import ModelMeta
from shared.specs import Preprocessing, canvas_of
from worker.ml.checkpoint import (
    Checkpoint,
    digest,
    load_checkpoint,
    load_model,
    save_checkpoint,
    save_model,
)
from worker.ml.networks import build

CANVAS = Preprocessing(height=96, width=192)


def meta(network: str = "compact", canvas: Preprocessing = CANVAS) -> ModelMeta:
    return ModelMeta(network=network, preprocessing=canvas, threshold=0.75, training={"eer": 0.125, "epochs": 3})


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(1)
    return build("compact")


@pytest.fixture(scope="module")
def saved(network: nn.Module) -> bytes:
    return save_model(network, meta())


def code_of(data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        load_model(data)
    return caught.value.code


def edited(data: bytes, old: str, new: str) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].decode()
    assert old in header
    changed = header.replace(old, new).encode()
    return len(changed).to_bytes(8, "little") + changed + data[8 + length :]


def test_a_model_comes_back_with_its_meta(network: nn.Module, saved: bytes) -> None:
    loaded, said = load_model(saved)
    assert said == meta()
    assert not loaded.training
    assert loaded.state_dict().keys() == network.state_dict().keys()
    canvases = torch.rand(2, 1, 96, 192)
    assert torch.equal(loaded(canvases), network.eval()(canvases))


def test_a_loaded_model_can_be_trained_on(saved: bytes) -> None:
    loaded, _ = load_model(saved)
    loaded.train()(torch.rand(2, 1, 96, 192)).sum().backward()
    assert all(weight.grad is not None for weight in loaded.parameters())


def test_a_model_is_read_from_a_path(saved: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(saved)
    assert load_model(path)[1].threshold == 0.75


def test_equal_models_have_equal_digests_whatever_their_memory_layout(network: nn.Module, saved: bytes) -> None:
    loaded, said = load_model(saved)
    again = save_model(loaded.to(memory_format=torch.channels_last), said)
    assert digest(again) == digest(saved)
    assert digest(save_model(network, meta().model_copy(update={"threshold": 0.5}))) != digest(saved)
    assert digest(b"abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_loading_leaves_the_random_numbers_alone(saved: bytes) -> None:
    before = torch.get_rng_state()
    load_model(saved)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("share", [0, 0.00001, 0.01, 0.5, 0.99999])
def test_a_cut_model_is_told(saved: bytes, share: float) -> None:
    assert code_of(saved[: int(len(saved) * share)]) == "model_damaged"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('\\"network\\":\\"compact\\"', '\\"network\\":\\"unheard\\"'),
        ('\\"network\\":\\"compact\\"', '\\"network\\":\\"seed\\"'),
        ('\\"height\\":96', '\\"height\\":97'),
        ('\\"threshold\\":0.75', '\\"threshold\\":NaN'),
        ('\\"channels\\":1', '\\"channels\\":3'),
        ('\\"comparer\\":\\"euclidean\\"', '\\"comparer\\":\\"manhattan\\"'),
        ('\\"comparer\\":\\"euclidean\\"', '\\"comparer\\":\\"local\\"'),
        ("countersign", "another"),
        ("head.weight", "tail.weight"),
        ('"dtype":"I64"', '"dtype":"U64"'),
    ],
)
def test_a_model_that_contradicts_itself_is_told(saved: bytes, old: str, new: str) -> None:
    assert code_of(edited(saved, old, new)) == "model_damaged"


def test_weights_that_are_not_finite_are_told() -> None:
    network = build("compact")
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = torch.nan
    assert code_of(save_model(network, meta())) == "model_damaged"


def test_other_bytes_are_no_model() -> None:
    assert code_of(b"not a model at all") == "model_damaged"
    assert code_of(save_checkpoint(checkpoint())) == "model_damaged"


def checkpoint() -> Checkpoint:
    rows = {"layer.weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(4)}
    return Checkpoint(
        epoch=4,
        weights=rows,
        averaged={name: value + 1 for name, value in rows.items()},
        best={"layer.weight": torch.zeros(2, 3)},
        optimiser={"0/exp_avg": torch.ones(2, 3), "0/step": torch.tensor(9.0)},
        notes={"eer": 0.1, "history": [1, 2]},
    )


def test_a_checkpoint_comes_back_whole() -> None:
    loaded, kept = load_checkpoint(save_checkpoint(checkpoint())), checkpoint()
    assert (loaded.epoch, loaded.notes) == (kept.epoch, kept.notes)
    for part in ("weights", "averaged", "best", "optimiser"):
        one, other = getattr(loaded, part), getattr(kept, part)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize("damage", ["cut", "model", "text"])
def test_a_damaged_checkpoint_is_told(saved: bytes, damage: str) -> None:
    whole = save_checkpoint(checkpoint())
    data = {"cut": whole[:-1], "model": saved, "text": json.dumps({"epoch": 1}).encode()}[damage]
    with pytest.raises(InvalidInput) as caught:
        load_checkpoint(data)
    assert caught.value.code == "checkpoint_damaged"


def test_comparer_preset_and_colours_come_back() -> None:
    said = ModelMeta(network="conv4", preprocessing=canvas_of("conv4", "photo", 3), threshold=0.5, comparer="cosine")
    network = build("conv4", 3).eval()
    loaded, meta = load_model(save_model(network, said))
    assert meta == said
    canvases = torch.rand(2, 3, 64, 64)
    assert torch.equal(loaded(canvases), network(canvases))


def test_a_file_from_before_comparers_had_names_is_euclidean(saved: bytes) -> None:
    assert load_model(edited(saved, ',\\"comparer\\":\\"euclidean\\"', ""))[1].comparer == "euclidean"
