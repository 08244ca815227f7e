"""Distances between representations: pairs of rows of one array, and questioned images against reference sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.networks import ComparerName

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Representations = NDArray[np.floating[Any]]  # (N, R), float32 or as stored

# rows (N, R), first (P,) and second (P,) of its indices -> the distances (P,), float32, lower is more alike
Comparer = Callable[[Representations, Integers, Integers], Floats]

_BLOCK = 65_536  # pairs subtracted at a time: 32 MiB at 128 numbers a row


def euclidean(rows: Representations, first: Integers, second: Integers) -> Floats:
    """Root of the summed squared differences; expanding the square into dot products would cancel near zero."""
    out = np.empty(len(first), np.float32)
    for start in range(0, len(first), _BLOCK):
        part = np.s_[start : start + _BLOCK]
        difference = rows[first[part]].astype(np.float32) - rows[second[part]].astype(np.float32)
        out[part] = np.sqrt(np.einsum("md,md->m", difference, difference))
    return out


def cosine(rows: Representations, first: Integers, second: Integers) -> Floats:
    """1 - cos of the angle between the rows, 0..2: half the squared Euclidean distance of the unit vectors."""
    wide = rows.astype(np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)  # (N, 1)
    units = wide / np.maximum(lengths, np.finfo(np.float32).tiny)
    return np.asarray(np.square(euclidean(units, first, second)) / 2, np.float32)


def comparer(name: ComparerName, network: object) -> Comparer:
    """The comparer a model file names.

    ``local`` is the network's own, by its method ``comparer()``; ``weighted-l1`` that of the distance it has learned,
    its part ``comparison``. Raises ValueError if the network has none.
    """
    if name in ("euclidean", "cosine"):
        return euclidean if name == "euclidean" else cosine
    owner = getattr(network, "comparison", None) if name == "weighted-l1" else network
    make: Callable[[], Comparer] | None = getattr(owner, "comparer", None)
    if make is None:
        raise ValueError("the network has no comparer of its own")
    return make()


def set_distances(
    rows: Representations, questioned: Integers, references: Integers, owner: Integers, compare: Comparer = euclidean
) -> tuple[Floats, Floats, Integers]:
    """Compare N questioned images (N,), each with its own reference set, M references (M,) in all.

    ``questioned`` and ``references`` are indices into ``rows`` (K, R). ``owner`` (M,) is the index of the comparison
    that a reference belongs to: ascending, and each of 0..N-1 at least once. Returns the distance to each reference
    (M,), the mean distance to each set (N,), and the position within its set of the nearest reference (N,), counting
    from 0; the first of several equally near. Raises ValueError for an owner of another form.
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
    if not count:
        return np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    distances = compare(rows, questioned[owner], references)
    mean = np.add.reduceat(distances.astype(np.float64), starts) / sizes
    lowest = np.minimum.reduceat(distances, starts)
    is_lowest = np.flatnonzero(distances == np.repeat(lowest, sizes))
    first = is_lowest[np.searchsorted(is_lowest, starts)]  # a set's first lowest row is not before its start
    return distances, mean.astype(np.float32), (first - starts).astype(np.int64)
