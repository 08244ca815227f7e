"""Training a network on writers' signatures: all the pairs of a batch, each image encoded once.

An epoch shows every training writer's genuine signatures ``Plan.passes`` times, in batches of P writers x (K genuine
+ F skilled forgeries). After each epoch the running average of the weights is judged on the validation writers, and
the best of these averages is the result. All that is random in an epoch comes from (seed, epoch), so that a training
taken up again from its checkpoint goes on exactly as if nothing had happened (on the CPU; a GPU may round otherwise).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shared.errors import TrainingFailed
from shared.specs import Preprocessing, TrainSpec
from worker.ml.augmentation import augment
from worker.ml.checkpoint import Checkpoint, Tensors, load_checkpoint, save_checkpoint
from worker.ml.embedder import Embedder, as_input, best_device
from worker.ml.losses import batch_loss
from worker.ml.networks import build
from worker.ml.sampling import Labels, Split, WriterBatches
from worker.ml.validation import ValidationPairs

_WEIGHTS, _AUGMENTATION = 1, 2  # separate streams of random numbers


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recipe leaves open: the make-up of batches and the rest of the craft, with what was found to work."""

    writers: int = 12  # a batch, each with:
    genuine: int = 4
    forged: int = 3
    passes: float = 1.0  # over the genuine signatures, an epoch
    warm_up: float = 0.03  # share of the training in which the learning rate rises to its full value
    last_rate: float = 0.01  # of the full learning rate, at the end
    clip: float = 5.0  # largest norm of a batch's gradient
    average: float = 0.95  # of the running mean of the weights, what a step keeps


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One line of the training curve. ``epoch`` counts from 1; the losses are means over the epoch."""

    epoch: int
    loss: float
    validation_loss: float
    validation_eer: float
    learning_rate: float  # at the epoch's end
    seconds: float
    images: int  # encoded for training


@dataclass(frozen=True, slots=True, eq=False)
class FitResult:
    """The best weights found, in evaluation mode on the CPU, and what the validation writers say of them."""

    network: nn.Module
    threshold: float  # accept if distance <= threshold; where FAR = FRR on the validation writers
    eer: float
    epochs: int  # run in all, over all attempts
    best_epoch: int
    forgeries: str  # "skilled" or "random": what eer and threshold were measured against
    note: str  # for people; empty if there is nothing to say


class Stopped(Exception):
    """Training was asked to stop. The last checkpoint handed out is where it goes on."""


def fit(
    images: NDArray[np.uint8],
    labels: Labels,
    split: Split[int],
    recipe: TrainSpec,
    *,
    on_epoch: Callable[[EpochRow], None],
    should_stop: Callable[[], bool],
    checkpoint: bytes | None = None,
    on_checkpoint: Callable[[bytes], None],
    device: torch.device | None = None,
    plan: Plan | None = None,
    build_network: Callable[[str, int], nn.Module] = build,
) -> FitResult:
    """Train on ``split.training``, choose weights and threshold on ``split.validation``.

    ``images`` (N, H, W) or (N, H, W, 3) are canvases as ``images.prepare`` makes them for the recipe's preset, an
    array or a memory map; ``labels`` are theirs. ``on_epoch`` is called after each epoch, then ``on_checkpoint`` with
    bytes that ``checkpoint`` takes up again: an epoch may so be told twice. ``should_stop`` is asked before each batch.

    Raises TrainingFailed with code no_genuine_pairs, too_few_writers or loss_not_finite; InvalidInput with code
    checkpoint_damaged; Stopped when asked to stop.
    """
    pairs = ValidationPairs.choose(labels, split, recipe.seed)
    _check_training_side(labels, split)
    run = _Run(images, labels, split, recipe, plan or Plan(), device or best_device(), build_network)
    if checkpoint is not None:
        run.take_up(load_checkpoint(checkpoint))
    while run.epoch < recipe.epochs:
        row = run.train_epoch(pairs, should_stop)
        on_epoch(row)
        on_checkpoint(save_checkpoint(run.state()))
    return run.result(pairs)


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


class _Run:
    """A training under way: network, running average, optimiser, and the best so far."""

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: Labels,
        split: Split[int],
        recipe: TrainSpec,
        plan: Plan,
        device: torch.device,
        build_network: Callable[[str, int], nn.Module],
    ) -> None:
        self._images, self._recipe, self._plan, self._device = images, recipe, plan, device
        self._rows = np.flatnonzero(np.isin(labels.writer, split.training))  # of the training side
        self._labels = Labels(labels.writer[self._rows], labels.forged[self._rows])
        with _seeded(device, recipe.seed, 0, _WEIGHTS):
            self._network = build_network(recipe.network, recipe.channels)
            judged = build_network(recipe.network, recipe.channels)
        self._network.to(device).to(memory_format=torch.channels_last)
        seen = Preprocessing(
            preset=recipe.preset, height=images.shape[1], width=images.shape[2], channels=recipe.channels
        )
        self._judge = Embedder(judged, seen, device)
        self._averaged = _copies(self._network.state_dict())
        self._best: Tensors = {}
        self._best_eer, self._best_loss, self._best_epoch = math.inf, math.inf, 0
        self._optimiser = _optimiser(self._network, recipe)
        self._steps = 0
        self.epoch = 0

    def train_epoch(self, pairs: ValidationPairs, should_stop: Callable[[], bool]) -> EpochRow:
        """One epoch and its judgement. Raises Stopped, or TrainingFailed when a number is not finite."""
        started = time.perf_counter()
        epoch, recipe, plan = self.epoch + 1, self._recipe, self._plan
        batches = list(
            WriterBatches(self._labels, plan.writers, plan.genuine, plan.forged, recipe.seed, epoch, passes=plan.passes)
        )
        changes = torch.Generator().manual_seed(_mix(recipe.seed, epoch, _AUGMENTATION))
        total, seen = 0.0, 0
        self._network.train()
        with _seeded(self._device, recipe.seed, epoch, _WEIGHTS):  # dropout draws from the global generator
            for number, batch in enumerate(batches):
                if should_stop():
                    raise Stopped
                self._set_rate((epoch - 1 + number / len(batches)) / recipe.epochs)
                total += self._step(batch, changes) * len(batch)
                seen += len(batch)
        self.epoch = epoch
        loss, eer = self._judge_average(pairs)
        seconds = time.perf_counter() - started
        return EpochRow(epoch, total / seen, loss, eer, self._optimiser.param_groups[0]["lr"], seconds, seen)

    def state(self) -> Checkpoint:
        """All that the rest of the training depends on."""
        optimiser = {
            f"{index}/{name}": value
            for index, values in self._optimiser.state_dict()["state"].items()
            for name, value in values.items()
            if value is not None
        }
        notes = {
            "steps": self._steps,
            "best_eer": self._best_eer,
            "best_loss": self._best_loss,
            "best_epoch": self._best_epoch,
            "recipe": self._recipe.model_dump(mode="json"),
        }
        return Checkpoint(self.epoch, self._network.state_dict(), self._averaged, self._best, optimiser, notes)

    def take_up(self, checkpoint: Checkpoint) -> None:
        """Go on where ``checkpoint`` was written."""
        self.epoch = checkpoint.epoch
        self._steps = checkpoint.notes["steps"]
        self._best_eer, self._best_loss = checkpoint.notes["best_eer"], checkpoint.notes["best_loss"]
        self._best_epoch = checkpoint.notes["best_epoch"]
        self._network.load_state_dict(checkpoint.weights)
        for kept, values in ((self._averaged, checkpoint.averaged), (self._best, checkpoint.best)):
            kept.update({name: value.to(self._device) for name, value in values.items()})
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in checkpoint.optimiser.items():
            index, name = key.split("/", 1)
            state.setdefault(int(index), {})[name] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": state, "param_groups": groups})

    def result(self, pairs: ValidationPairs) -> FitResult:
        """The best weights; threshold and EER as the embedder of every later inference gives them."""
        self._judge.network.load_state_dict(self._best)
        judgement = pairs.judge(self._judge.embed(self._images[pairs.rows]), self._recipe.margin)
        return FitResult(
            network=self._judge.network.cpu().eval(),
            threshold=judgement.threshold,
            eer=judgement.eer,
            epochs=self.epoch,
            best_epoch=self._best_epoch,
            forgeries=pairs.forgeries,
            note=pairs.note,
        )

    def _step(self, batch: NDArray[np.int64], changes: torch.Generator) -> float:
        """One step of the optimiser; returns the batch's loss."""
        rows = self._rows[batch]
        canvases = augment(as_input(self._images[rows], self._device), changes)
        writers = torch.from_numpy(self._labels.writer[batch]).to(self._device)
        forged = torch.from_numpy(self._labels.forged[batch]).to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=_halves(self._device)):
            embeddings = self._network(canvases.contiguous(memory_format=torch.channels_last))
        loss = batch_loss(embeddings.float(), writers, forged, self._recipe.margin)
        value = loss.item()
        if not math.isfinite(value):
            raise _not_finite()
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._network.parameters(), self._plan.clip)
        self._optimiser.step()
        self._steps += 1
        self._follow()
        return value

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the running average towards the weights; faster at first, when it is still the random start."""
        keep = min(self._plan.average, self._steps / (self._steps + 10))
        for name, value in self._network.state_dict().items():
            kept = self._averaged[name]
            if kept.is_floating_point():
                kept.lerp_(value, 1 - keep)
            else:
                kept.copy_(value)

    def _judge_average(self, pairs: ValidationPairs) -> tuple[float, float]:
        self._judge.network.load_state_dict(self._averaged)
        embeddings = self._judge.embed(self._images[pairs.rows])
        if not np.isfinite(embeddings).all():
            raise _not_finite()
        judgement = pairs.judge(embeddings, self._recipe.margin)
        if (judgement.eer, judgement.loss) < (self._best_eer, self._best_loss):
            self._best_eer, self._best_loss, self._best_epoch = judgement.eer, judgement.loss, self.epoch
            self._best = _copies(self._averaged)
        return judgement.loss, judgement.eer

    def _set_rate(self, progress: float) -> None:
        """Half a cosine from the full rate down, after a straight rise (Loshchilov and Hutter 2017, equation 5)."""
        plan = self._plan
        rise = min(1.0, (progress + 1e-3) / plan.warm_up)
        fall = plan.last_rate + (1 - plan.last_rate) * (1 + math.cos(math.pi * progress)) / 2
        for group in self._optimiser.param_groups:
            group["lr"] = self._recipe.learning_rate * rise * fall


def _optimiser(network: nn.Module, recipe: TrainSpec) -> torch.optim.Optimizer:
    weights, rate, decay = network.parameters(), recipe.learning_rate, recipe.weight_decay
    match recipe.optimiser:
        case "adam":
            return torch.optim.Adam(weights, rate, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(weights, rate, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(weights, rate, weight_decay=decay)
        case "sgd":
            return torch.optim.SGD(weights, rate, momentum=0.9, weight_decay=decay, nesterov=True)


def _halves(device: torch.device) -> bool:
    """Whether bfloat16 is in the hardware: where it is emulated it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def _copies(tensors: Tensors) -> Tensors:
    return {name: value.detach().clone() for name, value in tensors.items()}


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
