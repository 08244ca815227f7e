"""Training: images per second against the bare passes, and the time to an error rate against the article's loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.speed.row import Plan, Row, Sample, Subject
from shared.specs import TrainSpec, canvas_of
from worker.ml.embedder import Embedder, as_input, best_device
from worker.ml.fit import fit
from worker.ml.images import prepare
from worker.ml.losses.contrastive import contrastive_loss
from worker.ml.networks import build
from worker.ml.optimisers import half_precision
from worker.ml.sampling import Labels, Split
from worker.ml.synthesis import generate_writer
from worker.ml.trained import EpochRow
from worker.ml.validation import ValidationPairs
from worker.models import keep_memory

NETWORK, EACH = "compact", 12  # genuine signatures and forgeries of each writer
PAIRS, DECAY = 32, 5e-4  # in a batch of the article's loop, and its weight decay: as its family trains
PATIENCE = 6.0  # times as long as we take, after which the article's loop is given up: the ratio is at least that


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Generated signatures in memory, as canvases (N, H, W)."""

    canvases: NDArray[np.uint8]
    labels: Labels
    split: Split[int]

    @property
    def shown(self) -> int:
        """Images that an epoch shows: of each training writer all genuine signatures, and forgeries in proportion."""
        recipe = TrainSpec(network=NETWORK)
        return len(self.split.training) * EACH * (recipe.batch_genuine + recipe.batch_forged) // recipe.batch_genuine

    @classmethod
    def generate(cls, writers: int, validation: int) -> Data:
        """So many writers to learn from and to validate on."""
        made = [(w, s) for w in range(writers + validation) for s in generate_writer(11, w, EACH, EACH)]
        canvases = np.stack([prepare(signature.image, canvas_of(NETWORK)) for _, signature in made])
        labels = Labels(np.array([writer for writer, _ in made]), np.array([s.forged for _, s in made]))
        return cls(canvases, labels, Split(tuple(range(writers)), tuple(range(writers, writers + validation))))


def _ours(data: Data, recipe: TrainSpec) -> list[EpochRow]:
    rows: list[EpochRow] = []
    fit(
        data.canvases,
        data.labels,
        data.split,
        recipe,
        on_epoch=rows.append,
        should_stop=lambda: False,
        on_checkpoint=lambda _: None,
    )
    return rows


def bare_rate(data: Data, batch: int, batches: int) -> float:
    """Images per second of an epoch's bare passes over images that lie in memory, without any step.

    Forward and backward over the images learned from, and forward alone over those that an epoch is judged by, in the
    share that they have in our training.
    """
    device = best_device()
    network = build(NETWORK).to(device).to(memory_format=torch.channels_last).train()
    images, half = as_input(data.canvases[:batch], device), half_precision(device)

    def learn() -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast(device.type, half, enabled=half is not None):
            loss = network(images).float().square().mean()
        torch.autograd.backward(loss)
        loss.item()

    @torch.inference_mode()
    def look() -> None:
        network(images).sum().item()

    judged = len(ValidationPairs.choose(data.labels, data.split, 1).rows) / data.shown
    return 1 / (_seconds_of(learn, batch, batches) + judged * _seconds_of(look, batch, batches))


def _seconds_of(work: Callable[[], None], batch: int, batches: int) -> float:
    """Of one image, of which ``work`` does a batch; its first call only warms up."""
    work()
    started = time.perf_counter()
    for _ in range(batches):
        work()
    return (time.perf_counter() - started) / (batch * batches)


def pair_loop_seconds(data: Data, recipe: TrainSpec, target: float, longest: float) -> float:
    """Seconds until the article's way has the error rate ``target`` on the validation writers, or ``longest``.

    Each pair is passed image by image's side, twice through the network: half of the pairs are of one writer's genuine
    signatures, half have a forgery. It is judged as often as ours, by the same pairs.
    """
    torch.manual_seed(recipe.seed)
    random, device = np.random.default_rng(recipe.seed), best_device()
    network = build(NETWORK).to(device).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, weight_decay=DECAY)
    judge = _Judge(data, recipe.seed)
    started = time.perf_counter()
    while (taken := time.perf_counter() - started) < longest:
        network.train()
        for _ in range(math.ceil(data.shown / (2 * PAIRS))):
            first, second, forged = _pairs(data, PAIRS, random)
            distance = torch.nn.functional.pairwise_distance(
                network(as_input(data.canvases[first], device)), network(as_input(data.canvases[second], device))
            )
            loss = contrastive_loss(distance, torch.from_numpy(forged).to(device), recipe.margin)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
        if judge.eer(network) <= target:
            return time.perf_counter() - started
    return taken


class _Judge:
    """The validation writers' error rate, as our training finds it."""

    def __init__(self, data: Data, seed: int) -> None:
        self._pairs = ValidationPairs.choose(data.labels, data.split, seed)
        self._canvases = data.canvases[self._pairs.rows]

    def eer(self, network: torch.nn.Module) -> float:
        """Against skilled forgeries, 0..1."""
        embedder = Embedder(network, canvas_of(NETWORK))
        return self._pairs.judge(embedder.embed(self._canvases), embedder.compare).eer


def _pairs(
    data: Data, count: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Places of the images on both sides, (count,) each, and whether the second is a forgery."""
    writers = random.choice(data.split.training, count)
    forged = np.arange(count) % 2 == 1
    chosen = []
    for writer, other in zip(writers, forged, strict=True):
        own = np.flatnonzero((data.labels.writer == writer) & ~data.labels.forged)
        theirs = np.flatnonzero((data.labels.writer == writer) & data.labels.forged)
        first, second = random.choice(own, 2, replace=False)
        chosen.append((first, random.choice(theirs) if other else second))
    first, second = np.array(chosen, np.int64).T
    return first, second, forged


def _turn(data: Data, turn: int, epochs: int, batches: int) -> list[Sample]:
    """Both rows once."""
    recipe = TrainSpec(network=NETWORK, epochs=epochs, seed=turn + 1)
    rows = _ours(data, recipe)
    batch = min(recipe.batch_writers, len(data.split.training)) * (recipe.batch_genuine + recipe.batch_forged)
    bare = bare_rate(data, batch, batches)
    later = rows[1:]  # the first epoch warms up
    target = min(row.validation_eer for row in rows)
    reached = next(place for place, row in enumerate(rows, 1) if row.validation_eer <= target)
    ours = sum(row.seconds for row in rows[:reached])
    theirs = pair_loop_seconds(data, recipe, target, PATIENCE * ours)
    return [
        Sample("training", sum(row.images for row in later) / sum(row.seconds for row in later), bare),
        Sample("training-time", 1 / ours, 1 / theirs),
    ]


def _measure(plan: Plan) -> Iterator[Sample]:
    data = Data.generate(plan.size(40, 4), plan.size(16, 2))
    # In a process of its own that keeps its memory, as a worker that trains does; the peers in it have that, too.
    with ProcessPoolExecutor(1, get_context("spawn"), keep_memory) as apart:
        for turn in plan.turns(1):
            yield from apart.submit(_turn, data, turn, plan.size(8, 2), plan.size(20, 2)).result()


SUBJECTS = (
    Subject(
        (
            Row("training", "training, compact", "images/s", "the bare passes alone", 0.9),
            Row("training-time", "the same, to an error rate", "times/s", "the article's pair loop", 5.0),
        ),
        _measure,
    ),
)
