"""One-shot classification: which category is a test image most like, or is it none of them; and how often rightly.

The N categories and their K images are the gallery; nothing is trained on them (Koch, Zemel and Salakhutdinov 2015,
"Siamese neural networks for one-shot image recognition", section 4.3). "None of these" is open-set identification: the
nearest category is named only within a threshold.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.ml.compare import Comparer, Floats, Integers, Representations

Z95 = 1.959963984540054  # quantile 0.975 of the normal distribution
CONFUSIONS_SHOWN = 20
STRANGERS_NAMED = 0.05  # share of strangers that a threshold may name which is told as a stricter one
FEWEST_CATEGORIES = 20  # to tell one by


@dataclass(frozen=True, slots=True)
class Classified:
    """For each of T test images: category numbers, distances to them, and whether the nearest is near enough."""

    nearest: Integers  # (T,)
    distance: Floats  # (T,)
    runner_up: Integers  # (T,), -1 where there is only one category
    runner_up_distance: Floats  # (T,), NaN there
    none: NDArray[np.bool_]  # (T,) True: none of these


@dataclass(frozen=True, slots=True)
class Tally:
    """So many test images of one truth got one answer. ``category`` None: none of these."""

    truth: str
    category: str | None
    nearest: str
    count: int


def distances_to(rows: Representations, tests: Integers, gallery: Integers, compare: Comparer) -> Floats:
    """Distances (T, M) of test images (T,) to gallery images (M,), both indices into ``rows`` (N, R)."""
    if not len(tests):
        return np.zeros((0, len(gallery)), np.float32)
    first, second = np.repeat(tests, len(gallery)), np.tile(gallery, len(tests))
    return compare(rows, first, second).reshape(len(tests), len(gallery))


def classify(distances: Floats, owner: Integers, threshold: float) -> Classified:
    """The nearest category of each test image, the runner-up, and none of these where it is over the threshold.

    ``distances`` (T, M) are to the gallery's images, ``owner`` (M,) is the category of each: every number from 0 to
    C - 1 at least once, in any order. The distance to a category is the mean of the distances to its K images. The
    mean keeps the scale of a single pair, on which the threshold was set, whatever K is (the minimum shrinks as K
    grows, so that the category with most images would attract most strangers), and it needs distances only (a
    prototype, the mean of representations, has no meaning for representations that are matched location by location).
    Of equally near categories the one with the lower number is the nearer. Raises ValueError for an owner of another
    form, and for distances that are not finite.
    """
    means = _category_means(distances, owner)
    each = np.arange(len(means))
    nearest = np.argmin(means, axis=1)
    distance = means[each, nearest]
    rest = means.copy()
    rest[each, nearest] = np.inf
    following = np.argmin(rest, axis=1)
    alone = means.shape[1] == 1
    second = np.where(alone, np.nan, rest[each, following])
    return Classified(
        nearest=nearest.astype(np.int64),
        distance=distance.astype(np.float32),
        runner_up=np.where(alone, -1, following).astype(np.int64),
        runner_up_distance=second.astype(np.float32),
        none=distance > threshold,
    )


def _category_means(distances: Floats, owner: Integers) -> NDArray[np.float64]:
    """The distances (T, C) to categories, as :func:`classify` takes and checks its arguments."""
    sizes = np.bincount(owner) if len(owner) else np.zeros(0, np.int64)  # (C,)
    if distances.ndim != 2 or distances.shape[1] != len(owner) or not len(sizes) or not sizes.all():
        raise ValueError("owner must name every category from 0 at least once, one number for each column")
    if not np.isfinite(distances).all():
        raise ValueError("the distances must be finite")
    order = np.argsort(owner, kind="stable")
    starts = np.cumsum(sizes) - sizes
    return np.asarray(np.add.reduceat(distances[:, order].astype(np.float64), starts, axis=1) / sizes)


def nearest_strange(distances: Floats, owner: Integers, own: Integers) -> NDArray[np.float64]:
    """The distance (T,) of gallery images, of the categories ``own`` (T,), to the nearest category but their own.

    So far away is a stranger from the nearest of C - 1 categories. Arguments as in :func:`classify`; C is 2 at least.
    """
    means = _category_means(distances, owner)
    means[np.arange(len(means)), own] = np.inf
    return np.asarray(means.min(1))


def strangers(nearest: NDArray[np.float64], categories: int, threshold: float) -> dict[str, Any]:
    """How many strangers ``threshold`` would name, by :func:`nearest_strange` of the gallery's images, for JSON.

    Those images met one category fewer than a stranger does, and so ``rate`` is 1 - (1 - count / of)^(C / (C - 1)):
    each category as likely to be near enough as another.

    The interval takes each of the ``categories`` for one draw: images of one are much alike. ``threshold`` is one that
    would name at most STRANGERS_NAMED of them, where the given one names more; else None, and so it is where there are
    too few to tell.
    """
    found = _rate(int((nearest <= threshold).sum()), len(nearest))
    more = categories / (categories - 1)
    found["rate"] = 1 - (1 - found["rate"]) ** more
    found["low"], found["high"] = wilson(found["rate"] * categories, categories)
    stricter = None
    if categories >= FEWEST_CATEGORIES and found["rate"] > STRANGERS_NAMED:
        allowed = 1 - (1 - STRANGERS_NAMED) ** (1 / more)
        failing = np.float32(np.sort(nearest)[int(allowed * len(nearest))])  # the first that may not be named
        stricter = float(f"{np.nextafter(failing, np.float32(0)) * (1 - 1e-6):.6g}")
    return found | {"threshold": stricter}


def wilson(count: float, of: int) -> tuple[float, float]:
    """95% interval of a share of ``of`` independent draws, 0..1 (Wilson 1927, equation 5; 0 to 1 of no draws).

    Unlike the normal approximation it stays within 0..1 and has a width when all or none succeeded.
    """
    if not of:
        return 0.0, 1.0
    share, square = count / of, Z95**2 / of
    centre = (share + square / 2) / (1 + square)
    reach = Z95 * math.sqrt(share * (1 - share) / of + square / of / 4) / (1 + square)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def figures(tallies: Iterable[Tally], categories: Collection[str]) -> dict[str, Any]:
    """How often the answers were right, for JSON: rates in 0..1, each with its counts and 95% interval.

    ``categories`` are those that took part; an image of any other truth is rightly answered by none of these.

    - ``accuracy``: of all labelled images, those answered rightly;
    - ``top1``: of the known, those whose nearest category is the true one, whatever the threshold (the N-way K-shot
      accuracy of the literature);
    - ``named``: of the known, those answered with their category;
    - ``rejected``: of the known, those answered none of these;
    - ``false_accepts``: of those truly none, the ones answered with a category;
    - ``confusions``: the most frequent wrong names.

    The intervals take the images for independent; those of one category are less than that.
    """
    rows = list(tallies)
    known = [row for row in rows if row.truth in categories]
    others = [row for row in rows if row.truth not in categories]
    named = _sum(row for row in known if row.category == row.truth)
    refused = _sum(row for row in others if row.category is None)
    wrong = [row for row in rows if row.category not in (None, row.truth)]
    return {
        "labelled": _sum(rows),
        "accuracy": _rate(named + refused, _sum(rows)),
        "top1": _rate(_sum(row for row in known if row.nearest == row.truth), _sum(known)),
        "named": _rate(named, _sum(known)),
        "rejected": _rate(_sum(row for row in known if row.category is None), _sum(known)),
        "false_accepts": _rate(_sum(others) - refused, _sum(others)),
        "confusions": _most_frequent(wrong),
    }


def _sum(rows: Iterable[Tally]) -> int:
    return sum(row.count for row in rows)


def _rate(count: int, of: int) -> dict[str, Any]:
    low, high = wilson(count, of)
    return {"rate": count / of if of else None, "count": count, "of": of, "low": low, "high": high}


def _most_frequent(rows: list[Tally]) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        pair = row.truth, str(row.category)
        counts[pair] = counts.get(pair, 0) + row.count
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"truth": t, "category": c, "count": n} for (t, c), n in ordered[:CONFUSIONS_SHOWN]]
