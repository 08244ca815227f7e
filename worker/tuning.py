"""Tuning: trials of settings, each trained and judged on folds of writers. Goes on from its last trial and fold."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from statistics import mean
from typing import Any, Protocol

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as Told
from sqlalchemy.exc import SQLAlchemyError

from shared.errors import TrainingFailed
from shared.jobs.lifecycle import succeed_job, tell
from shared.search_space import trial_command, trial_fields
from shared.specs import TrainSpec, TuneSpec
from shared.tables import Job, Trial, TrialState
from worker.context import Context
from worker.dataset import Dataset
from worker.journal import JobJournal
from worker.ml.fit import fit
from worker.ml.sampling import Labels, Split, fold_writers, refuse_leak
from worker.ml.search import ask, open_study, settled_trials, suggest
from worker.ml.trained import EpochRow, FitResult, Stopped
from worker.solo import SoloJob, run_solo

MAX_STARTS = 3  # a trial that ended as many workers is not begun again
CODE, FOLDS, PARAMS, HANDED_BACK = "code", "folds", "params", "handed_back"  # what a study keeps of a trial
STATES = {Told.COMPLETE: TrialState.COMPLETE, Told.PRUNED: TrialState.PRUNED, Told.FAIL: TrialState.FAILED}


class Train(Protocol):
    """``worker.ml.fit.fit``, as far as a trial uses it."""

    def __call__(
        self,
        images: NDArray[np.uint8],
        labels: Labels,
        split: Split[int],
        recipe: TrainSpec,
        *,
        on_epoch: Callable[[EpochRow], None],
        should_stop: Callable[[], bool],
        on_checkpoint: Callable[[bytes], None],
    ) -> FitResult: ...


def tune_job(context: Context, job_id: str, train: Train = fit) -> None:
    """Run a queued or abandoned search to its end, unless it is cancelled or the worker is being stopped."""
    run_solo(context, job_id, lambda solo: _Tuning(solo, train).run())


@dataclass(frozen=True, slots=True, eq=False)
class _Folds:
    """The data of all trials: N canvases, their labels, and which writers learn and which judge in each fold."""

    canvases: NDArray[np.uint8]
    labels: Labels
    splits: tuple[Split[int], ...]


class _Pruned(Exception):
    """The trial is worse than the others were at the same point."""


class _Tuning:
    """One tune job while this worker holds it."""

    def __init__(self, solo: SoloJob, train: Train) -> None:
        self._solo, self._train = solo, train
        self._spec = TuneSpec.model_validate(solo.spec)
        self._database, self._claim = solo.context.database, solo.claim

    def run(self) -> None:
        """Read the data, part the writers into folds, and try settings until all trials have an end."""
        with self._solo.folder() as folder:
            data = self._solo.read_dataset(folder, self._spec.preprocessing)
            folds = _folds_of(data, self._spec)
            study = open_study(JournalStorage(JobJournal(self._database, self._claim)), self._spec)
            while len(settled := settled_trials(study, _failed_itself)) < self._spec.trials:
                self._solo.tell(done=len(settled), report=data.summary | self._outcome(settled))
                self._try(study, settled, folds)
        self._finish(data.summary, settled)

    def _try(self, study: optuna.Study, settled: list[FrozenTrial], folds: _Folds) -> None:
        """One trial to its end. What stops the work leaves it to be taken up again with the folds it has."""
        left = _left_behind(study, settled)
        trial = ask(study, self._spec, len(settled))
        run = _TrialRun(self._solo, self._spec, len(settled) + 1, trial, self._train)
        try:
            if sum(not one.user_attrs.get(HANDED_BACK) for one in left) >= MAX_STARTS:
                raise TrainingFailed("crashed", f"The trial ended {MAX_STARTS} workers.")
            run.take_up(left)
            value = run.run(folds)
            run.write(TrialState.COMPLETE)  # the row first: one told to the study only would never be mended
            study.tell(trial, value)
        except _Pruned:
            run.write(TrialState.PRUNED)
            study.tell(trial, state=Told.PRUNED)
        except torch.OutOfMemoryError:
            self._give_up(study, run, "out_of_memory")
        except TrainingFailed as error:
            if error.code not in ("loss_not_finite", "crashed"):
                raise  # the data's fault: no other settings would help
            self._give_up(study, run, error.code)
        except BaseException:
            with suppress(SQLAlchemyError, Stopped):  # the database is away, or the job is another worker's
                trial.set_user_attr(HANDED_BACK, True)
                run.write(TrialState.STOPPED)
            raise

    def _give_up(self, study: optuna.Study, run: _TrialRun, code: str) -> None:
        run.write(TrialState.FAILED, code)
        run.trial.set_user_attr(CODE, code)
        study.tell(run.trial, state=Told.FAIL)

    def _outcome(self, settled: list[FrozenTrial]) -> dict[str, Any]:
        """What the job reports: how the trials ended, the best so far, and how to train with its settings."""
        counts = {name: sum(STATES[one.state] == name for one in settled) for name in ("complete", "pruned", "failed")}
        outcome: dict[str, Any] = {"trials": counts}
        complete = {number: one for number, one in enumerate(settled, 1) if one.state == Told.COMPLETE}
        if complete:
            number = min(complete, key=lambda number: (complete[number].values[0], number))
            params = complete[number].user_attrs[PARAMS]
            outcome["best"] = {
                "number": number,
                "value": complete[number].values[0],
                "eers": _mean_eers(complete[number]),
                "params": params,
                "fields": trial_fields(self._spec, params),
                "command": trial_command(self._spec, params),
            }
        return outcome

    def _finish(self, summary: dict[str, Any], settled: list[FrozenTrial]) -> None:
        outcome = self._outcome(settled)
        if "best" not in outcome:
            codes = sorted({str(one.user_attrs.get(CODE)) for one in settled})
            raise TrainingFailed(
                "trials_failed",
                f"None of the {len(settled)} trials could be finished ({', '.join(codes)}). Try a training with the "
                "default settings on the same archive: its error says more.",
            )
        with self._database.write() as session:
            succeed_job(session, self._claim, done=len(settled), report=summary | outcome)


class _TrialRun:
    """One trial under way: its folds one after the other, its row in the table, and its reports to the study."""

    def __init__(self, solo: SoloJob, spec: TuneSpec, number: int, trial: optuna.Trial, train: Train) -> None:
        self.trial = trial
        self._solo, self._spec, self._number, self._train = solo, spec, number, train
        self._params = suggest(trial, spec)
        self._recipe = TrainSpec.model_validate(trial_fields(spec, self._params))
        self._done: list[dict[str, Any]] = []  # of each fold done: EER by kind of forgery, and seconds
        self._lowest: list[float] = []  # EERs of the fold at work
        self._seconds = 0.0  # of the fold at work
        trial.set_user_attr(PARAMS, self._params)

    def take_up(self, left: list[FrozenTrial]) -> None:
        """Keep the folds that the same trial had done when its worker let go of it or died."""
        kept = max(left, key=lambda one: len(one.user_attrs.get(FOLDS, ())), default=None)
        if kept is None or kept.user_attrs.get(PARAMS) != self._params or not kept.user_attrs.get(FOLDS):
            return
        self._done = list(kept.user_attrs[FOLDS])
        self.trial.set_user_attr(FOLDS, self._done)
        for step, value in sorted(kept.intermediate_values.items()):
            if step <= len(self._done) * self._spec.epochs:
                self.trial.report(value, step)

    def run(self, folds: _Folds) -> float:
        """Train and judge on each fold that is left; the mean of their errors. Raises _Pruned, and as fit does."""
        for split in folds.splits[len(self._done) :]:
            self._lowest, self._seconds = [], 0.0
            self._tell(epoch=1)
            began = time.perf_counter()
            result = self._train(
                folds.canvases,
                folds.labels,
                split,
                self._recipe,
                on_epoch=self._on_epoch,
                should_stop=self._solo.should_stop,
                on_checkpoint=lambda _: None,
            )
            self._done.append({"eers": result.eers, "seconds": time.perf_counter() - began})
            self._lowest, self._seconds = [], 0.0
            self.trial.set_user_attr(FOLDS, self._done)
        return self._value()

    def write(self, state: TrialState, code: str | None = None, **values: Any) -> None:
        """Its row as it stands now, with ``values`` of the job; nothing when the lease was lost."""
        row = Trial(
            job_id=self._solo.claim.job_id,
            number=self._number,
            state=state,
            value=self._value() if self._done or self._lowest else None,
            params=self._params,
            folds=len(self._done),
            seconds=sum(fold["seconds"] for fold in self._done) + self._seconds,
            code=code,
        )
        with self._solo.context.database.write() as session:
            # Where nothing is told of the job this changes nothing: it asks whether the lease is ours still.
            if tell(session, self._solo.claim, **values or {"rung_at": Job.rung_at}):
                session.merge(row)

    def _on_epoch(self, row: EpochRow) -> None:
        self._lowest.append(row.validation_eer)
        self._seconds += row.seconds
        self.trial.report(self._value(), len(self._done) * self._spec.epochs + row.epoch)
        self._tell(min(row.epoch + 1, self._spec.epochs))
        if self.trial.should_prune():
            raise _Pruned

    def _tell(self, epoch: int) -> None:
        spec, fold = self._spec, len(self._done) + 1
        at = f"trial {self._number} of {spec.trials}, fold {fold} of {spec.folds}, epoch {epoch} of {spec.epochs}"
        self.write(TrialState.RUNNING, phase=at)

    def _value(self) -> float:
        """Mean error of the folds begun so far, 0..1.

        A fold's error is what ``fit`` chooses its weights by: the mean of its EERs against skilled and against random
        forgeries, where both are known. Of the fold at work only the first of them is told, epoch by epoch: the
        lowest yet. Trials are compared at the same step, so this is the same for all.
        """
        begun: list[float] = [mean(fold["eers"].values()) for fold in self._done]
        return mean([*begun, min(self._lowest)] if self._lowest else begun)


def _mean_eers(trial: FrozenTrial) -> dict[str, float]:
    """A complete trial's EER against each kind of forgery, the mean of its folds that know the kind."""
    told = [fold["eers"] for fold in trial.user_attrs[FOLDS]]
    kinds = sorted({kind for eers in told for kind in eers}, reverse=True)
    return {kind: mean(eers[kind] for eers in told if kind in eers) for kind in kinds}


