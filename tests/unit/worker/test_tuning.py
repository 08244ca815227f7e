from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
import torch
from torch import nn

from shared.db import Database
from shared.errors import TrainingFailed
from shared.jobs.lifecycle import claim_job, request_cancel, retry_job
from shared.search_space import default_params
from shared.specs import InkName, TrainSpec, TuneSpec
from shared.tables import Job, JobState, Trial, TrialState
from tests.factories import expire, reload, training_files, zip_of
from tests.unit.worker.conftest import send, submissions
from worker import solo
from worker.context import Context
from worker.ml.images import decode, prepare
from worker.ml.trained import EpochRow, FitResult, Stopped
from worker.tuning import MAX_STARTS, tune_job

FILES = training_files(writers=4, genuine=2, forged=1)


@pytest.fixture(autouse=True)
def ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solo, "ASK_SECONDS", -1.0)


def submit(context: Context, **fields: object) -> Job:
    spec = TuneSpec.model_validate({"trials": 2, "epochs": 1, "folds": 2} | fields)
    return submissions(context).on_archive(send(context, zip_of(dict(FILES)), "set.zip"), spec, None)


def trials_of(database: Database, job: Job) -> Sequence[Trial]:
    with database.read() as session:
        return session.scalars(sa.select(Trial).where(Trial.job_id == job.id).order_by(Trial.number)).all()


class WorkerDied(BaseException):
    """A process that was killed."""


def kill(context: Context) -> None:
    """End the worker as a kill does: it can write nothing more, and its lease runs out."""
    with context.database.write() as session:
        session.execute(sa.update(Job).values(fence=Job.fence + 1, lease_until=1.0))
    raise WorkerDied


def eer_of(recipe: TrainSpec) -> float:
    """Lower the nearer the learning rate is to 0.003."""
    return min(0.5, 0.05 + 0.1 * abs(math.log10(recipe.learning_rate / 0.003)))


@dataclass
class FakeFit:
    """Trains nothing: each epoch's EER is ``eer(recipe)``. ``before`` may raise, given how many folds were begun."""

    eer: Callable[[TrainSpec], float] = eer_of
    before: Callable[[int, TrainSpec], None] = lambda begun, recipe: None
    begun: list[tuple[TrainSpec, Any]] = field(default_factory=list)
    canvases: set[bytes] = field(default_factory=set)

    def __call__(
        self,
        images: Any,
        labels: Any,
        split: Any,
        recipe: TrainSpec,
        *,
        on_epoch: Any,
        should_stop: Any,
        on_checkpoint: Any,
    ) -> FitResult:
        self.begun.append((recipe, split))
        self.canvases |= {canvas.tobytes() for canvas in images}
        self.before(len(self.begun), recipe)
        for epoch in range(1, recipe.epochs + 1):
            if should_stop():
                raise Stopped
            on_epoch(EpochRow(epoch, 1.0, 1.0, self.eer(recipe), recipe.learning_rate, 0.5, 8))
        error = self.eer(recipe)
        return FitResult(
            network=nn.Identity(),
            comparer="euclidean",
            loss="contrastive",
            threshold=1.0,
            eer=error,
            eers={"skilled": error * 1.5, "random": error * 0.5},
            epochs=recipe.epochs,
            best_epoch=1,
            forgeries="skilled",
            note="",
        )


def test_a_real_study_from_end_to_end(context: Context) -> None:
    job = submit(context, name="found")
    tune_job(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.error_code, now.done, now.total) == (JobState.SUCCEEDED, None, 2, 2)
    first, second = trials_of(context.database, job)
    assert first.params == default_params("compact")
    assert second.params != first.params
    assert {first.state, second.state} <= {TrialState.COMPLETE, TrialState.FAILED}
    assert (first.folds, first.code) == (2, None)
    assert 0 <= (first.value or 0) <= 1
    assert first.seconds > 0
    assert now.report["writers"] == 4
    best = now.report["best"]
    assert TrainSpec.model_validate(best["fields"]).name == "found"
    assert list((context.settings.home / "training").iterdir()) == []


def test_the_best_trial_is_told_with_the_way_to_train_like_it(sqlite_context: Context) -> None:
    context, fake = sqlite_context, FakeFit()
    job = submit(context, trials=12, epochs=2, folds=3, seed=4)
    tune_job(context, job.public_id, fake)
    trials = trials_of(context.database, job)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = min(complete, key=lambda trial: trial.value or 0)
    report = reload(context.database, job).report
    assert report["best"]["number"] == best.number
    assert report["best"]["value"] == best.value
    assert report["best"]["value"] == pytest.approx(eer_of(TrainSpec.model_validate(report["best"]["fields"])))
    assert report["best"]["params"] == best.params
    eers = report["best"]["eers"]
    assert eers == pytest.approx({"skilled": 1.5 * report["best"]["value"], "random": 0.5 * report["best"]["value"]})
    assert sum(report["trials"].values()) == len(trials) == 12
    assert report["best"]["command"].startswith(
        "countersign submit train PATH --name tuned --network compact --epochs 2"
    )
    assert f"--learning-rate {best.params['learning_rate']}" in report["best"]["command"]


