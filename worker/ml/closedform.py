"""Training the network ``ink``: logistic regression over the pairs of the training writers, a few seconds of it.

The weights are drawn towards those of the model that the training begins with, or else towards one weight for all, so
that few writers only correct what they have evidence for. How strongly, the ridge, is chosen by cross-validation over
the training writers; the few writers of a selection side would choose by chance.
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
from worker.ml.networks.ink import DIFFERENCES, Ink, pair_features
from worker.ml.sampling import Labels, Split
from worker.ml.trained import EpochRow, FitResult, Stopped
from worker.ml.validation import ValidationPairs

Doubles = NDArray[np.float64]

RIDGES = (10.0, 1.0, 0.1, 0.014)  # strongest first; against a loss whose weights sum to 1
PARTS = 3  # of the training writers, each kept out once to choose the ridge
_CHOOSING_PAIRS = 1500  # of each group, to choose the ridge by
MOST_PAIRS = 6000  # of each group; more are thinned out at random
_RANDOM_WEIGHT = 0.5  # of pairs of two writers, against skilled forgeries
_NEWTON_STEPS, _SMALL = 50, 1e-6
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
    """:func:`fit_ink` from the images' statistics (N, R) on, which depend on nothing learned; and the loss.

    ``ridge`` is how strongly the weights are held to where they begin; None: chosen by cross-validation.
    """
    chosen = ValidationPairs.choose(labels, split, recipe.seed)
    network = Ink()
    if initial is not None:
        network.load_state_dict(initial)
    else:
        network.measure(rows[np.isin(labels.writer, split.training)])
    pairs = _training_pairs(rows, labels, split, recipe, network.norm)
    prior = _slopes_of(network) if initial is not None else _equal_weights(pairs)
    if ridge is None:
        ridge = _choose_ridge(pairs, prior, recipe.seed, should_stop)
    found, loss = ridge_logistic(pairs.features, pairs.genuine, pairs.weights, ridge, prior)
    judgement = chosen.judge(rows[chosen.rows], _set(network, found).comparer())
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


def _statistics(images: NDArray[np.uint8], should_stop: Callable[[], bool]) -> NDArray[np.float32]:
    canvas = Preprocessing(height=images.shape[1], width=images.shape[2])
    embedder = Embedder(Ink(), canvas, torch.device("cpu"))
    parts = []
    for start in range(0, len(images), _ENCODED):
        if should_stop():
            raise Stopped
        parts.append(embedder.embed(images[start : start + _ENCODED]))
    return np.concatenate(parts)


def _training_pairs(
    rows: NDArray[np.float32],
    labels: Labels,
    split: Split[int],
    recipe: TrainSpec,
    norm: tuple[Doubles, Doubles],
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
        features.append(pair_features(rows[places[:, 0]], rows[places[:, 1]], norm))
        genuine.append(np.full(len(pairs), same))
        weights.append(np.full(len(pairs), weight / max(len(pairs), 1)))
        writers.append(labels.writer[places])
    shares = np.concatenate(weights)
    return _Pairs(np.concatenate(features), np.concatenate(genuine), shares / shares.sum(), np.concatenate(writers))


def _equal_weights(pairs: _Pairs) -> Doubles:
    """One slope for all differences, whatever the kind of signature, and an offset: what two numbers can say."""
    mean = pairs.features[:, :DIFFERENCES].mean(1, keepdims=True)
    slope, offset = ridge_logistic(mean, pairs.genuine, pairs.weights, 0.0, np.zeros(2))[0]
    slopes = np.zeros(pairs.features.shape[1])
    slopes[:DIFFERENCES] = slope / DIFFERENCES
    return np.append(slopes, offset)


def _choose_ridge(pairs: _Pairs, prior: Doubles, seed: int, should_stop: Callable[[], bool]) -> float:
    """The ridge with the lowest mean loss on writers kept out in turn; the strongest where too few can be kept out."""
    random = np.random.default_rng([seed, 2])
    order = random.permutation(np.unique(pairs.writers))
    thin = _thinned(pairs, random)
    losses = np.zeros(len(RIDGES))
    used = 0
    for part in range(PARTS):
        outside = np.isin(thin.writers, order[part::PARTS])  # (P, 2)
        kept, held = (thin.some(np.flatnonzero(side)) for side in (~outside.any(1), outside.all(1)))
        if any(len(np.unique(side.genuine)) < 2 for side in (kept, held)):
            continue
        used += 1
        found = prior
        for index, ridge in enumerate(RIDGES):
            if should_stop():
                raise Stopped
            found, _ = ridge_logistic(kept.features, kept.genuine, kept.weights, ridge, prior, start=found)
            odds = found[-1] - held.features @ found[:-1]
            losses[index] += held.weights @ np.logaddexp(0.0, np.where(held.genuine, -odds, odds))
    return RIDGES[int(losses.argmin())] if used else RIDGES[0]


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
