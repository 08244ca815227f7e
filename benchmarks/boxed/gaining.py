"""What fine-tuning gains: the boxed model, then few writers of people's on top of it, beside those writers alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from benchmarks.boxed.measuring import Figures, RealSet, completed, measure
from shared.calibration import Calibration
from shared.specs import TrainSpec
from worker.ml.calibrate import calibrate_model
from worker.ml.checkpoint import Tensors
from worker.ml.closedform import fit_statistics
from worker.ml.compare import comparer
from worker.ml.sampling import Split, split_writers

RECIPE = TrainSpec(name="gain", network="ink")
SIZES = (5, 10, 20)  # writers to tune with


@dataclass(frozen=True, slots=True)
class Trial:
    """One draw of writers: how many, and what came of them with the boxed model's weights first, and without."""

    writers: int
    draw: int
    tuned: Figures
    alone: Figures


def part_writers(writers: Sequence[int], seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Test writers, who stay the same throughout, and those that tuning may draw from; so many that SIZES fit."""
    order = np.random.default_rng(seed).permutation(np.array(writers))
    tested = order[: len(order) - max(SIZES) - max(SIZES) // 4]
    others = order[len(tested) :]
    return tuple(sorted(tested.tolist())), tuple(sorted(others.tolist()))


def run_trials(data: RealSet, boxed: Tensors, draws: int, seed: int) -> list[Trial]:
    """``draws`` random draws for each of SIZES; the same writers with and without the boxed model."""
    tested, others = part_writers(range(len(data.writers)), seed)
    aside = data.of(tested)
    trials = []
    for size in SIZES:
        for draw in range(draws):
            chosen = np.random.default_rng([seed, size, draw]).choice(np.array(others), size, replace=False)
            known = data.of(chosen.tolist())
            both = [_measured(known, aside, chosen.tolist(), initial) for initial in (boxed, None)]
            trials.append(Trial(size, draw, both[0], both[1]))
    return trials


def _measured(known: RealSet, aside: RealSet, writers: list[int], initial: Tensors | None) -> Figures:
    """Train as a training job would, with the writers parted as it parts them, and measure on ``aside``."""
    split = split_writers(writers, RECIPE.validation_share, RECIPE.seed, RECIPE.calibration_share)
    result, _ = fit_statistics(known.rows, known.labels, Split(split.training, split.validation), RECIPE, initial)
    kept = known.of(split.calibration)
    return measure(aside, result.network, _calibration(kept, result.network) if split.calibration else None)


def _calibration(kept: RealSet, network: nn.Module) -> Calibration:
    names = [str(writer) for writer in kept.labels.writer]
    rows, compare = completed(network, kept.rows), comparer("local", network)
    return calibrate_model(rows, names, kept.labels.forged, compare, seed=RECIPE.seed)


def row_of(values: Sequence[float]) -> str:
    """Mean and lowest to highest, in per cent."""
    shown = [100 * value for value in values]
    return f"{statistics.fmean(shown):.1f} ({min(shown):.1f} to {max(shown):.1f})"