@pytest.mark.parametrize("ink", ["grey", "binary"])
def test_the_ink_of_a_search_is_that_of_its_trials_and_of_what_it_recommends(
    sqlite_context: Context, ink: InkName
) -> None:
    context, fake, asked = sqlite_context, FakeFit(), TuneSpec(ink=ink).preprocessing
    job = submit(context, ink=ink)
    tune_job(context, job.public_id, fake)
    assert {recipe.preprocessing for recipe, _ in fake.begun} == {asked}
    assert fake.canvases == {prepare(decode(image), asked).tobytes() for image in dict(FILES).values()}
    best = reload(context.database, job).report["best"]
    assert TrainSpec.model_validate(best["fields"]).preprocessing == asked
    assert ("--ink binary" in best["command"]) == (ink == "binary")


def test_every_fold_judges_on_writers_that_it_did_not_learn_from(sqlite_context: Context) -> None:
    fake = FakeFit()
    job = submit(sqlite_context, trials=1, folds=4)
    tune_job(sqlite_context, job.public_id, fake)
    splits = [split for _, split in fake.begun]
    assert sorted(writer for split in splits for writer in split.validation) == [0, 1, 2, 3]
    assert all(set(split.training) == {0, 1, 2, 3} - set(split.validation) for split in splits)
    assert reload(sqlite_context.database, job).state == JobState.SUCCEEDED


def test_bad_trials_are_given_up_early(sqlite_context: Context) -> None:
    """After three good trials the rest are far worse from their first epoch on."""
    context = sqlite_context
    fake = FakeFit()
    fake.eer = lambda recipe: 0.1 if len(fake.begun) <= 6 else 0.4
    job = submit(context, trials=5, epochs=3, folds=2)
    tune_job(context, job.public_id, fake)
    trials = trials_of(context.database, job)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3 + [TrialState.PRUNED] * 2
    assert [trial.folds for trial in trials] == [2, 2, 2, 0, 0]
    assert [trial.value for trial in trials] == pytest.approx([0.1, 0.1, 0.1, 0.4, 0.4])
    now = reload(context.database, job)
    assert now.report["trials"] == {"complete": 3, "pruned": 2, "failed": 0}
    assert (now.done, len(fake.begun)) == (5, 8)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TrainingFailed("loss_not_finite", "Too large."), "loss_not_finite"),
        (torch.OutOfMemoryError("too large for the card"), "out_of_memory"),
    ],
)
def test_a_trial_that_fails_costs_only_itself(sqlite_context: Context, error: Exception, code: str) -> None:
    context = sqlite_context

    def fail_second(begun: int, recipe: TrainSpec) -> None:
        if begun == 4:  # the second fold of the second trial
            raise error

    job = submit(context, trials=3)
    tune_job(context, job.public_id, FakeFit(before=fail_second))
    states = [(trial.state, trial.code, trial.folds) for trial in trials_of(context.database, job)]
    assert states == [(TrialState.COMPLETE, None, 2), (TrialState.FAILED, code, 1), (TrialState.COMPLETE, None, 2)]
    now = reload(context.database, job)
    assert (now.state, now.done, now.report["trials"]["failed"]) == (JobState.SUCCEEDED, 3, 1)


def test_the_job_fails_where_every_trial_does(sqlite_context: Context) -> None:
    context = sqlite_context

    def fail(begun: int, recipe: TrainSpec) -> None:
        raise TrainingFailed("loss_not_finite", "Too large.")

    job = submit(context)
    tune_job(context, job.public_id, FakeFit(before=fail))
    now = reload(context.database, job)
    assert (now.state, now.error_code) == (JobState.FAILED, "trials_failed")
    assert "loss_not_finite" in (now.error_message or "")
    assert [trial.state for trial in trials_of(context.database, job)] == [TrialState.FAILED] * 2


def test_data_that_no_settings_help_fail_the_job_at_once(sqlite_context: Context) -> None:
    context = sqlite_context

    def fail(begun: int, recipe: TrainSpec) -> None:
        raise TrainingFailed("no_genuine_pairs", "Add genuine signatures.")

    job, few = submit(context), submit(context, folds=5)
    tune_job(context, job.public_id, fake := FakeFit(before=fail))
    tune_job(context, few.public_id, FakeFit())
    assert (reload(context.database, job).error_code, len(fake.begun)) == ("no_genuine_pairs", 1)
    assert reload(context.database, few).error_code == "too_few_writers"


