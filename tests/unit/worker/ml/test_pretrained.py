from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from shared.errors import InvalidInput
from worker.ml.checkpoint import digest
from worker.ml.networks import build
from worker.ml.pretrained import find_weights, take_weights

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def weights() -> Weights:
    torch.manual_seed(5)
    return dict(get_model("resnet18", weights=None).state_dict())


def written(folder: Path, weights: object, name: str = "resnet18.pth") -> Path:
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(weights, path)  # type: ignore[arg-type]  # tensors by name here
    else:
        torch.save(weights, path)
    return path


def code_of(path: Path, network: str = "resnet18") -> str:
    with pytest.raises(InvalidInput) as caught:
        take_weights(build(network), path)
    return caught.value.code


@pytest.mark.parametrize("name", ["resnet18.pth", "resnet18.safetensors"])
def test_weights_in_colour_are_taken_as_they_are(weights: Weights, tmp_path: Path, name: str) -> None:
    network = build("resnet18", 3)
    head = network.get_parameter("head.weight").clone()
    path = written(tmp_path, weights, name)
    assert take_weights(network, path) == digest(path.read_bytes())
    taken = network.state_dict()
    assert all(torch.equal(taken[f"backbone.{key}"], value) for key, value in weights.items() if key[:3] != "fc.")
    assert torch.equal(taken["head.weight"], head)


def test_a_grey_network_takes_the_sum_over_the_colours(weights: Weights, tmp_path: Path) -> None:
    network = build("resnet18", 1)
    take_weights(network, written(tmp_path, weights))
    first = network.get_parameter("backbone.conv1.weight")
    assert torch.allclose(first, weights["conv1.weight"].sum(1, keepdim=True))
    assert torch.equal(network.get_parameter("backbone.layer1.0.conv1.weight"), weights["layer1.0.conv1.weight"])


def test_weights_without_the_classifier_will_do(weights: Weights, tmp_path: Path) -> None:
    bare = {key: value for key, value in weights.items() if key[:3] != "fc."}
    network = build("resnet18")
    take_weights(network, written(tmp_path, bare))
    assert torch.equal(network.get_parameter("backbone.layer4.1.conv2.weight"), weights["layer4.1.conv2.weight"])


@pytest.mark.parametrize("network", ["resnet34", "resnet50", "compact"])
def test_weights_of_another_network_do_not_fit(weights: Weights, tmp_path: Path, network: str) -> None:
    assert code_of(written(tmp_path, weights), network) == "weights_unfit"


@pytest.mark.parametrize("what", ["missing", "shape", "colours", "nan", "list", "number", "text"])
def test_what_is_no_state_dict_of_the_network_is_told(weights: Weights, tmp_path: Path, what: str) -> None:
    bad: dict[str, object] = {
        "missing": {key: value for key, value in weights.items() if key != "bn1.weight"},
        "shape": weights | {"bn1.weight": torch.ones(63)},
        "colours": weights | {"conv1.weight": torch.ones(64, 4, 7, 7)},
        "nan": weights | {"bn1.weight": torch.full((64,), torch.nan)},
        "list": list(weights.values())[:3],
        "number": {**weights, "bn1.weight": 3.0},
        "text": "a text",
    }
    assert code_of(written(tmp_path, bad[what])) == "weights_unfit"


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("evil"),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_would_run_code_is_refused_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    if legacy:
        path.write_bytes(pickle.dumps(Evil(), 2))
    else:
        torch.save({"conv1.weight": Evil()}, path)
    assert code_of(path) == "weights_unfit"
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_cut_file_is_told(weights: Weights, tmp_path: Path, name: str, share: float) -> None:
    path = written(tmp_path, weights, name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert code_of(path) == "weights_unfit"


def test_weights_are_found_by_name_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "own.pth").write_bytes(b"x")
    assert find_weights(tmp_path, "own.pth") == tmp_path / "own.pth"


@pytest.mark.parametrize(
    "name", ["other.pth", "../own.pth", "/etc/passwd", "", ".pth", "sub/own.pth", "own.txt", "sub.pth"]
)
def test_other_names_are_unknown(tmp_path: Path, name: str) -> None:
    for path in (tmp_path / "own.pth", tmp_path / "weights" / "sub" / "own.pth", tmp_path / "weights" / "own.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "weights" / "sub.pth").mkdir()
    with pytest.raises(InvalidInput, match="operator") as caught:
        find_weights(tmp_path / "weights", name)
    assert caught.value.code == "weights_unknown"