def _failed_itself(trial: FrozenTrial) -> bool:
    """Whether a failed trial failed by its settings, and not because its worker let go of it or died."""
    return CODE in trial.user_attrs


def _left_behind(study: optuna.Study, settled: list[FrozenTrial]) -> list[FrozenTrial]:
    """The attempts at the next trial that have no end of their own; those still called running are told to be over."""
    after = settled[-1].number if settled else -1
    for one in study.get_trials(deepcopy=False, states=(Told.RUNNING,)):
        study.tell(one.number, state=Told.FAIL)
    return [one for one in study.get_trials(deepcopy=False, states=(Told.FAIL,)) if one.number > after]


def _folds_of(data: Dataset, spec: TuneSpec) -> _Folds:
    """Raises TrainingFailed with code too_few_writers, or leak."""
    known = sorted(set(data.writers))
    number = {writer: index for index, writer in enumerate(known)}
    splits = fold_writers(data.writers, spec.folds, spec.seed)
    for split in splits:
        sides: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
        for entry, digest, writer in zip(data.entries, data.digests, data.writers, strict=True):
            sides[writer in split.validation].append((entry, digest))
        refuse_leak(*sides)
    return _Folds(
        data.canvases,
        Labels(np.array([number[writer] for writer in data.writers], dtype=np.int64), data.forged),
        tuple(
            Split(tuple(number[w] for w in split.training), tuple(number[w] for w in split.validation))
            for split in splits
        ),
    )
