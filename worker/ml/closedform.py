"""Training the network ``ink``: logistic regression over the pairs of the training writers, a few seconds of it.

There is one step and nothing to choose: the ridge is fixed, because the few writers of a selection side would choose
by chance (seen on CEDAR: the choice cost five points on one fold). A training that begins with a model's weights is
drawn towards those instead of towards nothing, so that few writers only correct what they have evidence for.
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
from worker.ml.networks.ink import Ink, pair_features
from worker.ml.sampling import Labels, Split
from worker.ml.trained import EpochRow, FitResult, Stopped
from worker.ml.validation import ValidationPairs

Doubles = NDArray[np.float64]

RIDGE = 0.014  # against a loss whose weights sum to 1
MOST_PAIRS = 6000  # of each group; more are thinned out at random
_RANDOM_WEIGHT = 0.5  # of pairs of two writers, against skilled forgeries
_NEWTON_STEPS, _SMALL = 50, 1e-7
_LEAST_SPREAD = 1e-3
_ENCODED = 64  # canvases between two looks at whether to stop


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Features of the training pairs (P, F), which are genuine (P,), and what each weighs (P,), 1 in all."""

    features: Doubles
    genuine: NDArray[np.bool_]
    weights: Doubles


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
    result, loss = fit_statistics(rows, labels, split, recipe, initial)
    seconds = time.perf_counter() - started
    on_epoch(EpochRow(1, loss, loss, result.eer, 0.0, seconds, len(images)))
    return result


def fit_statistics(
    rows: NDArray[np.float32],
    labels: Labels,
    split: Split[int],
    recipe: TrainSpec,
    initial: Tensors | None = None,
    ridge: float = RIDGE,
) -> tuple[FitResult, float]:
    """:func:`fit_ink` from the images' statistics (N, R) on, which depend on nothing learned; and the loss."""
    chosen = ValidationPairs.choose(labels, split, recipe.seed)
    network = Ink()
    if initial is not None:
        network.load_state_dict(initial)
    else:
        inside = np.isin(labels.writer, split.training)
        network.spread.copy_(torch.from_numpy(rows[inside].std(0) + _LEAST_SPREAD))
    pairs = _training_pairs(rows, labels, split, recipe, network.spread.double().numpy())
    prior = _slopes_of(network) if initial is not None else np.zeros(pairs.features.shape[1] + 1)
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
    rows: NDArray[np.float32], labels: Labels, split: Split[int], recipe: TrainSpec, spread: Doubles
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
    features, genuine, weights = [], [], []
    for pairs, weight, same in groups:
        if len(pairs) > MOST_PAIRS:
            pairs = pairs[np.sort(random.choice(len(pairs), MOST_PAIRS, replace=False))]
        places = every.rows[pairs]  # (P, 2), rows of the images
        features.append(pair_features(rows[places[:, 0]], rows[places[:, 1]], spread))
        genuine.append(np.full(len(pairs), same))
        weights.append(np.full(len(pairs), weight / max(len(pairs), 1)))
    shares = np.concatenate(weights)
    return _Pairs(np.concatenate(features), np.concatenate(genuine), shares / shares.sum())


def ridge_logistic(
    features: Doubles, genuine: NDArray[np.bool_], weights: Doubles, ridge: float, prior: Doubles
) -> tuple[Doubles, float]:
    """Slopes (F,) and an offset behind them, (F + 1,): features @ slopes is the lower the more alike; and the loss.

    Minimises the mean negative log likelihood of P(genuine) = 1 / (1 + exp(features @ slopes - offset)) under
    ``weights`` (P,), which sum to 1, plus half of ``ridge`` times the squared distance of the slopes from those of
    ``prior`` (F + 1,), by Newton steps that are halved while they do not improve.
    """
    design = np.column_stack([-features, np.ones(len(features))])  # (P, F + 1)
    penalty = np.append(np.full(features.shape[1], ridge), _SMALL)
    found = prior.copy()

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
