"""Training the network ``ink``: logistic regression over the pairs of the training writers, a few seconds of it.

The weights are drawn towards those of the model that the training begins with, or else towards one weight for all, so
that few writers only correct what they have evidence for. How strongly, the ridge, is not chosen but averaged over:
a few writers would choose it by chance.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shared.specs import Preprocessing, TrainSpec
from worker.ml.checkpoint import Tensors
from worker.ml.embedder import Embedder
from worker.ml.inkpairs import DIFFERENCES, Norm
from worker.ml.inkstats import LENGTH
from worker.ml.networks.ink import Ink, Usual, measured_features
from worker.ml.sampling import Labels, Split
from worker.ml.trained import EpochRow, FitResult, Stopped
from worker.ml.validation import ValidationPairs

Doubles = NDArray[np.float64]

RIDGES = (0.5, 0.1, 0.03, 0.01)  # strongest first; against a loss whose weights sum to 1
PARTS = 3  # of the training writers, each kept out once to see which ridges help
_CHOOSING_PAIRS = 1500  # of each group, to see which ridges help
MOST_PAIRS = 6000  # of each group; more are thinned out at random
_RANDOM_WEIGHT = 0.5  # of pairs of two writers, against skilled forgeries
_NEWTON_STEPS, _SMALL = 50, 1e-6
_FEWEST_COHORT = 6  # training writers that are a better cohort than the one a model brings
_ENCODED = 64  # canvases between two looks at whether to stop


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of the training writers.

    ``features`` (P, F), ``genuine`` (P,), ``weights`` (P,) that sum to 1, and the writers of both images (P, 2).
    """

    features: Doubles
    genuine: NDArray[np.bool_]
    weights: Doubles
    writers: NDArray[np.int64]

    def some(self, chosen: NDArray[np.int64]) -> _Pairs:
        """Those of ``chosen``; genuine ones weigh as much against the others as before."""
        weights = self.weights[chosen].copy()
        genuine = self.genuine[chosen]
        for same in (True, False):
            total = weights[genuine == same].sum()
            weights[genuine == same] *= self.weights[self.genuine == same].sum() / max(total, 1e-12)
        return _Pairs(self.features[chosen], genuine, weights, self.writers[chosen])


def fit_ink(
    images: NDArray[np.uint8],
    labels: Labels,
    split: Split[int],
    recipe: TrainSpec,
    *,
    on_epoch: Callable[[EpochRow], None],
    should_stop: Callable[[], bool],
    initial: Tensors | None = None,
) -> FitResult:
    """Fit the comparison on ``split.training``, set its threshold on ``split.validation``.

    The arguments and errors are those of :func:`worker.ml.fit.fit`; a training that was stopped begins anew.
    """
    started = time.perf_counter()
    ValidationPairs.choose(labels, split, recipe.seed)  # what is missing is told before the long part, not after
    rows = _statistics(images, should_stop)
    result, loss = fit_statistics(rows, labels, split, recipe, initial, should_stop=should_stop)
    seconds = time.perf_counter() - started
    on_epoch(EpochRow(1, loss, loss, result.eer, 0.0, seconds, len(images)))
    return result


