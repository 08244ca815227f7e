"""Training a network on writers' signatures: all the pairs of a batch, each image encoded once.

An epoch shows every training writer's genuine signatures ``TrainSpec.passes`` times, in batches of P writers x (K
genuine + F skilled forgeries). After each epoch the running average of the weights is judged on the validation
writers: by the mean of its EERs against skilled and against random forgeries, where both are known. The best of these
averages is the result. All that is random in an epoch comes from (seed, epoch), so that a training taken up again from
its checkpoint goes on exactly as if nothing had happened, and the same data and recipe give the same weights on the
same machine (on the CPU; a GPU may round otherwise).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shared.errors import TrainingFailed
from shared.networks import NETWORKS, ComparerName
from shared.specs import Preprocessing, TrainSpec
from worker.ml.augmentation import augment, augmentation_of
from worker.ml.average import RunningAverage, copies
from worker.ml.checkpoint import Checkpoint, Tensors, load_checkpoint, save_checkpoint
from worker.ml.closedform import fit_ink
from worker.ml.compare import comparer
from worker.ml.embedder import Embedder, as_input, best_device
from worker.ml.losses import PairScorer, loss_name, loss_of
from worker.ml.networks import build
from worker.ml.optimisers import Descent, half_precision, repeatable
from worker.ml.sampling import Labels, Split, WriterBatches
from worker.ml.trained import EpochRow, FitResult, Stopped
from worker.ml.validation import Judgement, ValidationPairs, loss_over
from worker.ml.weighted_l1 import begin_with, give_comparison

_WEIGHTS, _AUGMENTATION = 1, 2  # separate streams of random numbers

Build = Callable[[str, int], nn.Module]  # name of the network, channels


def fit(
    images: NDArray[np.uint8],
    labels: Labels,
    split: Split[int],
    recipe: TrainSpec,
    *,
    on_epoch: Callable[[EpochRow], None],
    should_stop: Callable[[], bool],
    should_finish: Callable[[], bool] = lambda: False,
    checkpoint: bytes | None = None,
    on_checkpoint: Callable[[bytes], None],
    device: torch.device | None = None,
    initial: Tensors | None = None,
    judge_initial: bool = True,
    build_network: Build = build,
) -> FitResult:
    """Train on ``split.training``, choose weights and threshold on ``split.validation``.

    ``images`` (N, H, W) or (N, H, W, 3) are canvases as ``images.prepare`` makes them for the recipe's preset, an
    array or a memory map; ``labels`` are theirs. ``on_epoch`` is called after each epoch, then ``on_checkpoint`` with
    bytes that ``checkpoint`` takes up again: an epoch may so be told twice. ``should_stop`` is asked before each batch,
    then ``should_finish``: whether to end with the best so far, which is done as soon as one epoch is done.
    ``initial`` are weights to begin with, of a network of the same name (see ``weighted_l1.begin_with``). They are
    judged first, as epoch 0, and are the result where no epoch is better: so a training makes no model worse. Not with
    ``judge_initial`` False, for weights that know the validation writers already.

    Raises TrainingFailed with code no_genuine_pairs, too_few_writers or loss_not_finite; InvalidInput with code
    checkpoint_damaged; ValueError for initial weights of another network; Stopped when asked to stop.
    """
    _check_training_side(labels, split)
    if NETWORKS[recipe.network].closed_form:
        return fit_ink(images, labels, split, recipe, on_epoch=on_epoch, should_stop=should_stop, initial=initial)
    pairs = ValidationPairs.choose(labels, split, recipe.seed)
    where = device or best_device()
    with repeatable(where):
        run = _Run(images, labels, split, pairs, recipe, where, initial, build_network)
        if checkpoint is not None:
            run.take_up(load_checkpoint(checkpoint))
        elif initial is not None and judge_initial:
            run.judge_beginning()
        while run.goes_on and (row := run.train_epoch(should_stop, should_finish)):
            on_epoch(row)
            on_checkpoint(save_checkpoint(run.state()))
        return run.result()


def _check_training_side(labels: Labels, split: Split[int]) -> None:
    inside = np.isin(labels.writer, split.training)
    counts = np.unique(labels.writer[inside & ~labels.forged], return_counts=True)[1]
    if not (counts > 1).any():
        raise TrainingFailed(
            "no_genuine_pairs",
            "No writer to learn from has 2 genuine signatures. Add genuine signatures: several of each writer.",
        )
    if len(counts) < 2 and not (inside & labels.forged).any():
        raise TrainingFailed(
            "too_few_writers",
            "There is one writer to learn from and no forgery, so nothing to tell apart. Add writers or forgeries.",
        )


class _Judge:
    """The network as inference will see it, on the validation writers."""

    def __init__(
        self,
        network: nn.Module,
        images: NDArray[np.uint8],
        labels: Labels,
        pairs: ValidationPairs,
        recipe: TrainSpec,
        device: torch.device,
    ) -> None:
        self._images, self._pairs, self._recipe = images, pairs, recipe
        self._labels = Labels(labels.writer[pairs.rows], labels.forged[pairs.rows])
        shape = {"height": images.shape[1], "width": images.shape[2], "channels": recipe.channels}
        self._embedder = Embedder(network, Preprocessing.model_validate({"preset": recipe.preset, **shape}), device)
        self._loss = loss_of(recipe, network)
        self.comparer = comparer_name(recipe, network)

    @property
    def network(self) -> nn.Module:
        """The network, with the weights that were judged last."""
        return self._embedder.network

    def judge(self, weights: Tensors) -> tuple[Judgement, float]:
        """What the validation writers say of ``weights``, and the training's loss on them."""
        self.network.load_state_dict(weights)
        rows = self._embedder.embed(self._images[self._pairs.rows])
        if not np.isfinite(rows).all():
            raise _not_finite()
        judgement = self._pairs.judge(rows, comparer(self.comparer, self.network))
        # The same batches each time, so that the curve shows the network's progress and nothing else.
        batches = _batches(self._labels, self._recipe, epoch=0)
        return judgement, loss_over(rows, self._labels, batches, self._loss, self._embedder.device)


