"""Which writers play which part: five folds over each set, and one set against the other. Nobody plays two parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np

SEED = 20261123
FOLDS = 5
SELECTION = 2  # writers of a set that choose the weights and set the threshold
CALIBRATION = 5  # writers of a set that likelihood ratios are fitted on
LEAST_TRAINING = 2

Writers = tuple[str, ...]


class WritersLeak(ValueError):
    """A writer plays two parts, and every figure would be false."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The writers of one training, by part; their names bear the set's before them, as in ``cedar/12``.

    Raises WritersLeak if a writer is in two parts.
    """

    training: Writers
    selection: Writers
    calibration: Writers
    test: Writers

    def __post_init__(self) -> None:
        for one, two in combinations(fields(self), 2):
            shared = set(getattr(self, one.name)) & set(getattr(self, two.name))
            if shared:
                raise WritersLeak(f"in {one.name} and in {two.name}: {', '.join(sorted(shared))}")

    @property
    def by_name(self) -> dict[str, Writers]:
        """All four, by the name of the part."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def folds_of(name: str, writers: Sequence[str]) -> tuple[Parts, ...]:
    """The folds over the writers of the set ``name``; every writer is tested in one of them, and but one.

    The order in which they are named makes no difference. Raises ValueError where they are too few.
    """
    known = _in_order(writers)
    order = np.random.default_rng(SEED).permutation(len(known))
    folds = []
    for fold in range(FOLDS):
        tested = {known[place] for place in order[fold::FOLDS]}
        rest = [writer for writer in known if writer not in tested]
        folds.append(_parted(name, rest, tuple(f"{name}/{writer}" for writer in known if writer in tested), fold))
    return tuple(folds)


def cross_set(trained: str, writers: Sequence[str], tested: str, others: Sequence[str]) -> Parts:
    """Train on one set, test on the whole of another. Raises ValueError where ``writers`` are too few."""
    return _parted(trained, _in_order(writers), tuple(f"{tested}/{name}" for name in _in_order(others)), FOLDS)


def _parted(name: str, rest: list[str], test: Writers, stream: int) -> Parts:
    """``rest`` parted at random into selection, calibration and training."""
    if len(rest) < SELECTION + CALIBRATION + LEAST_TRAINING:
        raise ValueError(
            f"{name} has too few writers: {len(rest)} are left beside those tested, and {SELECTION} are needed for "
            f"selection, {CALIBRATION} for calibration, {LEAST_TRAINING} to learn from."
        )
    order = np.random.default_rng([SEED, stream]).permutation(len(rest))
    ends = SELECTION, SELECTION + CALIBRATION
    groups = [tuple(f"{name}/{rest[place]}" for place in sorted(group)) for group in np.split(order, ends)]
    return Parts(training=groups[2], selection=groups[0], calibration=groups[1], test=test)


def _in_order(writers: Sequence[str]) -> list[str]:
    """Each writer once, by number where the name is one."""
    return sorted(set(writers), key=lambda name: (int(name) if name.isdecimal() else np.inf, name))
