"""What a tune job searches: one definition for the worker that tries it and the page that explains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.networks import NETWORKS
from shared.specs import TrainSpec, TuneSpec


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of TrainSpec that is tried: at each of ``choices``, or evenly in the logarithm from ``low`` to ``high``.

    With ``where`` (a field before it, and values of that), only in trials in which that field has one of the values.
    """

    field: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    where: tuple[str, tuple[str, ...]] | None = None

    @property
    def name(self) -> str:
        """Its name in the study: a field has one for each range it may take."""
        return f"{self.field} of {' '.join(self.where[1])}" if self.where else self.field

    def applies(self, params: Mapping[str, Any]) -> bool:
        """Whether it is tried where ``params`` are set already."""
        return self.where is None or params.get(self.where[0]) in self.where[1]


_COMPARED = ("contrastive", "triplet", "multi-similarity")  # cross-entropy learns a distance of its own

# Few on purpose: each more needs many more trials. Schedule, batches and the rest are left at what was found to work.
_OF_EMBEDDINGS = (
    Setting("loss", choices=("contrastive", "triplet", "multi-similarity", "cross-entropy")),
    Setting("margin", low=0.25, high=4.0, where=("loss", ("contrastive",))),
    Setting("triplet_margin", low=0.1, high=2.0, where=("loss", ("triplet",))),
    Setting("mining", choices=("semi-hard", "hard", "all"), where=("loss", ("triplet",))),
    Setting("similarity", choices=("euclidean", "cosine"), where=("loss", _COMPARED)),
)
_OF_ALL = (
    Setting("skilled_weight", low=0.25, high=4.0),
    Setting("optimiser", choices=("adam", "adamw", "rmsprop", "sgd")),
    Setting("learning_rate", low=1e-4, high=1e-2, where=("optimiser", ("adam", "adamw", "rmsprop"))),
    # Its steps are not scaled by the size of the gradients, so they are larger.
    Setting("learning_rate", low=1e-3, high=1e-1, where=("optimiser", ("sgd",))),
    Setting("weight_decay", low=1e-6, high=1e-2),
    Setting("augmentation", choices=("none", "light", "strong")),
)
_OF_IMAGES = ("ink", "preset", "channels")  # not tried; told of a trial where they are not as they would be anyway


def search_space(network: str) -> tuple[Setting, ...]:
    """What is tried with a network of the catalogue; one that compares by itself has a loss of its own.

    One that is solved in one step has no descent, and a single setting of its own.
    """
    if NETWORKS[network].closed_form:
        return tuple(setting for setting in _OF_ALL if setting.field == "skilled_weight")
    return _OF_ALL if NETWORKS[network].comparer == "local" else _OF_EMBEDDINGS + _OF_ALL


def default_params(network: str) -> dict[str, Any]:
    """The first trial: the settings of a training that names none, as a mark for all others."""
    params: dict[str, Any] = {}
    for setting in search_space(network):
        if setting.applies(params):
            default = TrainSpec.model_fields[setting.field].default
            params[setting.field] = setting.choices[0] if default == "auto" else default
    return params


def trial_fields(spec: TuneSpec, params: Mapping[str, Any]) -> dict[str, Any]:
    """The training that a trial with ``params`` stands for, as the fields of the API and the form."""
    default = type(spec).model_fields
    images = {name: getattr(spec, name) for name in _OF_IMAGES if getattr(spec, name) != default[name].default}
    epochs = {} if NETWORKS[spec.network].closed_form else {"epochs": spec.epochs}
    fields = {"name": spec.name, "network": spec.network, **images, **epochs}
    return {**fields, **params, "seed": spec.seed}


def trial_command(spec: TuneSpec, params: Mapping[str, Any]) -> str:
    """The same as a command line; PATH stands for the data."""
    options = [f"--{name.replace('_', '-')} {value}" for name, value in trial_fields(spec, params).items()]
    return " ".join(["countersign submit train PATH", *options])
