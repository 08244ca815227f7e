"""Which comparisons an evaluation makes: the pair protocol, and the protocol of reference sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.ml.sampling import Labels

Integers = NDArray[np.int64]

MOST_PAIRS = 200_000  # genuine, and skilled; more are thinned out at random
MOST_RANDOM_PAIRS = 50_000
MOST_RANDOM_SETS = 5_000
_ALL_PAIRS_UP_TO = 3_000  # genuine signatures; of more, random pairs are drawn instead of counted through
_ALL_SETS_UP_TO = 2_000_000  # questioned signatures x writers; likewise

GENUINE, SKILLED, RANDOM = range(3)
KINDS = ("genuine", "skilled", "random")


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """P pairs of images: ``first`` (P,), genuine, and ``second`` (P,) are indices of images.

    ``kind`` (P,) is GENUINE, SKILLED or RANDOM. ``possible`` is how many pairs of each kind there would be.
    """

    first: Integers
    second: Integers
    kind: Integers
    possible: tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """Q questioned images, each against the reference set of a writer.

    ``questioned`` (Q,) are indices of images, ``writer`` (Q,) whose references they are held against, ``kind`` (Q,) as
    in :class:`Pairs`. ``references`` are those of each writer, in their order. ``left_out`` are the writers with too
    few genuine signatures.
    """

    questioned: Integers
    writer: Integers
    kind: Integers
    references: dict[int, Integers]
    left_out: tuple[int, ...]
    possible: tuple[int, int, int]


def choose_pairs(labels: Labels, seed: int) -> Pairs:
    """All genuine-genuine and genuine-forgery pairs of each writer, and pairs of genuine signatures of two writers.

    Each kind is thinned out at random beyond MOST_PAIRS, or MOST_RANDOM_PAIRS.
    """
    stream = np.random.default_rng([seed, 0])
    genuine, skilled = [_none()], [_none()]
    for writer in np.unique(labels.writer):
        own = np.flatnonzero((labels.writer == writer) & ~labels.forged)
        forged = np.flatnonzero((labels.writer == writer) & labels.forged)
        one, two = np.triu_indices(len(own), 1)
        genuine.append(np.stack([own[one], own[two]], 1))
        skilled.append(np.stack(np.meshgrid(own, forged, indexing="ij"), -1).reshape(-1, 2))
    groups = [np.concatenate(genuine), np.concatenate(skilled)]
    random, possible = _across(labels, stream)
    chosen = [*(_thinned(group, MOST_PAIRS, stream) for group in groups), _thinned(random, MOST_RANDOM_PAIRS, stream)]
    return _pairs(chosen, (len(groups[GENUINE]), len(groups[SKILLED]), possible))


def listed_pairs(labels: Labels, first: Integers, second: Integers, genuine: NDArray[np.bool_]) -> Pairs:
    """The pairs that the data list, (P,) each: all of them. ``genuine`` says that one writer wrote both images.

    Any other pair is a skilled forgery where both images bear the same writer's name, else a random one.
    """
    alike = labels.writer[first] == labels.writer[second]
    kind = np.where(genuine, GENUINE, np.where(alike, SKILLED, RANDOM)).astype(np.int64)
    counts = np.bincount(kind, minlength=3)
    return Pairs(first, second, kind, (int(counts[0]), int(counts[1]), int(counts[2])))


def choose_sets(labels: Labels, references: int, seed: int) -> Sets:
    """Each writer's first ``references`` genuine signatures are its references; the rest and its forgeries questioned.

    Random forgeries are other writers' genuine signatures, those that are not references themselves; beyond
    MOST_RANDOM_SETS they are thinned out at random. A writer with no genuine signature to spare is left out.
    """
    stream = np.random.default_rng([seed, 1])
    own: dict[int, Integers] = {}
    groups: list[list[Integers]] = [[_none()], [_none()]]
    left_out: list[int] = []
    for writer in np.unique(labels.writer).tolist():
        genuine = np.flatnonzero((labels.writer == writer) & ~labels.forged)
        if len(genuine) <= references:
            left_out.append(writer)
            continue
        own[writer] = genuine[:references]
        forged = np.flatnonzero((labels.writer == writer) & labels.forged)
        groups[GENUINE].append(_claimed(genuine[references:], writer))
        groups[SKILLED].append(_claimed(forged, writer))
    within = [np.concatenate(group) for group in groups]
    random = _strangers(within[GENUINE], np.array(list(own), np.int64), stream)
    chosen = [*within, _thinned(random, MOST_RANDOM_SETS, stream)]
    possible = len(within[GENUINE]) * max(0, len(own) - 1)
    pairs = _pairs(chosen, (len(within[GENUINE]), len(within[SKILLED]), possible))
    return Sets(pairs.first, pairs.second, pairs.kind, own, tuple(left_out), pairs.possible)


def _claimed(images: Integers, writer: int) -> Integers:
    return np.stack([images, np.full(len(images), writer)], 1)


def _strangers(spare: Integers, writers: Integers, stream: np.random.Generator) -> Integers:
    """Each of ``spare`` (S, 2: image, writer) against every other writer: (R, 2: image, claimed writer)."""
    every = len(spare) * len(writers)
    drawn = np.arange(every) if every <= _ALL_SETS_UP_TO else np.unique(stream.integers(0, every, 4 * MOST_RANDOM_SETS))
    image, claimed = np.divmod(drawn, max(1, len(writers)))
    other = spare[image, 1] != writers[claimed]
    return np.stack([spare[image[other], 0], writers[claimed[other]]], 1)


def _across(labels: Labels, stream: np.random.Generator) -> tuple[Integers, int]:
    """Pairs of genuine signatures of two writers, (P, 2), and how many there would be in all."""
    genuine = np.flatnonzero(~labels.forged)
    counts = np.unique(labels.writer[genuine], return_counts=True)[1].astype(np.int64)
    possible = int(len(genuine) ** 2 - (counts**2).sum()) // 2
    if len(genuine) <= _ALL_PAIRS_UP_TO:
        one, two = np.triu_indices(len(genuine), 1)
    else:
        drawn = np.sort(stream.integers(0, len(genuine), (4 * MOST_RANDOM_PAIRS, 2)), axis=1)
        one, two = np.unique(drawn, axis=0).T
    pairs = np.stack([genuine[one], genuine[two]], 1)
    return pairs[labels.writer[pairs[:, 0]] != labels.writer[pairs[:, 1]]], possible


def _thinned(pairs: Integers, most: int, stream: np.random.Generator) -> Integers:
    if len(pairs) <= most:
        return pairs
    return pairs[np.sort(stream.choice(len(pairs), most, replace=False))]


def _pairs(groups: list[Integers], possible: tuple[int, int, int]) -> Pairs:
    both = np.concatenate(groups)
    kind = np.repeat(np.arange(3), [len(group) for group in groups]).astype(np.int64)
    return Pairs(both[:, 0], both[:, 1], kind, possible)


def _none() -> Integers:
    return np.empty((0, 2), np.int64)
