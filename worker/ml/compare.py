"""Distances between embeddings: one questioned signature against a reference set, alone or in bulk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_BLOCK = 65_536  # rows subtracted at a time: 32 MiB at 128 numbers a row


@dataclass(frozen=True, slots=True)
class SetDistance:
    """One comparison: the distance to each reference, the index of the nearest, and the distance to the set."""

    distances: Floats  # (R,)
    nearest: int
    distance: float


def set_distance(questioned: Floats, references: Floats) -> SetDistance:
    """Compare a questioned embedding (D,) with a reference set (R, D), R at least 1.

    Distances are Euclidean; the distance to the set is the mean of the distances to its references; the first of
    several equally near references is the nearest. The numbers equal those of :func:`set_distances`.
    """
    owner = np.zeros(len(references), np.int64)
    distances, whole, nearest = set_distances(questioned[None], references, owner)
    return SetDistance(distances, int(nearest[0]), float(whole[0]))


def set_distances(questioned: Floats, references: Floats, owner: Integers) -> tuple[Floats, Floats, Integers]:
    """Compare N questioned embeddings (N, D), each with its own reference set, M references (M, D) in all.

    ``owner`` (M,) is the index of the comparison that a reference row belongs to: ascending, and each of 0..N-1 at
    least once. Returns the distance to each reference (M,), the mean distance to each set (N,), and the position
    within its set of the nearest reference (N,), counting from 0. Raises ValueError for an owner of another form.
    """
    count = len(questioned)
    starts = np.searchsorted(owner, np.arange(count))  # (N,)
    sizes = np.diff(np.append(starts, len(owner)))  # (N,)
    if (
        len(owner) != len(references)
        or not np.array_equal(np.repeat(np.arange(count), sizes), owner)
        or (sizes < 1).any()
    ):
        raise ValueError("owner must ascend and name every comparison at least once, one number for each reference")
    distances = _distances(questioned, references, owner)
    if not count:
        return distances, np.zeros(0, np.float32), np.zeros(0, np.int64)
    mean = np.add.reduceat(distances.astype(np.float64), starts) / sizes
    lowest = np.minimum.reduceat(distances, starts)
    is_lowest = np.flatnonzero(distances == np.repeat(lowest, sizes))
    first = is_lowest[np.searchsorted(is_lowest, starts)]  # a set's first lowest row is not before its start
    return distances, mean.astype(np.float32), (first - starts).astype(np.int64)


def _distances(questioned: Floats, references: Floats, owner: Integers) -> Floats:
    """Root of the summed squared differences; expanding the square into dot products would cancel near zero."""
    out = np.empty(len(references), np.float32)
    for start in range(0, len(references), _BLOCK):
        rows = np.s_[start : start + _BLOCK]
        difference = references[rows].astype(np.float32) - questioned[owner[rows]].astype(np.float32)
        out[rows] = np.sqrt(np.einsum("md,md->m", difference, difference))
    return out
