from __future__ import annotations

import logging
from typing import Any

import optuna
import pytest

from shared.networks import NETWORKS
from shared.search_space import default_params, search_space, trial_fields
from shared.specs import TrainSpec, TuneSpec
from worker.ml.search import StepMedianPruner, ask, open_study, settled_trials, suggest

SPEC = TuneSpec(trials=12, epochs=4, folds=2, seed=3)


class Chosen:
    """A trial that takes what it is told, and otherwise the first choice or the lower end."""

    def __init__(self, **chosen: Any) -> None:
        self.chosen = chosen

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self.chosen.get(name, low))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self.chosen.get(name, choices[0])


def new_study() -> optuna.Study:
    return open_study(optuna.storages.InMemoryStorage(), SPEC)


@pytest.mark.parametrize("network", NETWORKS)
def test_whatever_is_tried_is_a_training(network: str) -> None:
    spec = SPEC.model_copy(update={"network": network})
    study = open_study(optuna.storages.InMemoryStorage(), spec)
    for number in range(8):
        params = suggest(ask(study, spec, number), spec)
        recipe = TrainSpec.model_validate(trial_fields(spec, params))
        assert {name: getattr(recipe, name) for name in params} == params
        epochs = 20 if NETWORKS[network].closed_form else 4
        assert (recipe.network, recipe.epochs, recipe.seed, recipe.unused) == (network, epochs, 3, [])
        study.tell(number, 0.1)


def test_only_what_has_an_effect_is_tried() -> None:
    triplet = suggest(Chosen(loss="triplet", optimiser="sgd"), SPEC)
    assert {"triplet_margin", "mining"} <= set(triplet)
    assert "margin" not in triplet
    contrastive = suggest(Chosen(loss="contrastive"), SPEC)
    assert "margin" in contrastive
    assert not {"triplet_margin", "mining"} & set(contrastive)
    assert not {"similarity", "margin"} & set(suggest(Chosen(loss="cross-entropy"), SPEC))
    assert (triplet["learning_rate"], contrastive["learning_rate"]) == (1e-3, 1e-4)


def test_numbers_are_of_three_figures() -> None:
    params = suggest(
        Chosen(loss="contrastive", **{"margin of contrastive": 1.23456, "weight_decay": 0.000123456}), SPEC
    )
    assert (params["margin"], params["weight_decay"]) == (1.23, 0.000123)


@pytest.mark.parametrize("network", ["compact", "seed"])
def test_the_first_trial_is_of_the_default_settings(network: str) -> None:
    spec = SPEC.model_copy(update={"network": network})
    study = open_study(optuna.storages.InMemoryStorage(), spec)
    first = suggest(ask(study, spec, 0), spec)
    assert first == default_params(network)
    plain = TrainSpec(network=spec.network)
    assert all(getattr(plain, name) in (value, "auto") for name, value in first.items())


def test_defaults_lie_within_the_space() -> None:
    for setting in search_space("compact"):
        default = TrainSpec.model_fields[setting.field].default
        if setting.choices:
            assert default == "auto" or default in setting.choices
        elif setting.applies(default_params("compact")):
            assert setting.low <= default <= setting.high


def reported(study: optuna.Study, *values: float, complete: bool = True) -> None:
    trial = study.ask()
    for step, value in enumerate(values, 1):
        trial.report(value, step)
    study.tell(trial, values[-1] if complete else None, None if complete else optuna.trial.TrialState.PRUNED)


def would_prune(study: optuna.Study, *values: float) -> bool:
    trial = study.ask()
    for step, value in enumerate(values, 1):
        trial.report(value, step)
    return trial.should_prune()


def test_a_trial_is_given_up_where_it_is_above_the_median_of_the_same_step() -> None:
    study = new_study()
    study.pruner = StepMedianPruner(first_step=2)
    for offset in (0.0, 0.1, 0.2):
        reported(study, 0.3 + offset, 0.2 + offset, 0.25 + offset)
    assert not would_prune(study, 0.9), "before the first step"
    assert not would_prune(study, 0.9, 0.30), "the median itself"
    assert would_prune(study, 0.1, 0.31)
    # An easy first fold is no excuse: Optuna's own rule would compare its lowest value, 0.1, and go on.
    assert would_prune(study, 0.1, 0.1, 0.4)


def test_nothing_is_given_up_before_three_trials_are_complete() -> None:
    study = new_study()
    study.pruner = StepMedianPruner(first_step=1)
    reported(study, 0.1, 0.1)
    reported(study, 0.1, 0.1)
    reported(study, 0.1, complete=False)
    assert not would_prune(study, 0.9)
    reported(study, 0.1, 0.1)
    assert would_prune(study, 0.9)


def test_trials_left_behind_do_not_count() -> None:
    study = new_study()
    reported(study, 0.1)
    left, failed = study.ask(), study.ask()
    failed.set_user_attr("code", "loss_not_finite")
    for trial in (left, failed):
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    study.ask()  # running
    settled = settled_trials(study, lambda trial: "code" in trial.user_attrs)
    assert [trial.number for trial in settled] == [0, 2]


def test_optuna_is_silent(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    study = new_study()
    study.tell(ask(study, SPEC, 0), 0.1)
    optuna.logging.get_logger("optuna.study").info("news")
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno < logging.WARNING]