class _Run:
    """A training under way: network, running average, optimiser, and the best so far."""

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: Labels,
        split: Split[int],
        pairs: ValidationPairs,
        recipe: TrainSpec,
        device: torch.device,
        initial: Tensors | None,
        build_network: Build,
    ) -> None:
        self._images, self._recipe, self._device, self._pairs = images, recipe, device, pairs
        self._rows = np.flatnonzero(np.isin(labels.writer, split.training))  # of the training side
        self._labels = Labels(labels.writer[self._rows], labels.forged[self._rows])
        with _seeded(device, recipe.seed, 0, _WEIGHTS):
            self._network, judged = (_built(build_network, recipe, images[:1]) for _ in range(2))
        if initial is not None:
            begin_with(self._network, initial)
        self._network.to(device).to(memory_format=torch.channels_last)
        self._loss = loss_of(recipe, self._network)
        self._judge = _Judge(judged, images, labels, pairs, recipe, device)
        self._average = RunningAverage(self._network, recipe.average)
        self._descent = Descent(self._network, recipe, device, half_precision(device))
        self._changes = augmentation_of(recipe.augmentation, recipe.preset)
        self._best: Tensors = {}
        self._best_error, self._best_loss, self._best_epoch = math.inf, math.inf, 0
        self.epoch = 0
        self._finished_early = False

    @property
    def goes_on(self) -> bool:
        """Whether there is an epoch to run: not after the last, nor after ``patience`` epochs that were not better."""
        recipe = self._recipe
        return self.epoch < recipe.epochs and not self._out_of_patience

    @property
    def _out_of_patience(self) -> bool:
        return 0 < self._recipe.patience <= self.epoch - self._best_epoch

    def train_epoch(self, should_stop: Callable[[], bool], should_finish: Callable[[], bool]) -> EpochRow | None:
        """One epoch and its judgement; None when it was cut off to end with the best of those before.

        Raises Stopped, or TrainingFailed when a number is not finite.
        """
        started = time.perf_counter()
        epoch, recipe = self.epoch + 1, self._recipe
        batches = list(_batches(self._labels, recipe, epoch))
        changes = torch.Generator().manual_seed(_mix(recipe.seed, epoch, _AUGMENTATION))
        total, seen = 0.0, 0
        self._network.train()
        with _seeded(self._device, recipe.seed, epoch, _WEIGHTS):  # dropout draws from the global generator
            for number, batch in enumerate(batches):
                if should_stop():
                    raise Stopped
                if self.epoch and should_finish():
                    self._finished_early = True
                    return None
                self._descent.set_rate((epoch - 1 + number / len(batches)) / recipe.epochs)
                total += self._step(batch, changes) * len(batch)
                seen += len(batch)
        self.epoch = epoch
        judgement, loss = self._judge_average()
        seconds = time.perf_counter() - started
        return EpochRow(epoch, total / seen, loss, judgement.eer, self._descent.rate, seconds, seen)

    def judge_beginning(self) -> None:
        """Judge the weights that the training begins with, for its epochs to be better than."""
        self._judge_average()

    def state(self) -> Checkpoint:
        """All that the rest of the training depends on."""
        optimiser, scale = self._descent.state()
        notes = {
            "steps": self._average.steps,
            "scale": scale,
            "best_error": self._best_error,
            "best_loss": self._best_loss,
            "best_epoch": self._best_epoch,
            "recipe": self._recipe.model_dump(mode="json"),
        }
        weights = self._network.state_dict()
        return Checkpoint(self.epoch, weights, self._average.values, self._best, optimiser, notes)

    def take_up(self, checkpoint: Checkpoint) -> None:
        """Go on where ``checkpoint`` was written."""
        notes = checkpoint.notes
        self.epoch = checkpoint.epoch
        self._average.steps = notes["steps"]
        self._best_error, self._best_loss = notes["best_error"], notes["best_loss"]
        self._best_epoch = notes["best_epoch"]
        self._network.load_state_dict(checkpoint.weights)
        for kept, values in ((self._average.values, checkpoint.averaged), (self._best, checkpoint.best)):
            kept.update({name: value.to(self._device) for name, value in values.items()})
        self._descent.take_up(checkpoint.optimiser, notes["scale"])

    def result(self) -> FitResult:
        """The best weights; threshold and EER as the embedder of every later inference gives them."""
        judgement, _ = self._judge.judge(self._best)
        notes = [self._pairs.note] if self._pairs.note else []
        if not self._best_epoch:
            notes.append(f"None of {self.epoch} epochs was better than the weights that it began with: they are kept.")
        if self._out_of_patience and self.epoch < self._recipe.epochs:
            notes.append(f"Stopped after epoch {self.epoch}: none of the last {self._recipe.patience} was better.")
        return FitResult(
            network=self._judge.network.cpu().eval(),
            comparer=self._judge.comparer,
            loss=loss_name(self._recipe, self._network),
            threshold=judgement.threshold,
            eer=judgement.eer,
            eers=judgement.eers,
            epochs=self.epoch,
            best_epoch=self._best_epoch,
            forgeries=self._pairs.forgeries,
            note=" ".join(notes),
            finished_early=self._finished_early,
        )

    def _step(self, batch: NDArray[np.int64], changes: torch.Generator) -> float:
        """One step of the optimiser; returns the batch's loss."""
        rows = self._rows[batch]
        canvases = augment(as_input(self._images[rows], self._device), changes, self._changes)
        writers = torch.from_numpy(self._labels.writer[batch]).to(self._device)
        forged = torch.from_numpy(self._labels.forged[batch]).to(self._device)
        with self._descent.autocast():
            representations = self._network(canvases.contiguous(memory_format=torch.channels_last))
            loss = self._loss(representations.float(), writers, forged)
        value = loss.item()
        if not math.isfinite(value):
            raise _not_finite()
        self._descent.step(loss)
        self._average.follow(self._network)
        return value

    def _judge_average(self) -> tuple[Judgement, float]:
        judgement, loss = self._judge.judge(self._average.values)
        if (judgement.error, loss) < (self._best_error, self._best_loss):
            self._best_error, self._best_loss, self._best_epoch = judgement.error, loss, self.epoch
            self._best = copies(self._average.values)
        return judgement, loss


