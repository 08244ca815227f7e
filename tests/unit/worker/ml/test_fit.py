from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from shared.errors import InvalidInput, TrainingFailed
from shared.model_files import ModelMeta
from shared.specs import LossName, OptimiserName, Preprocessing, SimilarityName, TrainSpec
from worker.ml.checkpoint import digest, save_model
from worker.ml.compare import Comparer, comparer
from worker.ml.embedder import Embedder
from worker.ml.fit import fit
from worker.ml.metrics import equal_error_rate, error_rates
from worker.ml.sampling import Labels, Split
from worker.ml.trained import EpochRow, FitResult, Stopped

CPU = torch.device("cpu")
SPLIT = Split(training=tuple(range(6)), validation=(6, 7, 8))
RECIPE = TrainSpec(epochs=4, learning_rate=5e-3, batch_writers=3, batch_genuine=3, batch_forged=2)


class Tiny(nn.Module):
    """Two layers, with batch norm and dropout, whose states and random numbers a resumed training must keep."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 5, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(4 * 4 * 6, 6)
        )

    def forward(self, canvases: torch.Tensor) -> torch.Tensor:
        embeddings: torch.Tensor = self.layers(canvases)
        return embeddings


def tiny(_: str, channels: int) -> nn.Module:
    return Tiny()


def signatures(writers: int = 9, genuine: int = 6, forged: int = 6) -> tuple[NDArray[np.uint8], Labels]:
    """Canvases of 16 x 20: each writer a stroke of their own, forgeries underlined."""
    rng = np.random.default_rng(3)
    images, labels = [], []
    for writer in range(writers):
        shape = np.zeros((16, 20))
        left = 2 + 3 * (writer % 3)
        shape[3 + writer % 5 : 8 + writer % 5, left : left + 8] = 200
        for number in range(genuine + forged):
            drawn = shape.copy()
            if number >= genuine:
                drawn[13:] = 120
            images.append(np.clip(np.roll(drawn, rng.integers(-1, 2), 1) + rng.normal(0, 8, shape.shape), 0, 255))
            labels.append((writer, number >= genuine))
    writer_of, is_forged = zip(*labels, strict=True)
    return np.array(images, np.uint8), Labels(np.array(writer_of, np.int64), np.array(is_forged))


class Course:
    """Runs ``fit`` and keeps what it told on the way.

    Asks to stop at the given call of ``should_stop``, or to finish after so many epochs (0: from the beginning).
    """

    def __init__(self, stop_at: int | None = None, finish_after: int | None = None) -> None:
        self.rows: list[EpochRow] = []
        self.checkpoints: list[bytes] = []
        self._asked, self._stop_at, self._finish_after = 0, stop_at, finish_after

    def _should_stop(self) -> bool:
        self._asked += 1
        return self._asked == self._stop_at

    def _should_finish(self) -> bool:
        return self._finish_after is not None and len(self.rows) >= self._finish_after

    def run(
        self,
        recipe: TrainSpec = RECIPE,
        data: tuple[NDArray[np.uint8], Labels] | None = None,
        split: Split[int] = SPLIT,
        checkpoint: bytes | None = None,
        initial: dict[str, torch.Tensor] | None = None,
        judge_initial: bool = True,
        build_network: Callable[[str, int], nn.Module] = tiny,
    ) -> FitResult:
        images, labels = data if data is not None else signatures()
        return fit(
            images,
            labels,
            split,
            recipe,
            on_epoch=self.rows.append,
            should_stop=self._should_stop,
            should_finish=self._should_finish,
            checkpoint=checkpoint,
            on_checkpoint=self.checkpoints.append,
            device=CPU,
            initial=initial,
            judge_initial=judge_initial,
            build_network=build_network,
        )


def timeless(rows: list[EpochRow]) -> list[EpochRow]:
    return [replace(row, seconds=0.0) for row in rows]


def same_weights(one: FitResult, other: FitResult) -> bool:
    mine, theirs = one.network.state_dict(), other.network.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_training_learns_to_tell_forgeries() -> None:
    course = Course()
    result = course.run(RECIPE.model_copy(update={"epochs": 25}))
    assert [row.epoch for row in course.rows] == list(range(1, 26))
    assert result.eer < 0.15 < course.rows[0].validation_eer
    assert course.rows[-1].loss < 0.5 * course.rows[0].loss
    assert course.rows[-1].validation_loss < course.rows[0].validation_loss
    assert {row.images for row in course.rows} == {2 * 6 * 5}


def test_the_result_is_the_best_epoch_with_its_own_threshold() -> None:
    course = Course()
    images, labels = signatures()
    result = course.run(RECIPE.model_copy(update={"epochs": 8}))
    assert course.rows[result.best_epoch - 1].validation_eer == result.eer == result.eers["skilled"]
    genuine: list[float] = []
    forged: list[float] = []
    for writer in SPLIT.validation:
        own = np.flatnonzero(labels.writer == writer)
        rows = Embedder(result.network, Preprocessing(height=16, width=20), CPU).embed(images[own])
        for i, j in zip(*np.triu_indices(12, 1), strict=True):
            if i < 6:
                (genuine if j < 6 else forged).append(float(np.linalg.norm(rows[i] - rows[j])))
    assert equal_error_rate(genuine, forged).rate == pytest.approx(result.eer)
    far, frr = error_rates(genuine, forged, result.threshold)
    assert abs(far - frr) < 0.05
    assert not result.network.training


@pytest.mark.parametrize(("asked", "epochs"), [(0, 1), (3, 3)])
def test_asked_to_finish_it_ends_with_the_best_so_far(asked: int, epochs: int) -> None:
    """At the first batch after an epoch: the result is that of a training of so many epochs that took the same way."""
    recipe = RECIPE.model_copy(update={"schedule": "step", "step_epochs": 100, "warm_up": 0.0})
    course = Course(finish_after=asked)
    result = course.run(recipe.model_copy(update={"epochs": 50}))
    assert (result.epochs, len(course.rows), len(course.checkpoints)) == (epochs, epochs, epochs)
    assert result.finished_early
    assert result.best_epoch <= epochs
    whole = Course().run(recipe.model_copy(update={"epochs": epochs}))
    assert not whole.finished_early
    assert same_weights(result, whole)
    again = Course(finish_after=0).run(recipe.model_copy(update={"epochs": 50}), checkpoint=course.checkpoints[-1])
    assert same_weights(result, again), "taken up from its checkpoint it ends at once"
    assert again.epochs == epochs


def test_a_resumed_training_is_the_undisturbed_one() -> None:
    whole, resumed = Course(), Course()
    undisturbed = whole.run()
    result = resumed.run(checkpoint=whole.checkpoints[1])
    assert timeless(resumed.rows) == timeless(whole.rows[2:])
    assert same_weights(result, undisturbed)
    assert resumed.checkpoints[-1] == whole.checkpoints[-1]
    assert (result.threshold, result.best_epoch) == (undisturbed.threshold, undisturbed.best_epoch)


def test_stopped_in_the_middle_of_an_epoch_it_goes_on_from_the_last_checkpoint() -> None:
    whole, broken, resumed = Course(), Course(stop_at=6), Course()
    undisturbed = whole.run()
    with pytest.raises(Stopped):
        broken.run()
    assert len(broken.checkpoints) == 1  # four batches an epoch
    assert same_weights(resumed.run(checkpoint=broken.checkpoints[-1]), undisturbed)


def test_the_last_checkpoint_holds_the_result() -> None:
    whole, again = Course(), Course()
    result = whole.run()
    assert same_weights(again.run(checkpoint=whole.checkpoints[-1]), result)
    assert again.rows == []


def test_the_seed_decides_and_the_random_numbers_of_others_are_left_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = Course().run()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12)
    assert same_weights(Course().run(), first)
    assert not same_weights(Course().run(RECIPE.model_copy(update={"seed": 2})), first)


def test_the_same_recipe_gives_the_same_file_and_another_seed_another() -> None:
    def digest_of(**fields: object) -> str:
        result = Course().run(RECIPE.model_copy(update={"augmentation": "strong", "epochs": 2} | fields))
        said = Preprocessing(height=16, width=20)
        meta = ModelMeta(network="compact", preprocessing=said, threshold=result.threshold)
        return digest(save_model(result.network, meta))

    first = digest_of()
    assert digest_of() == first
    assert digest_of(seed=2) != first


@pytest.mark.parametrize("loss", ["contrastive", "triplet", "cross-entropy", "multi-similarity"])
@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
def test_every_loss_learns_to_tell_forgeries(loss: LossName, similarity: SimilarityName) -> None:
    course, images = Course(), signatures()[0]
    recipe = RECIPE.model_copy(update={"loss": loss, "similarity": similarity, "epochs": 10, "average": 0.5})
    result = course.run(recipe)
    assert (result.loss, result.comparer) == (loss, "weighted-l1" if loss == "cross-entropy" else similarity)
    assert course.rows[-1].validation_loss < course.rows[0].validation_loss
    assert result.eers.keys() == {"skilled", "random"}
    assert result.eer < 0.3
    compare = comparer(result.comparer, result.network)
    rows = Embedder(result.network, Preprocessing(height=16, width=20), CPU).embed(images[6 * 12 :][:12])
    near, far = (compare(rows, np.zeros(5, np.int64), np.arange(start, start + 5)).mean() for start in (1, 6))
    assert near < result.threshold < far


def test_a_resumed_training_keeps_its_learned_distance() -> None:
    recipe = RECIPE.model_copy(update={"loss": "cross-entropy"})
    whole = Course()
    undisturbed = whole.run(recipe)
    assert same_weights(Course().run(recipe, checkpoint=whole.checkpoints[1]), undisturbed)
    assert "comparison.weights" in undisturbed.network.state_dict()


class Scoring(Tiny):
    """Scores pairs by itself, as networks do that match local features."""

    def pair_logits(self, representations: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return 3 - (representations[first] - representations[second]).square().sum(1)

    def comparer(self) -> Comparer:
        return lambda rows, first, second: np.square(rows[first] - rows[second]).sum(1)


def test_a_network_that_scores_pairs_trains_by_its_own_scores() -> None:
    course = Course()
    result = course.run(RECIPE.model_copy(update={"epochs": 12}), build_network=lambda *_: Scoring())
    assert (result.loss, result.comparer) == ("pair-cross-entropy", "local")
    assert course.rows[-1].loss < 0.7 * course.rows[0].loss
    assert result.eer < 0.3


def test_it_begins_with_the_weights_it_is_given() -> None:
    trained = Course().run(RECIPE.model_copy(update={"epochs": 20}))
    course, fresh = Course(), Course()
    gentle = RECIPE.model_copy(update={"epochs": 1, "learning_rate": 1e-4})
    course.run(gentle, initial=trained.network.state_dict())
    fresh.run(gentle)
    assert course.rows[0].loss < 0.5 * fresh.rows[0].loss
    with pytest.raises(ValueError, match="another network"):
        Course().run(gentle, initial={})


def test_the_weights_it_begins_with_are_kept_where_no_epoch_is_better() -> None:
    """A rate that ruins them costs nothing; weights that know the validation writers already are no candidate."""
    trained = Course().run(RECIPE.model_copy(update={"epochs": 20}))
    weights = trained.network.state_dict()
    ruinous = RECIPE.model_copy(update={"optimiser": "sgd", "learning_rate": 10.0, "warm_up": 0.0, "average": 0.0})
    course = Course()
    kept = course.run(ruinous, initial=weights)
    assert min(row.validation_eer for row in course.rows) > trained.eer
    assert all(torch.equal(value, weights[name]) for name, value in kept.network.state_dict().items())
    assert (kept.best_epoch, kept.epochs) == (0, 4)
    assert kept.eer == pytest.approx(trained.eer)
    assert "None of 4 epochs was better than the weights that it began with" in kept.note
    taken_up = Course().run(ruinous, initial=weights, checkpoint=course.checkpoints[1])
    assert (taken_up.best_epoch, taken_up.eer) == (0, kept.eer)
    known = Course().run(ruinous, initial=weights, judge_initial=False)
    assert known.best_epoch > 0


def test_a_training_that_begins_with_weights_is_not_finished_before_its_first_epoch() -> None:
    weights = Course().run().network.state_dict()
    finished = Course(finish_after=0).run(initial=weights)
    assert (finished.epochs, finished.finished_early) == (1, True)


def test_it_stops_when_it_has_not_been_better_for_long() -> None:
    still = RECIPE.model_copy(update={"epochs": 50, "patience": 2, "learning_rate": 1e-30, "augmentation": "none"})
    whole, resumed = Course(), Course()
    result = whole.run(still)
    assert result.epochs == len(whole.rows) == result.best_epoch + 2
    assert f"Stopped after epoch {result.epochs}" in result.note
    again = resumed.run(still, checkpoint=whole.checkpoints[-2])
    assert len(resumed.rows) == 1
    assert (again.epochs, again.note) == (result.epochs, result.note)


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "rmsprop", "sgd"])
def test_every_optimiser_lowers_the_loss(optimiser: OptimiserName) -> None:
    course = Course()
    course.run(RECIPE.model_copy(update={"optimiser": optimiser, "epochs": 6, "learning_rate": 2e-3}))
    assert course.rows[-1].loss < 0.9 * course.rows[0].loss


def test_the_learning_rate_falls() -> None:
    course = Course()
    course.run()
    rates = [row.learning_rate for row in course.rows]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] <= RECIPE.learning_rate
    assert rates[-1] < 0.2 * RECIPE.learning_rate


def test_without_forgeries_it_trains_on_random_forgeries_and_says_so() -> None:
    course = Course()
    result = course.run(RECIPE.model_copy(update={"epochs": 12}), signatures(forged=0))
    assert result.forgeries == "random"
    assert "other writers" in result.note
    assert result.eer < 0.25


def test_images_may_be_a_read_only_memory_map(tmp_path: Path) -> None:
    images, labels = signatures()
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert same_weights(Course().run(data=(mapped, labels)), Course().run())


class Endless(Tiny):
    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            next(self.parameters()).fill_(torch.inf)


class LateNan(Tiny):
    """Sound in training, not in evaluation: as after an overflow in an epoch's last step."""

    def forward(self, canvases: torch.Tensor) -> torch.Tensor:
        return super().forward(canvases) if self.training else super().forward(canvases) * torch.nan