def die_and_go_on(context: Context, begun_before_death: int) -> tuple[list[object], list[object], int]:
    """What a study tells whose worker lives, and one whose worker dies; and how many folds the second begins again."""
    whole, parts = (submit(context, trials=4, epochs=2, seed=9) for _ in range(2))
    tune_job(context, whole.public_id, undisturbed := FakeFit())

    def die(begun: int, recipe: TrainSpec) -> None:
        if begun == begun_before_death:
            kill(context)

    with pytest.raises(WorkerDied):
        tune_job(context, parts.public_id, first := FakeFit(before=die))
    assert reload(context.database, parts).state == JobState.RUNNING
    tune_job(context, parts.public_id, second := FakeFit())
    ended = [reload(context.database, job) for job in (whole, parts)]
    assert ended[0].state == ended[1].state == JobState.SUCCEEDED
    trials = [trials_of(context.database, job) for job in (whole, parts)]
    told = [[(one.number, one.state, one.value, one.params, one.folds) for one in side] for side in trials]
    again = len(first.begun) + len(second.begun) - len(undisturbed.begun)
    return [ended[0].report, told[0]], [ended[1].report, told[1]], again


@pytest.mark.parametrize("begun_before_death", [1, 2, 7])
def test_a_study_whose_worker_died_goes_on_as_if_nothing_had_happened(
    sqlite_context: Context, begun_before_death: int
) -> None:
    undisturbed, died, again = die_and_go_on(sqlite_context, begun_before_death)
    assert (died, again) == (undisturbed, 1)


def test_a_study_goes_on_after_a_death_on_each_database(context: Context) -> None:
    undisturbed, died, again = die_and_go_on(context, 4)
    assert (died, again) == (undisturbed, 1)


def test_a_study_that_is_drained_is_handed_back(sqlite_context: Context) -> None:
    context = sqlite_context
    job = submit(context, trials=3)
    fake = FakeFit()
    tune_job(replace(context, draining=lambda: len(fake.begun) == 4), job.public_id, fake)
    now = reload(context.database, job)
    assert (now.state, now.owner, now.done) == (JobState.RUNNING, None, 1)
    assert [trial.state for trial in trials_of(context.database, job)] == [TrialState.COMPLETE, TrialState.STOPPED]
    tune_job(context, job.public_id, fake)
    assert reload(context.database, job).state == JobState.SUCCEEDED
    assert len(fake.begun) == 7


def test_a_trial_that_ends_its_worker_again_and_again_is_given_up(sqlite_context: Context) -> None:
    context = sqlite_context
    job = submit(context, trials=2)
    for _ in range(MAX_STARTS):
        with pytest.raises(WorkerDied):
            tune_job(context, job.public_id, FakeFit(before=lambda begun, recipe: kill(context)))
    tune_job(context, job.public_id, FakeFit())
    states = [(trial.state, trial.code) for trial in trials_of(context.database, job)]
    assert states == [(TrialState.FAILED, "crashed"), (TrialState.COMPLETE, None)]


def test_a_cancelled_study_keeps_its_trials_and_can_be_taken_up(context: Context) -> None:
    job = submit(context, trials=3)

    def cancel(begun: int, recipe: TrainSpec) -> None:
        if begun == 3:
            request_cancel(context.database, job.public_id, None)

    tune_job(context, job.public_id, FakeFit(before=cancel))
    now = reload(context.database, job)
    assert (now.state, now.done) == (JobState.CANCELLED, 1)
    assert now.report["best"]["number"] == 1
    assert [trial.state for trial in trials_of(context.database, job)] == [TrialState.COMPLETE, TrialState.STOPPED]
    retry_job(context.database, job.public_id, None)
    tune_job(context, job.public_id, FakeFit())
    assert reload(context.database, job).state == JobState.SUCCEEDED
    assert [trial.state for trial in trials_of(context.database, job)] == [TrialState.COMPLETE] * 3


def test_a_worker_that_lost_its_lease_writes_nothing_more(context: Context) -> None:
    job = submit(context, trials=2)

    def lose(begun: int, recipe: TrainSpec) -> None:
        if begun == 2:
            expire(context.database, Job)
            assert claim_job(context.database, job.public_id, "worker-2", 30)

    tune_job(context, job.public_id, FakeFit(before=lose))
    now = reload(context.database, job)
    assert (now.state, now.owner, now.done) == (JobState.RUNNING, "worker-2", 0)
    (trial,) = trials_of(context.database, job)
    assert (trial.state, trial.folds) == (TrialState.RUNNING, 1)


def test_the_phase_says_where_it_is(sqlite_context: Context) -> None:
    context = sqlite_context
    job = submit(context, trials=2, epochs=3)
    told: list[str] = []
    fake = FakeFit(before=lambda begun, recipe: told.append(reload(context.database, job).phase))
    tune_job(context, job.public_id, fake)
    assert told[0] == "trial 1 of 2, fold 1 of 2, epoch 1 of 3"
    assert told[3] == "trial 2 of 2, fold 2 of 2, epoch 1 of 3"


def test_the_same_seed_tries_the_same_settings_and_another_others(sqlite_context: Context) -> None:
    jobs = [submit(sqlite_context, trials=4, seed=seed) for seed in (1, 1, 2)]
    for job in jobs:
        tune_job(sqlite_context, job.public_id, FakeFit())
    params = [[trial.params for trial in trials_of(sqlite_context.database, job)] for job in jobs]
    assert params[0] == params[1]
    assert params[0][1:] != params[2][1:]
    assert np.unique([str(one) for one in params[0]]).size == 4, "no settings twice"
