"""Fit the calibration of a model on writers that it never saw: representations in, :class:`Calibration` out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.calibration import SIZES, Calibration, Curve, Figures, Pool, Population, SetCalibration
from shared.errors import TrainingFailed
from shared.specs import CalibrationMethod
from worker.ml.calibration import fit_bands, fit_falling, fit_isotonic, reliability, supported_range
from worker.ml.compare import Comparer, Integers, Representations
from worker.ml.metrics import cllr, equal_error_rate
from worker.ml.refsets import features_of, llr_before_clipping, set_features, shape_of
from worker.ml.sampling import LEAST_CALIBRATION

Doubles = NDArray[np.float64]

MOST_IMAGES = 24  # of a writer and a kind: more would cost time and tell little that is new
FOLDS = 5
_DRAWS = 24  # reference sets drawn of a writer: so many references in all, at least _FEWEST sets
_FEWEST = 6
_BAND_MARGIN = 0.01  # by which the clipped range reaches beyond reject_below


@dataclass(frozen=True, slots=True, eq=False)
class _Writer:
    """Distances of one writer: ``own`` (G, G) among genuine signatures, ``forged`` (F, G) of forgeries to them."""

    own: Doubles
    forged: Doubles


@dataclass(frozen=True, slots=True, eq=False)
class _Comparisons:
    """N comparisons with sets of one size. The weights of a writer sum to 1 for each kind."""

    features: Doubles  # (N, F)
    genuine: NDArray[np.bool_]  # (N,)
    weights: Doubles  # (N,)


def calibrate_model(
    rows: Representations,
    writers: Sequence[str],
    forged: NDArray[np.bool_],
    compare: Comparer,
    *,
    target_far: float = 0.01,
    target_frr: float = 0.01,
    data: str = "",
    generated: bool = False,
    method: CalibrationMethod = "logistic",
    seed: int = 1,
    tick: Callable[[], None] = lambda: None,
) -> Calibration:
    """Fit llr and verdict bands for each size of reference set that the data allow.

    ``rows`` (N, R) are representations of all calibration images, ``writers`` the names that they bear, ``forged``
    (N,) whether each is a skilled forgery. None of these writers may be known to the model, neither from training nor
    from the choice of its weights. Likelihood ratios are against skilled forgeries if three writers have any, else
    against other writers' genuine signatures. ``data`` is the digest of the data set. ``tick`` is called now and
    then; what it raises ends the work.

    Bounds, bands and figures come from llr cross-validated over writers; the weights kept are fitted on all.

    Raises TrainingFailed with code calibration_impossible for fewer than three writers with two genuine signatures.
    """
    names = np.array(writers)
    usable = [name for name in sorted(set(writers)) if np.sum((names == name) & ~forged) > 1]
    if len(usable) < LEAST_CALIBRATION:
        raise TrainingFailed(
            "calibration_impossible",
            f"Calibration needs {LEAST_CALIBRATION} writers with 2 genuine signatures, there are {len(usable)}.",
        )
    imitated = sum(bool(np.any((names == name) & forged)) for name in usable)
    population: Population = "skilled" if imitated >= LEAST_CALIBRATION else "random"
    chosen = _choose(names, forged, usable, population, np.random.default_rng([seed, 0]))
    known = []
    for genuine, against in chosen:
        tick()
        known.append(_distances(rows, genuine, against, compare))
    sets = [_fit_size(known, size, method, (target_far, target_frr), seed) for size in SIZES if _enough(known, size)]
    return Calibration(
        method=method,
        population=population,
        generated=generated,
        writers=usable,
        images=len({int(row) for pair in chosen for part in pair for row in part}),
        data=data,
        target_far=target_far,
        target_frr=target_frr,
        pool=_pool(known),
        sets=sets,
    )


def _choose(
    names: NDArray[np.str_],
    forged: NDArray[np.bool_],
    usable: list[str],
    population: Population,
    random: np.random.Generator,
) -> list[tuple[Integers, Integers]]:
    """For each writer the rows of genuine signatures and of the forgeries to hold against them."""
    chosen = []
    for name in usable:
        own = names == name
        strangers = np.isin(names, usable) & ~own & ~forged
        against = own & forged if population == "skilled" else strangers
        pair = [_some(np.flatnonzero(rows), random) for rows in (own & ~forged, against)]
        chosen.append((pair[0], pair[1]))
    return chosen


def _some(rows: Integers, random: np.random.Generator) -> Integers:
    if len(rows) <= MOST_IMAGES:
        return rows
    return np.sort(random.choice(rows, MOST_IMAGES, replace=False))


def _distances(rows: Representations, genuine: Integers, against: Integers, compare: Comparer) -> _Writer:
    first, second = np.triu_indices(len(genuine), 1)
    own = np.zeros((len(genuine), len(genuine)))
    own[first, second] = compare(rows, genuine[first], genuine[second])
    grid = np.repeat(against, len(genuine)), np.tile(genuine, len(against))
    return _Writer(own + own.T, compare(rows, *grid).astype(np.float64).reshape(len(against), len(genuine)))


def _pool(writers: list[_Writer]) -> Pool:
    pairs = [writer.own[np.triu_indices(len(writer.own), 1)] for writer in writers]
    spread = np.sqrt(np.mean([np.var(own) for own in pairs]))
    mean = float(np.mean([np.mean(own) for own in pairs]))
    return Pool(mean=mean, spread=max(float(spread), 1e-6 * max(1.0, abs(mean))))  # never 0, also not for twins


def _enough(writers: list[_Writer], size: int) -> bool:
    """Whether sets of ``size`` can be drawn from three writers, with a genuine signature and a forgery to compare."""
    return sum(len(writer.own) > size and len(writer.forged) > 0 for writer in writers) >= LEAST_CALIBRATION


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """Features to llr, not clipped yet."""

    weights: dict[str, float]
    offset: float
    curve: Curve | None

    def llr(self, comparisons: _Comparisons) -> Doubles:
        features = dict(zip(self.weights, comparisons.features.T, strict=True))
        return llr_before_clipping(self.weights, self.offset, self.curve, features)


def _fit_size(
    writers: list[_Writer], size: int, method: CalibrationMethod, targets: tuple[float, float], seed: int
) -> SetCalibration:
    """The calibration of sets of ``size``: weights from all writers, the rest from folds over them."""
    able = [index for index, writer in enumerate(writers) if len(writer.own) > size]
    images = sum(len(writers[i].own) for i in able), sum(len(writers[i].forged) for i in able)
    limit = float(np.log10(1 + max(images)))
    order = np.random.default_rng([seed, 1, size]).permutation(able)
    sides: tuple[list[Doubles], list[Doubles]] = ([], [])
    for held in np.array_split(order, min(FOLDS, len(order))):
        others = [index for index in able if index not in held]
        pool = _pool([writers[index] for index in others])
        tested = _draw(writers, held.tolist(), size, pool, seed)
        llr = _fit(_draw(writers, others, size, pool, seed), size, method, limit).llr(tested)
        sides[0].append(llr[tested.genuine])
        sides[1].append(llr[~tested.genuine])
    final = _fit(_draw(writers, able, size, _pool(writers), seed), size, method, limit)
    return _bounded(size, final, np.concatenate(sides[0]), np.concatenate(sides[1]), images, targets)


def _draw(writers: list[_Writer], which: Sequence[int], size: int, pool: Pool, seed: int) -> _Comparisons:
    """Comparisons with reference sets drawn of each writer; the same sets whichever fold asks."""
    parts: list[_Comparisons] = []
    for index in which:
        writer, random = writers[index], np.random.default_rng([seed, 2, size, index])
        draws = len(writer.own) if size == 1 else max(_FEWEST, _DRAWS // size)
        deck = random.permutation(len(writer.own))
        for number in range(draws):
            members = deck[number : number + 1] if size == 1 else random.permutation(deck)[:size]
            others = np.setdiff1d(deck, members)
            distances = np.concatenate([writer.own[np.ix_(others, members)], writer.forged[:, members]])  # (n, size)
            shape, count = shape_of(writer.own[np.ix_(members, members)], pool), len(distances)
            found = set_features(distances.ravel(), np.full(count, size), [shape] * count)
            genuine = np.arange(count) < len(others)
            each = np.where(genuine, 1 / len(others), 1 / max(1, len(writer.forged))) / draws
            parts.append(_Comparisons(np.stack([found[name] for name in features_of(size)], 1), genuine, each))
    joined = zip(*((part.features, part.genuine, part.weights) for part in parts), strict=True)
    return _Comparisons(*(np.concatenate(column) for column in joined))


def _fit(drawn: _Comparisons, size: int, method: CalibrationMethod, limit: float) -> _Fitted:
    slopes, offset = fit_falling(drawn.features, drawn.genuine, drawn.weights)
    weights = dict(zip(features_of(size), slopes.tolist(), strict=True))
    if method == "logistic":
        return _Fitted(weights, offset, None)
    scores = drawn.features @ slopes + offset
    return _Fitted(weights, offset, fit_isotonic(scores, drawn.genuine, drawn.weights, limit))


def _bounded(
    size: int, fitted: _Fitted, genuine: Doubles, forged: Doubles, images: tuple[int, int], targets: tuple[float, float]
) -> SetCalibration:
    """With the bounds and figures that cross-validated llr support."""
    lowest, highest = supported_range(genuine, forged, images)
    bands = fit_bands(genuine, forged, *targets)
    # A band that no llr reaches would send every comparison to review: what was counted beyond it supports it.
    lowest, highest = min(lowest, bands.reject_below - _BAND_MARGIN), max(highest, bands.accept_from)
    told = np.clip(genuine, lowest, highest), np.clip(forged, lowest, highest)
    return SetCalibration(
        size=size,
        weights=fitted.weights,
        offset=fitted.offset,
        curve=fitted.curve,
        lowest=lowest,
        highest=highest,
        bands=bands,
        figures=Figures(
            genuine=len(genuine),
            forged=len(forged),
            eer=equal_error_rate(-genuine, -forged).rate,
            cllr=cllr(*told),
            reliability=reliability(*told),
        ),
    )
