"""The pairs of the validation writers: they choose the weights and set the threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shared.errors import TrainingFailed
from worker.ml.compare import Comparer
from worker.ml.losses import BatchLoss
from worker.ml.metrics import equal_error_rate
from worker.ml.sampling import Labels, Split, WriterBatches

Integers = NDArray[np.int64]

MOST_PAIRS = 200_000  # of a group; more are thinned out at random
_RANDOM_SHARE = 3  # random forgeries for each genuine signature


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the validation writers say of a network: ``threshold`` and ``eer`` are against the pairs' ``forgeries``.

    ``eers`` are against each kind of forgery there is, ``skilled`` and ``random``. ``error``, their mean, is what the
    best epoch is chosen by: of two networks that tell skilled forgeries alike, the one that confuses writers is worse.
    """

    eer: float
    threshold: float
    eers: dict[str, float]

    @property
    def error(self) -> float:
        """The mean of the EERs, 0..1."""
        return sum(self.eers.values()) / len(self.eers)


@dataclass(frozen=True, slots=True, eq=False)
class ValidationPairs:
    """Pairs (P, 2) of positions in ``rows``, which are the indices of the images to embed.

    ``forgeries`` is what the EER is measured against: all genuine-genuine against all genuine-forgery pairs of a
    writer (``skilled``), or, without any forgery, against genuine signatures of other writers (``random``).
    """

    rows: Integers
    genuine: Integers
    skilled: Integers
    random: Integers
    forgeries: str
    note: str

    @classmethod
    def choose(cls, labels: Labels, split: Split[int], seed: int) -> ValidationPairs:
        """Choose them. Raises TrainingFailed with code no_genuine_pairs or too_few_writers."""
        stream = np.random.default_rng([seed, 0])
        inside = np.isin(labels.writer, split.validation)
        genuine, skilled = _within(labels, split)
        if not len(genuine):
            raise TrainingFailed(
                "no_genuine_pairs",
                "No writer kept out of training to set the threshold has 2 genuine signatures. Add genuine "
                "signatures, or keep out a larger share of the writers.",
            )
        borrowed = len(np.unique(labels.writer[inside & ~labels.forged])) < 2
        others = ~labels.forged if borrowed else inside & ~labels.forged
        random = _across(labels, np.flatnonzero(inside & ~labels.forged), np.flatnonzero(others), stream)
        if not len(skilled) and not len(random):
            raise TrainingFailed(
                "too_few_writers", "There is nothing to tell genuine signatures from. Add writers or forgeries."
            )
        pairs = [_thinned(group, stream) for group in (genuine, skilled, random)]
        rows, places = np.unique(np.concatenate(pairs), return_inverse=True)
        ends = np.cumsum([len(group) for group in pairs])[:-1]
        placed = np.split(places.reshape(-1, 2).astype(np.int64), ends)  # genuine, skilled, random
        forgeries = "skilled" if len(skilled) else "random"
        note = _note(labels, split, forgeries, borrowed)
        return cls(rows, placed[0], placed[1], placed[2], forgeries, note)

    def judge(self, rows: NDArray[np.float32], compare: Comparer) -> Judgement:
        """Error rates and threshold of representations (len(self.rows), R)."""
        groups = {name: getattr(self, name) for name in ("genuine", "skilled", "random")}
        distances = {name: compare(rows, pairs[:, 0], pairs[:, 1]) for name, pairs in groups.items() if len(pairs)}
        genuine = distances.pop("genuine")
        crossings = {name: equal_error_rate(genuine, forged) for name, forged in distances.items()}
        told = crossings[self.forgeries]
        return Judgement(told.rate, told.threshold, {name: crossing.rate for name, crossing in crossings.items()})


def loss_over(
    rows: NDArray[np.float32], labels: Labels, batches: WriterBatches, loss: BatchLoss, device: torch.device
) -> float:
    """What ``loss`` is for representations (N, R), met in batches as in training; ``labels`` are theirs. The mean."""
    total, seen = 0.0, 0
    with torch.inference_mode():
        for batch in batches:
            part = torch.from_numpy(rows[batch]).to(device)
            writers = torch.from_numpy(labels.writer[batch]).to(device)
            forged = torch.from_numpy(labels.forged[batch]).to(device)
            total += loss(part, writers, forged).item() * len(batch)
            seen += len(batch)
    return total / seen


def _within(labels: Labels, split: Split[int]) -> tuple[Integers, Integers]:
    """All genuine-genuine and all genuine-forgery pairs of each validation writer."""
    genuine, skilled = [np.empty((0, 2), np.int64)], [np.empty((0, 2), np.int64)]
    for writer in split.validation:
        own = np.flatnonzero((labels.writer == writer) & ~labels.forged)
        forged = np.flatnonzero((labels.writer == writer) & labels.forged)
        first, second = np.triu_indices(len(own), 1)
        genuine.append(np.stack([own[first], own[second]], 1))
        skilled.append(np.stack(np.meshgrid(own, forged, indexing="ij"), -1).reshape(-1, 2))
    return np.concatenate(genuine), np.concatenate(skilled)


def _across(labels: Labels, first: Integers, others: Integers, stream: np.random.Generator) -> Integers:
    """For each of ``first``, some of ``others`` that are another writer's."""
    pairs = [np.empty((0, 2), np.int64)]
    for one in first:
        strangers = others[labels.writer[others] != labels.writer[one]]
        chosen = stream.choice(strangers, min(_RANDOM_SHARE, len(strangers)), replace=False)
        pairs.append(np.stack([np.full(len(chosen), one), chosen], 1))
    return np.concatenate(pairs)


def _thinned(pairs: Integers, stream: np.random.Generator) -> Integers:
    if len(pairs) <= MOST_PAIRS:
        return pairs
    return pairs[np.sort(stream.choice(len(pairs), MOST_PAIRS, replace=False))]


def _note(labels: Labels, split: Split[int], forgeries: str, borrowed: bool) -> str:
    trained_on_forgeries = (labels.forged & np.isin(labels.writer, split.training)).any()
    if forgeries == "random":
        note = "No skilled forgeries: error rate and threshold are against other writers' own signatures"
        if borrowed:
            note += ", those of writers that training saw, since only one writer was kept out"
        return note + ". Expect skilled forgeries to be accepted more often."
    if not trained_on_forgeries:
        return "The writers to learn from have no skilled forgeries: training was against other writers' signatures."
    return ""