def comparer_name(recipe: TrainSpec, network: nn.Module) -> ComparerName:
    """How representations are compared that ``recipe`` trains ``network`` to make."""
    if isinstance(network, PairScorer):
        return "local"
    return "weighted-l1" if recipe.loss == "cross-entropy" else recipe.similarity


def _built(build_network: Build, recipe: TrainSpec, canvas: NDArray[np.uint8]) -> nn.Module:
    """The recipe's network, with the distance it is to learn if its loss learns one. ``canvas`` is any, (1, ...)."""
    network = build_network(recipe.network, recipe.channels)
    if comparer_name(recipe, network) == "weighted-l1":
        with torch.no_grad():
            width = network.eval()(as_input(canvas, torch.device("cpu"))).shape[1]
        give_comparison(network.train(), width)
    return network


def _batches(labels: Labels, recipe: TrainSpec, epoch: int) -> WriterBatches:
    sizes = recipe.batch_writers, recipe.batch_genuine, recipe.batch_forged
    return WriterBatches(labels, *sizes, recipe.seed, epoch, passes=recipe.passes)


def _mix(seed: int, epoch: int, stream: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, stream]).generate_state(1)[0])


@contextmanager
def _seeded(device: torch.device, seed: int, epoch: int, stream: int) -> Iterator[None]:
    """torch's global generators seeded within, and as they were afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_mix(seed, epoch, stream))
        yield


def _not_finite() -> TrainingFailed:
    return TrainingFailed(
        "loss_not_finite",
        "The loss grew beyond all numbers. Train again with a lower learning rate (a tenth), or another optimiser.",
    )
