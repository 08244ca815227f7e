"""New verifications and new trainings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from shared import registry
from shared.errors import CountersignError
from shared.networks import NETWORKS
from shared.specs import DEFAULT, TrainSpec
from web import auth
from web.pages.again import Earlier, earlier_of, submit_again
from web.pages.archives import FIELDS, archive_values, chosen_of, submit_archive
from web.pages.forms import FormFault, form_faults, spec_fields
from web.services import services
from web.uploads import files_of, submit_from_request

TRAINING_FIELDS = FIELDS | {"model": "from_model", "model_other_network": "network"}
# Of a training: the settings below "Advanced", by subject.
GROUPS = (
    ("Pictures", ("ink", "preset", "channels", "augmentation")),
    ("Weights to begin with", ("from_model", "pretrained")),
    ("What is minimised", ("loss", "similarity", "margin", "triplet_margin", "mining", "skilled_weight")),
    ("Descent", ("optimiser", "learning_rate", "weight_decay", "momentum", "classical_momentum", "clip", "average")),
    ("Schedule", ("schedule", "warm_up", "step_epochs", "step_factor", "patience")),
    ("Batches", ("batch_writers", "batch_genuine", "batch_forged", "passes")),
    ("Writers held out", ("validation_share", "calibration_share", "seed")),
    ("Calibration", ("calibration_method", "target_far", "target_frr", "generated")),
    ("Result", ("make_default",)),
)
ADVANCED = tuple(name for _, names in GROUPS for name in names)
PAIR, BATCH = "pair", "batch"


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/verify", view_func=verify, methods=["GET", "POST"])
    blueprint.add_url_rule("/train", view_func=train, methods=["GET", "POST"])


def verify() -> ResponseReturnValue:
    """The form for a pair or a batch, or for the files of an earlier job; posted, the job's page."""
    with services().database.read() as session:
        earlier = earlier_of(session)
    if request.method == "GET":
        return _verify_form([], earlier)
    errors = [] if earlier else _missing_files()
    if errors:
        return _verify_form(errors), 422
    person = auth.current_person().id
    try:
        services().doorbell.check()
        job = submit_again(earlier, person) if earlier else submit_from_request("verify", person)
    except CountersignError as error:
        where = {"model": "model", "queue": "submit", "storage": "submit"}
        otherwise = "submit" if earlier else "archive" if _way() == BATCH else "reference"
        return _verify_form(form_faults(error, where, otherwise), earlier), error.status
    return redirect(url_for("pages.job", job_id=job.public_id), 303)


def _way() -> str:
    return BATCH if request.values.get("way") == BATCH else PAIR


def _missing_files() -> list[FormFault]:
    """What the way that was chosen lacks, or has too much of."""
    if _way() == BATCH:
        return [] if files_of("archive") else [FormFault("archive", "Choose the ZIP archive of the batch.")]
    faults = []
    if files_of("archive"):
        faults.append(FormFault("archive", "A ZIP was chosen beside a pair of images. Choose one way."))
    if len(files_of("questioned")) != 1:
        faults.append(FormFault("questioned", "Choose one questioned image."))
    if not files_of("reference"):
        faults.append(FormFault("reference", "Choose at least one reference image."))
    return faults


def _verify_form(errors: list[FormFault], earlier: Earlier | None = None) -> str:
    with services().database.read() as session:
        models = registry.list_models(session)
    before = earlier.job.model if earlier and earlier.job.spec.get("model") else None  # what a name meant then
    wanted = request.values.get("model", "")
    chosen = chosen_of(models, wanted or (before.label if before else DEFAULT))
    if not chosen and not wanted:
        chosen = chosen_of(models, DEFAULT)
    return render_template(
        "verify.html",
        models=models,
        chosen=chosen,
        way=_way(),
        earlier=earlier,
        label=request.values.get("label", earlier.job.label if earlier else ""),
        tag=request.values.get("tag", (earlier.job.tag or "") if earlier else ""),
        errors=errors,
        settings=services().settings,
    )


def train() -> ResponseReturnValue:
    """The form for a training; posted, the job's page."""
    return submit_archive("train", "the writers' signatures", _train_form, TRAINING_FIELDS)


def _train_form(errors: list[FormFault], values: Mapping[str, str]) -> str:
    fields = spec_fields(TrainSpec, values)
    with services().database.read() as session:
        models = {model.label: f"{model.label}: {model.network}" for model, _ in registry.list_models(session)}
    begun = fields["from_model"]
    if begun.value:
        models.setdefault(begun.value, f"{begun.value}: cannot be used any more")
    fields["from_model"] = replace(begun, choices=(("", "None: fresh weights"), *models.items()))
    defaults = spec_fields(TrainSpec, {})
    return render_template(
        "train.html",
        fields=fields,
        prefilled=any(fields[name].value != defaults[name].value for name in ADVANCED),
        **archive_values("train", values),
        networks=NETWORKS,
        advanced=ADVANCED,
        groups=GROUPS,
        errors=errors,
        settings=services().settings,
    )