def fit_statistics(
    rows: NDArray[np.float32],
    labels: Labels,
    split: Split[int],
    recipe: TrainSpec,
    initial: Tensors | None = None,
    ridge: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[FitResult, float]:
    """:func:`fit_ink` from the images' statistics on (N, LENGTH or more), which depend on nothing learned; the loss.

    ``ridge`` is how strongly the weights are held to where they begin; None: several, and the mean is taken.
    """
    chosen = ValidationPairs.choose(labels, split, recipe.seed)
    rows = rows[:, :LENGTH]
    network = Ink()
    if initial is not None:
        network.load_state_dict(initial)
    usual = _measured(network, rows, labels, split, begun=initial is not None)
    pairs = _training_pairs(rows, usual, labels, split, recipe, network.norm)
    prior = _slopes_of(network) if initial is not None else _equal_weights(pairs)
    if ridge is None:
        found, loss = _averaged(pairs, prior, recipe.seed, should_stop)
    else:
        found, loss = ridge_logistic(pairs.features, pairs.genuine, pairs.weights, ridge, prior)
    complete = _set(network, found).complete(rows, usual)
    judgement = chosen.judge(complete[chosen.rows], network.comparer())
    result = FitResult(
        network=network.eval(),
        comparer="local",
        loss="pair-cross-entropy",
        threshold=max(judgement.threshold, 0.0),
        eer=judgement.eer,
        eers=judgement.eers,
        epochs=1,
        best_epoch=1,
        forgeries=chosen.forgeries,
        note=chosen.note,
    )
    return result, loss


def begin(
    network: Ink,
    rows: NDArray[np.float32],
    labels: Labels,
    split: Split[int],
    recipe: TrainSpec,
    used: NDArray[np.bool_],
) -> Tensors:
    """What a training may begin with: a network with a norm, given one weight for all differences ``used``.

    ``used`` is (DIFFERENCES,), the other arguments are those of :func:`fit_statistics`.
    """
    usual = _measured(network, rows, labels, split, begun=True)
    pairs = _training_pairs(rows, usual, labels, split, recipe, network.norm)
    return _set(network, _equal_weights(pairs, used)).state_dict()


def _statistics(images: NDArray[np.uint8], should_stop: Callable[[], bool]) -> NDArray[np.float32]:
    canvas = Preprocessing(height=images.shape[1], width=images.shape[2])
    embedder = Embedder(Ink(), canvas, torch.device("cpu"))
    parts = []
    for start in range(0, len(images), _ENCODED):
        if should_stop():
            raise Stopped
        parts.append(embedder.embed(images[start : start + _ENCODED])[:, :LENGTH])
    return np.concatenate(parts)


def _measured(network: Ink, rows: NDArray[np.float32], labels: Labels, split: Split[int], *, begun: bool) -> Usual:
    """Give the network its norm and cohort from the training writers; what is then usual for all images.

    No training writer is measured by his own signatures. A network that has ``begun`` keeps its norm, which its
    weights belong to, and its cohort too where the training writers are too few to make a better one.
    """
    inside = np.isin(labels.writer, split.training)
    mine = rows[inside], labels.writer[inside], labels.forged[inside]
    if not begun:
        network.measure(*mine)
    strangers = None
    if not begun or len(split.training) >= _FEWEST_COHORT:
        cohort = network.gather(*mine)
        strangers = labels.writer[:, None] != cohort[None]
    return network.usual(rows, strangers)


def _training_pairs(
    rows: NDArray[np.float32],
    usual: Usual,
    labels: Labels,
    split: Split[int],
    recipe: TrainSpec,
    norm: Norm,
) -> _Pairs:
    """Genuine pairs weigh as much as all others together, skilled forgeries more than other writers' signatures."""
    inside = Split(training=(), validation=split.training)
    every = ValidationPairs.choose(labels, inside, recipe.seed)
    random = np.random.default_rng([recipe.seed, 1])
    groups = [
        (every.genuine, recipe.skilled_weight + _RANDOM_WEIGHT, True),
        (every.skilled, recipe.skilled_weight, False),
        (every.random, _RANDOM_WEIGHT, False),
    ]
    features, genuine, weights, writers = [], [], [], []
    for pairs, weight, same in groups:
        if len(pairs) > MOST_PAIRS:
            pairs = pairs[np.sort(random.choice(len(pairs), MOST_PAIRS, replace=False))]
        places = every.rows[pairs]  # (P, 2), rows of the images
        features.append(measured_features(rows[places[:, 0]], rows[places[:, 1]], usual.of_pairs(places), norm))
        genuine.append(np.full(len(pairs), same))
        weights.append(np.full(len(pairs), weight / max(len(pairs), 1)))
        writers.append(labels.writer[places])
    shares = np.concatenate(weights)
    return _Pairs(np.concatenate(features), np.concatenate(genuine), shares / shares.sum(), np.concatenate(writers))


def _equal_weights(pairs: _Pairs, used: NDArray[np.bool_] | None = None) -> Doubles:
    """One slope for all differences ``used`` (DIFFERENCES,), whatever the kind, and an offset: two numbers' worth."""
    which = np.flatnonzero(np.ones(DIFFERENCES, np.bool_) if used is None else used)
    mean = pairs.features[:, which].mean(1, keepdims=True)
    slope, offset = ridge_logistic(mean, pairs.genuine, pairs.weights, 0.0, np.zeros(2))[0]
    slopes = np.zeros(pairs.features.shape[1])
    slopes[which] = slope / len(which)
    return np.append(slopes, offset)


def _averaged(pairs: _Pairs, prior: Doubles, seed: int, should_stop: Callable[[], bool]) -> tuple[Doubles, float]:
    """The mean of the solutions under those of RIDGES that help, and its loss.

    A few writers cannot say which ridge is best: what one cross-validation chooses is half chance, and the mean of all
    is as good as the best of them (benchmarks/NOTES.md). They can say which does harm.
    """
    helping = _helping_ridges(pairs, prior, seed, should_stop)
    solutions, found = [], prior
    for ridge in helping:
        if should_stop():
            raise Stopped
        found, _ = ridge_logistic(pairs.features, pairs.genuine, pairs.weights, ridge, prior, start=found)
        solutions.append(found)
    mean = np.mean(solutions, axis=0)
    odds = mean[-1] - pairs.features @ mean[:-1]
    return mean, float(pairs.weights @ np.logaddexp(0.0, np.where(pairs.genuine, -odds, odds)))


def _helping_ridges(pairs: _Pairs, prior: Doubles, seed: int, should_stop: Callable[[], bool]) -> tuple[float, ...]:
    """Those of RIDGES that tell pairs of writers kept out in turn no worse than ``prior``; the strongest if none.

    By the mean loss of their log odds after these were calibrated: a weak ridge is too sure of itself, which the
    calibration of the model mends, and must not be blamed for it here.
    """
    random = np.random.default_rng([seed, 2])
    order = random.permutation(np.unique(pairs.writers))
    thin = _thinned(pairs, random)
    told: dict[float | None, list[Doubles]] = {ridge: [] for ridge in (None, *RIDGES)}
    tried = []
    for part in range(PARTS):
        outside = np.isin(thin.writers, order[part::PARTS])  # (P, 2)
        kept, held = (thin.some(np.flatnonzero(side)) for side in (~outside.any(1), outside.all(1)))
        if any(len(np.unique(side.genuine)) < 2 for side in (kept, held)):
            continue
        tried.append(held)
        found = prior
        for ridge, odds in told.items():
            if should_stop():
                raise Stopped
            if ridge is not None:
                found, _ = ridge_logistic(kept.features, kept.genuine, kept.weights, ridge, prior, start=found)
            odds.append(held.features @ found[:-1] - found[-1])
    if not tried:
        return RIDGES[:1]
    genuine = np.concatenate([held.genuine for held in tried])
    weights = np.concatenate([held.weights for held in tried]) / len(tried)
    losses = {
        ridge: ridge_logistic(np.concatenate(odds)[:, None], genuine, weights, 0.0, np.zeros(2))[1]
        for ridge, odds in told.items()
    }
    return tuple(ridge for ridge in RIDGES if losses[ridge] <= losses[None]) or RIDGES[:1]


def _thinned(pairs: _Pairs, random: np.random.Generator) -> _Pairs:
    same = pairs.writers[:, 0] == pairs.writers[:, 1]
    groups = (pairs.genuine, ~pairs.genuine & same, ~same)
    rows = [random.permutation(np.flatnonzero(group))[:_CHOOSING_PAIRS] for group in groups]
    return pairs.some(np.sort(np.concatenate(rows)))


def ridge_logistic(
    features: Doubles,
    genuine: NDArray[np.bool_],
    weights: Doubles,
    ridge: float,
    prior: Doubles,
    start: Doubles | None = None,
) -> tuple[Doubles, float]:
    """Slopes (F,) and an offset behind them, (F + 1,): features @ slopes is the lower the more alike; and the loss.

    Minimises the mean negative log likelihood of P(genuine) = 1 / (1 + exp(features @ slopes - offset)) under
    ``weights`` (P,), which sum to 1, plus half of ``ridge`` times the squared distance of the slopes from those of
    ``prior`` (F + 1,), by Newton steps that are halved while they do not improve, from ``start`` or else the prior.
    """
    design = np.column_stack([-features, np.ones(len(features))])  # (P, F + 1)
    penalty = np.append(np.full(features.shape[1], ridge), _SMALL)
    found = prior if start is None else start

    def cost(values: Doubles) -> float:
        odds = design @ values
        return float(
            weights @ np.logaddexp(0.0, np.where(genuine, -odds, odds)) + penalty @ np.square(values - prior) / 2
        )

    loss = cost(found)
    for _ in range(_NEWTON_STEPS):
        share = 1 / (1 + np.exp(-np.clip(design @ found, -500, 500)))
        gradient = design.T @ (weights * (share - genuine)) + penalty * (found - prior)
        curvature = (design * (weights * share * (1 - share))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        while (following := cost(found - step)) > loss and np.abs(step).max() > _SMALL:
            step /= 2
        if loss - following < _SMALL:
            break
        found, loss = found - step, following
    return found, loss


def _slopes_of(network: Ink) -> Doubles:
    return np.append(network.slopes.detach().double().numpy(), network.offset.item())


def _set(network: Ink, found: Doubles) -> Ink:
    with torch.no_grad():
        network.slopes.copy_(torch.from_numpy(found[:-1]))
        network.offset.copy_(torch.tensor(found[-1]))
    return network
