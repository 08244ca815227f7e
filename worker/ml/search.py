"""The search for good settings: what a trial tries, when it is given up, and a sampler that can be taken up again."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from shared.search_space import default_params, search_space
from shared.specs import TuneSpec

STUDY = "tune"  # a storage holds one study
FIGURES = 3  # significant figures of a number that is tried: a recipe is to be read and typed
RANDOM_SHARE = 0.25  # of the trials, drawn at random before the sampler learns from what they gave
LEAST_RANDOM = 4
COMPLETE_BEFORE_PRUNING = 3
FIRST_PRUNING = 1 / 3  # of the first fold; before it the learning rate has hardly risen


class Suggesting(Protocol):
    """What a trial offers, Optuna's or a test's."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = ...) -> float: ...
    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


def suggest(trial: Suggesting, spec: TuneSpec) -> dict[str, Any]:
    """The fields of TrainSpec that ``trial`` tries, from ``shared.search_space``."""
    params: dict[str, Any] = {}
    for setting in search_space(spec.network):
        if not setting.applies(params):
            continue
        if setting.choices:
            params[setting.field] = trial.suggest_categorical(setting.name, setting.choices)
        else:
            value = trial.suggest_float(setting.name, setting.low, setting.high, log=True)
            params[setting.field] = float(f"{value:.{FIGURES}g}")
    return params


class StepMedianPruner(optuna.pruners.BasePruner):
    """Gives a trial up when its last value is above the median of the values that others had at the same step.

    Optuna's own median rule takes the lowest value that a trial had at any step (``MedianPruner``). Here a step's
    value is a mean over the folds begun so far, and folds are unequally hard: after an easy first fold that rule
    would give up nothing more.
    """

    def __init__(self, first_step: int) -> None:
        self._first_step = first_step

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether ``trial`` is to be given up at its last step."""
        step = trial.last_step
        if step is None or step < self._first_step:
            return False
        others = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if sum(other.state == TrialState.COMPLETE for other in others) < COMPLETE_BEFORE_PRUNING:
            return False
        values = [other.intermediate_values[step] for other in others if step in other.intermediate_values]
        return len(values) >= COMPLETE_BEFORE_PRUNING and trial.intermediate_values[step] > median(values)


def open_study(storage: BaseStorage, spec: TuneSpec) -> optuna.Study:
    """The study in ``storage``, begun or gone on with. Optuna's news go to our log, warnings only."""
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=storage,
        study_name=STUDY,
        direction="minimize",
        pruner=StepMedianPruner(max(1, round(FIRST_PRUNING * spec.epochs))),
        load_if_exists=True,
    )


def settled_trials(study: optuna.Study, given_up: Callable[[FrozenTrial], bool]) -> list[FrozenTrial]:
    """The trials with an end of their own: complete, pruned, or failed as ``given_up`` says; not those left behind."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return [trial for trial in ended if trial.state != TrialState.FAIL or given_up(trial)]


def ask(study: optuna.Study, spec: TuneSpec, settled: int) -> optuna.Trial:
    """The next trial after ``settled`` ones; the first is of the default settings.

    It depends on nothing but the seed, their number and what they gave: a study that another worker takes up goes on
    as if nothing had happened.
    """
    seed = int(np.random.SeedSequence([spec.seed, settled]).generate_state(1)[0])
    random = max(LEAST_RANDOM, round(RANDOM_SHARE * spec.trials))
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=random, seed=seed)
    if settled == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(_named(spec, default_params(spec.network)))
    return study.ask()


def _named(spec: TuneSpec, params: dict[str, Any]) -> dict[str, Any]:
    """``params`` by their names in the study."""
    return {item.name: params[item.field] for item in search_space(spec.network) if item.applies(params)}
