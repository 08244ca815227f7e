"""Which signatures meet in a batch, and which writers are kept out of training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.errors import TrainingFailed

Integers = NDArray[np.int64]
Writer = TypeVar("Writer", int, str)

LEAST_CALIBRATION = 3  # writers


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What is known of N images: the writer each one bears the name of, and whether it is a skilled forgery."""

    writer: Integers  # (N,)
    forged: NDArray[np.bool_]  # (N,)


@dataclass(frozen=True, slots=True)
class Split(Generic[Writer]):
    """Writers to learn from, writers that set the threshold and choose the weights, writers to calibrate on.

    Nobody is in two of them. ``calibration`` may be empty.
    """

    training: tuple[Writer, ...]
    validation: tuple[Writer, ...]
    calibration: tuple[Writer, ...] = ()


def split_writers(writers: Iterable[Writer], share: float, seed: int, calibration_share: float = 0.0) -> Split[Writer]:
    """Part the writers, never their images: about ``share`` of them to validation, at least one to each side.

    About ``calibration_share`` of them go to calibration: three at least or none, as fewer tell too little. Where the
    share itself is less than three, they are taken only if half of the writers remain to learn from.

    The same set of writers, in whatever order, is parted the same way by the same seed. Raises TrainingFailed with
    code too_few_writers for fewer than two.
    """
    known = sorted(set(writers))
    if len(known) < 2:
        raise TrainingFailed(
            "too_few_writers",
            f"Training needs signatures of 2 writers at least, there are {len(known)}: "
            "one side learns, the other sets the threshold. Add writers.",
        )
    held = min(max(1, round(share * len(known))), len(known) - 1)
    order = np.random.default_rng(seed).permutation(len(known))
    kept = _for_calibration(len(known), len(known) - held, calibration_share)
    validation = {known[index] for index in order[:held]}
    calibration = {known[index] for index in order[held : held + kept]}
    return Split(
        training=tuple(writer for writer in known if writer not in validation | calibration),
        validation=tuple(writer for writer in known if writer in validation),
        calibration=tuple(writer for writer in known if writer in calibration),
    )


def _for_calibration(writers: int, left: int, share: float) -> int:
    """How many of the ``left`` writers that are not in validation go to calibration; two remain at least."""
    asked = round(share * writers)
    if asked < LEAST_CALIBRATION:
        return LEAST_CALIBRATION if share and 2 * (left - LEAST_CALIBRATION) >= writers else 0
    most = left - 2
    return min(asked, most) if most >= LEAST_CALIBRATION else 0


def fold_writers(writers: Iterable[Writer], folds: int, seed: int) -> tuple[Split[Writer], ...]:
    """Part the writers, never their images, into ``folds`` groups as even as can be; each one judges the others once.

    The same set of writers, in whatever order, is parted the same way by the same seed. Raises TrainingFailed with
    code too_few_writers for fewer writers than folds.
    """
    known = sorted(set(writers))
    if len(known) < folds:
        raise TrainingFailed(
            "too_few_writers",
            f"{folds} folds need signatures of {folds} writers at least, there are {len(known)}. "
            "Add writers, or ask for fewer folds.",
        )
    order = np.random.default_rng(seed).permutation(len(known))
    fold_of = {known[index]: place % folds for place, index in enumerate(order)}
    return tuple(
        Split(
            training=tuple(writer for writer in known if fold_of[writer] != fold),
            validation=tuple(writer for writer in known if fold_of[writer] == fold),
        )
        for fold in range(folds)
    )


def refuse_leak(*sides: Iterable[tuple[str, str]]) -> None:
    """Check that no image is on two sides of a split, each side given as (entry, digest of its pixels).

    Raises TrainingFailed with code leak, naming both entries. The same image twice on one side is no leak.
    """
    known: dict[str, str] = {}
    for side in map(list, sides):
        for entry, digest in side:
            if digest in known:
                raise TrainingFailed(
                    "leak",
                    f"{known[digest]} and {entry} are the same image under two writers' names, and one of them is kept "
                    "out of training: the error rates would be false. Remove one, or correct its writer.",
                )
        known |= {digest: entry for entry, digest in side}


class WriterBatches:
    """The batches of one epoch: each of P writers x (K genuine + F skilled forgeries), as index arrays.

    Each writer comes ceil(passes x genuine signatures / K) times in an epoch, never twice in one batch; batches are of
    as even a number of writers as can be, at most ``writers_per_batch`` (one more than that rather than a writer
    alone). Signatures are dealt without repetition until all of the writer's have been used. A writer with too few
    forgeries gives genuine signatures in their place, and the other way round; nobody gives the same image twice
    in a batch. The order depends on nothing but the labels and (seed, epoch).
    """

    def __init__(
        self,
        labels: Labels,
        writers_per_batch: int,
        genuine: int,
        forged: int,
        seed: int,
        epoch: int,
        passes: float = 1.0,
    ) -> None:
        self._random = np.random.default_rng([seed, epoch])
        self._writers_per_batch = writers_per_batch
        self._genuine, self._forged = genuine, forged
        self._decks: dict[int, tuple[_Deck, _Deck]] = {}
        self._visits: dict[int, int] = {}
        for writer in np.unique(labels.writer).tolist():
            own = labels.writer == writer
            decks = tuple(_Deck(np.flatnonzero(own & (labels.forged == side)), self._random) for side in (False, True))
            self._decks[writer] = (decks[0], decks[1])
            self._visits[writer] = max(1, math.ceil(passes * decks[0].size / genuine))

    def __iter__(self) -> Iterator[Integers]:
        """Yield the indices (B,) of each batch into the labels."""
        for turn in range(max(self._visits.values(), default=0)):
            order = [writer for writer, visits in self._visits.items() if visits > turn]
            self._random.shuffle(order)
            batches = math.ceil(len(order) / self._writers_per_batch)
            if len(order) < 2 * batches:
                batches = max(1, len(order) // 2)
            for group in np.array_split(np.array(order, np.int64), batches):
                yield np.concatenate([self._deal(writer) for writer in group.tolist()])

    def _deal(self, writer: int) -> Integers:
        genuine, forged = self._decks[writer]
        places = self._genuine + self._forged
        wanted = max(self._genuine, places - forged.size)
        dealt = genuine.deal(wanted)
        return np.concatenate([dealt, forged.deal(places - len(dealt))])


class _Deck:
    """Indices dealt in random order, and shuffled anew when they run out."""

    def __init__(self, cards: Integers, random: np.random.Generator) -> None:
        self.size = len(cards)
        self._cards = random.permutation(cards)
        self._random = random
        self._next = 0

    def deal(self, count: int) -> Integers:
        """Deal ``count`` different indices, or all there are."""
        count = min(count, self.size)
        hand = self._cards[self._next : self._next + count]
        self._next += count
        if len(hand) < count:
            missing = count - len(hand)
            # Those in hand go to the end, so that the rest of the hand cannot repeat them.
            others = self._random.permutation(self._cards[~np.isin(self._cards, hand)])
            self._cards = np.concatenate([others, self._random.permutation(hand)])
            hand = np.concatenate([hand, others[:missing]])
            self._next = missing
        return hand
