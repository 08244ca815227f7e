"""Distances computed anew from the image files and the model's file alone, with nothing of ``worker``.

The preprocessing follows the docstring of ``worker.ml.images.prepare``, the network is the article's listing as
``docs/ARCHITECTURE.md`` gives it; both are written here a second time, in numpy and torch.nn.functional.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from tests.factories import manifest_of, training_files, write_files
from tests.servers import Stack

Grey = NDArray[np.float64]
SIDE = 105  # of the canvas
MARGIN = SIDE // 24


def otsu(grey: NDArray[np.uint8]) -> int:
    """The lowest level that maximises the variance between the pixels up to it and those above it."""
    counts = np.bincount(grey.ravel(), minlength=256).astype(float)
    levels = np.arange(256)
    best, best_variance = 0, -1.0
    for level in range(255):
        low, high = counts[: level + 1].sum(), counts[level + 1 :].sum()
        if low and high:
            means = (
                (counts[: level + 1] @ levels[: level + 1]) / low,
                (counts[level + 1 :] @ levels[level + 1 :]) / high,
            )
            variance = low * high * (means[0] - means[1]) ** 2
            if variance > best_variance * (1 + 1e-12):
                best, best_variance = level, variance
    return best


def pieces(mask: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """The 8-connected pieces of a mask, by flooding."""
    todo = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while todo:
        piece, edge = [], [todo.pop()]
        while edge:
            y, x = edge.pop()
            piece.append((y, x))
            for near in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if near in todo:
                    todo.remove(near)
                    edge.append(near)
        found.append(piece)
    return found


def shrinking(length: int, to: int) -> Grey:
    """The matrix (to, length) that averages by area: how much of each old pixel lies in each new one."""
    edges = np.arange(to + 1) * (length / to)
    starts = np.arange(length)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    weights: Grey = np.clip(overlap, 0, None) * (to / length)
    return weights


def canvas(path: Path) -> Grey:
    grey = np.asarray(Image.open(path).convert("L"))
    mask = grey <= otsu(grey)
    least = max(5, 0.002 * mask.sum())
    ink = np.zeros(grey.shape)
    for piece in pieces(mask):
        if len(piece) >= least:
            for y, x in piece:
                ink[y, x] = max(255 - int(grey[y, x]), 1)
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    crop = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min((SIDE - 2 * MARGIN) / crop.shape[0], (SIDE - 2 * MARGIN) / crop.shape[1])
    assert scale < 1, "the images of this test are larger than the canvas"
    height, width = round(crop.shape[0] * scale), round(crop.shape[1] * scale)
    small = np.rint(shrinking(crop.shape[0], height) @ crop @ shrinking(crop.shape[1], width).T)
    whole = np.zeros((SIDE, SIDE))
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    whole[top : top + height, left : left + width] = small
    return whole


def embedding(path: Path, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """The article's network, dropout left out as it is when verifying."""

    def convolve(maps: torch.Tensor, layer: int, padding: int = 0) -> torch.Tensor:
        name = f"features.{layer}"
        return nnf.relu(nnf.conv2d(maps, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=padding))

    maps = torch.from_numpy(canvas(path) / 255).float()[None, None]  # (1, 1, 105, 105)
    maps = nnf.max_pool2d(convolve(maps, 0), 3, 2)  # (1, 96, 47, 47)
    maps = nnf.max_pool2d(convolve(maps, 3, 2), 3, 2)  # (1, 256, 23, 23)
    maps = nnf.max_pool2d(convolve(convolve(maps, 7, 1), 9, 1), 3, 2)  # (1, 256, 11, 11)
    hidden = nnf.relu(maps.flatten() @ weights["head.0.weight"].T + weights["head.0.bias"])
    return hidden @ weights["head.3.weight"].T + weights["head.3.bias"]  # (128,)


def test_three_distances(stack: Stack, tmp_path: Path) -> None:
    files = training_files(writers=2, genuine=3, forged=1, seed=9)
    folder = write_files(tmp_path / "batch", files)
    genuine = [f"writer_0/genuine/{number}.png" for number in range(3)]
    rows = [
        ("genuine", genuine[0], (genuine[1],)),
        ("forged", "writer_0/forged/0.png", (genuine[0], genuine[1], genuine[2])),
        ("other", "writer_1/genuine/0.png", (genuine[2],)),
    ]
    (folder / "manifest.csv").write_text(manifest_of(*((name, q, "|".join(refs)) for name, q, refs in rows)))
    job = stack.json("submit", "verify", folder, "--model", "tiny-seed", "--wait")

    (model,) = [model for model in stack.json("models") if model["name"] == "tiny-seed"]
    weights = load_file(stack.home / "blobs" / "models" / f"{model['digest'].removeprefix('sha256:')}.safetensors")
    vectors = {name: embedding(folder / name, weights) for name in {*genuine, rows[1][1], rows[2][1]}}
    expected = {
        name: [float((vectors[questioned] - vectors[reference]).square().sum().sqrt()) for reference in references]
        for name, questioned, references in rows
    }
    assert min(min(each) for each in expected.values()) > 0.05, "distances near nothing would prove nothing"

    answers = {answer["id"]: answer for answer in stack.json("results", job["id"])}
    table = {row["id"]: row for row in csv.DictReader(io.StringIO(stack.run("results", job["id"]).stdout))}
    with stack.signed_in() as browser:
        for name, distances in expected.items():
            mean = sum(distances) / len(distances)
            assert answers[name]["distances"] == pytest.approx(distances, abs=1e-3)
            assert answers[name]["distance"] == pytest.approx(mean, abs=1e-3)
            assert answers[name]["nearest"] == 1 + distances.index(min(distances))
            assert float(table[name]["distance"]) == pytest.approx(mean, abs=1e-3)
            assert [float(each) for each in table[name]["distances"].split("|")] == pytest.approx(distances, abs=1e-3)
            page = browser.get(f"/jobs/{job['id']}/comparisons/{answers[name]['ordinal']}").text
            shown = re.search(r'id="distance">([\d.,]+)<', page)
            assert shown is not None
            assert float(shown[1].replace(",", "")) == pytest.approx(mean, abs=1e-3)
