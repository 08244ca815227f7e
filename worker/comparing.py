"""An evaluation's comparisons: representations of a whole data set, and the scores of many pairs and sets of them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.calibration import Calibration
from worker.ml.compare import Comparer, Representations
from worker.ml.embedder import Embedder
from worker.ml.evaluation import Scores
from worker.ml.metrics import Doubles
from worker.ml.refsets import SetShape, rank_sets, score_sets, shapes_of
from worker.ml.sampling import Labels
from worker.ml.trials import Pairs, Sets

Integers = NDArray[np.int64]
Told = Callable[[int, int], None]
"""(done, total), called now and then; what it raises stops the work."""

BATCH = 64  # canvases represented in one go
BLOCK = 2048  # pairs compared in one go: at most 4096 rows of representations are in memory


def represent(embedder: Embedder, canvases: NDArray[np.uint8], folder: Path, told: Told) -> Representations:
    """The representations (N, R) of ``canvases`` (N, H, W), N at least 1, as a file in ``folder`` mapped to memory."""
    rows: NDArray[np.floating[Any]] | None = None
    for start in range(0, len(canvases), BATCH):
        part = embedder.embed(canvases[start : start + BATCH])
        if rows is None:
            rows = _mapped(folder / "representations", (len(canvases), part.shape[1]), part.dtype)
        rows[start : start + len(part)] = part
        told(start + len(part), len(canvases))
    if rows is None:
        raise ValueError("there is no canvas to represent")
    return rows


def compare_blocks(
    rows: Representations, first: Integers, second: Integers, compare: Comparer, told: Told
) -> NDArray[np.float32]:
    """The distances (P,) of pairs of ``rows`` (N, R), of which only those that a block needs are read at a time."""
    distances = np.empty(len(first), np.float32)
    for start in range(0, len(first), BLOCK):
        part = np.s_[start : start + BLOCK]
        used, places = np.unique(np.concatenate([first[part], second[part]]), return_inverse=True)
        one, two = np.split(places.astype(np.int64), 2)
        distances[part] = compare(np.asarray(rows[used]), one, two)
        told(min(start + BLOCK, len(first)), len(first))
    return distances


def score_pairs(
    pairs: Pairs, labels: Labels, rows: Representations, compare: Comparer, calibration: Calibration | None, told: Told
) -> Scores:
    """The scores of pairs: distances, and, with ``calibration``, the likelihood ratios of sets of one reference."""
    distances = compare_blocks(rows, pairs.first, pairs.second, compare, told)
    llr = None
    if calibration is not None:
        alone = SetShape(np.array([calibration.pool.mean]), calibration.pool.spread)
        llr = score_sets(calibration, distances, np.ones(len(distances), np.int64), [alone] * len(distances))
    writer, signer = labels.writer[pairs.first], labels.writer[pairs.second]
    return Scores(pairs.kind, writer, signer, distances.astype(np.float64), llr)


def score_reference_sets(
    sets: Sets, labels: Labels, rows: Representations, compare: Comparer, calibration: Calibration | None, told: Told
) -> Scores:
    """The scores of questioned images against reference sets: the mean distance, and the calibrated set score.

    Sets are ranked by that score, not by its likelihood ratio: beyond the bounds of a calibration all ratios are equal.
    """
    members = [sets.references[writer] for writer in sets.writer.tolist()]
    sizes = np.array([len(one) for one in members], np.int64)
    references = np.concatenate([np.zeros(0, np.int64), *members])
    distances = compare_blocks(rows, references, np.repeat(sets.questioned, sizes), compare, told)
    starts = (np.cumsum(sizes) - sizes).astype(np.int64)
    mean: Doubles = np.zeros(0)
    if len(sizes):
        mean = np.add.reduceat(distances.astype(np.float64), starts) / sizes
    llr = fused = None
    if calibration is not None and len(sizes):
        score, llr = _rank(sets, rows, compare, calibration, distances, sizes)
        fused = -score
    return Scores(sets.kind, sets.writer, labels.writer[sets.questioned], mean, llr, fused)


def _rank(
    sets: Sets,
    rows: Representations,
    compare: Comparer,
    calibration: Calibration,
    distances: NDArray[np.float32],
    sizes: Integers,
) -> tuple[Doubles, Doubles]:
    shapes = {}
    for writer, members in sets.references.items():
        own = np.asarray(rows[members])  # one set at a time is in memory
        inside = tuple(range(len(members)))
        shapes[writer] = shapes_of(own, [inside], compare, calibration.pool)[inside]
    return rank_sets(calibration, distances, sizes, [shapes[writer] for writer in sets.writer.tolist()])


def _mapped(path: Path, shape: tuple[int, int], kind: np.dtype[Any]) -> NDArray[np.floating[Any]]:
    """A writable array on the disk, its room taken at once: a sparse file on a full disk would end the process."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, math.prod(shape) * kind.itemsize)
    return np.memmap(path, dtype=kind, mode="r+", shape=shape)