@pytest.mark.parametrize("network", [Endless, LateNan])
def test_a_loss_that_is_not_finite_is_told_with_advice(network: type[nn.Module]) -> None:
    course = Course()
    with pytest.raises(TrainingFailed, match="lower learning rate") as caught:
        course.run(build_network=lambda *_: network())
    assert caught.value.code == "loss_not_finite"
    assert course.checkpoints == []


@pytest.mark.parametrize(
    ("genuine", "forged", "training", "code"),
    [(1, 6, (0, 1, 2), "no_genuine_pairs"), (6, 0, (0,), "too_few_writers")],
)
def test_writers_that_cannot_be_learnt_from(genuine: int, forged: int, training: tuple[int, ...], code: str) -> None:
    images, labels = signatures(genuine=genuine, forged=forged)
    more, other = signatures()
    data = (
        np.concatenate([images, more]),
        Labels(np.append(labels.writer, other.writer + 9), np.append(labels.forged, other.forged)),
    )
    with pytest.raises(TrainingFailed) as caught:
        Course().run(data=data, split=Split(training=training, validation=(15, 16)))
    assert caught.value.code == code


def test_a_damaged_checkpoint_is_told() -> None:
    course = Course()
    course.run()
    with pytest.raises(InvalidInput) as caught:
        Course().run(checkpoint=course.checkpoints[0][:-20])
    assert caught.value.code == "checkpoint_damaged"


@pytest.mark.parametrize(("name", "channels"), [("compact", 1), ("conv4", 3)])
def test_networks_of_the_catalogue_take_a_step(name: str, channels: int) -> None:
    recipe = RECIPE.model_copy(update={"network": name, "epochs": 1, "preset": "photo", "channels": channels})
    _, labels = signatures(writers=4, genuine=2, forged=1)
    images = np.random.default_rng(1).integers(0, 256, (12, *recipe.preprocessing.shape), dtype=np.uint8)
    rows: list[EpochRow] = []
    result = fit(
        images,
        labels,
        Split(training=(0, 1), validation=(2, 3)),
        recipe,
        on_epoch=rows.append,
        should_stop=lambda: False,
        on_checkpoint=lambda _: None,
        device=CPU,
    )
    assert rows[0].images == 6
    assert np.isfinite(rows[0].loss)
    assert result.threshold >= 0
    assert set(result.eers) == {"skilled", "random"}
