"""What the forms that take one archive share: a job of its kind when posted, or the form again with what to mend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue

from shared import registry
from shared.errors import CountersignError, InvalidInput
from shared.jobs import queries
from shared.jobs.uploads import LABELLED, find_upload
from shared.specs import DEFAULT, SPECS
from shared.tables import Job, ModelVersion
from web import auth
from web.pages.datasets import look_values, sets_to_choose
from web.pages.forms import FormFault, field_text, form_faults
from web.services import services
from web.uploads import files_of, given_in, keep_file, submit_from_request

# The field where a fault stands, by its code or the code's first word; all others stand at the archive.
FIELDS = {"model": "model", "queue": "submit", "storage": "submit"}
KEPT = "archive_digest"  # names an archive that was sent before
LONGEST_ADDRESS = 3000  # characters; servers take some 4,000
MARKS = ("tag", "external_id")
Form = Callable[[list[FormFault], Mapping[str, str]], str]  # the faults, and what fills the fields


def submit_archive(kind: str, contents: str, form: Form, fields: dict[str, str] = FIELDS) -> ResponseReturnValue:
    """The form for a job of ``kind``; posted, the job's page. ``contents`` says what the archive holds.

    Posted with ``look``, the form again with the archive kept and shown, before anything is done with it.
    """
    if request.method == "GET":
        return form([], _brought(kind))
    fault = _unclear(contents)
    if fault:
        return form([FormFault("archive", fault)], request.form), 422
    try:
        if request.form.get("look"):
            return _looked_at(kind, form)
        services().doorbell.check()
        job = submit_from_request(kind, auth.current_person().id)
    except CountersignError as error:
        return form(form_faults(error, fields, "archive"), request.form), error.status
    return redirect(url_for("pages.job", job_id=job.public_id), 303)


def _unclear(contents: str) -> str:
    given = given_in("archive")
    if not given:
        return f"Choose the ZIP archive of {contents}."
    return "Choose a data set that was sent before, or send one: not both." if len(given) > 1 else ""


def _looked_at(kind: str, form: Form) -> ResponseReturnValue:
    """The form with the settings that were posted and its archive kept: at an address of its own, if that is short."""
    sent = files_of("archive")
    digest = keep_file(sent[0]) if sent else request.form[KEPT].strip()
    values: dict[str, Any] = {
        name: text for name, text in request.form.items() if name in _names(kind) and text.strip()
    }
    address = url_for(f"pages.{kind}", **values | {KEPT: digest})
    if len(address) > LONGEST_ADDRESS:
        return form([], values | {KEPT: digest})
    return redirect(address, 303)


def _names(kind: str) -> set[str]:
    return {"label", *MARKS, *SPECS[kind].model_fields} - {"kind"}


def _brought(kind: str) -> Mapping[str, str]:
    """What an address brings: settings, an archive by its digest, or a job that is to be done again.

    Raises:
        NotFound: code ``job_unknown``. InvalidInput: code ``job_not_repeatable``.
    """
    if "again" not in request.args:
        return request.args
    with services().database.read() as session:
        job = queries.get_job(session, request.args["again"])
    if job.kind != kind or job.upload is None:
        raise InvalidInput("job_not_repeatable", f"Only a job of the kind {kind} can be done again with this form.")
    marks = {"label": job.label, "tag": job.tag or "", "external_id": job.external_id or ""}
    return {**_settings_of(job), **marks, KEPT: job.upload.digest, **request.args}


def _settings_of(job: Job) -> dict[str, str]:
    settings = {name: field_text(value) for name, value in job.spec.items() if name != "kind"}
    if job.spec.get("model") and job.model:
        settings["model"] = job.model.label  # what a name meant then
    return settings


def archive_values(kind: str, values: Mapping[str, str]) -> dict[str, Any]:
    """What ``_archive.html`` shows: the archive that is kept and what is in it, or those there are to choose from."""
    upload, gone = None, ""
    if values.get(KEPT):
        try:
            with services().database.read() as session:
                upload = find_upload(session, values[KEPT])
        except CountersignError as error:
            gone = error.message
    labelled = kind in LABELLED
    shown = {
        "values": values,
        "label": values.get("label", ""),
        "tag": values.get("tag", ""),
        "labelled": labelled,
        "data": upload,
        "gone": gone,
    }
    if upload is not None:
        return shown | (look_values(upload) if labelled else {})
    return shown | {"sets": sets_to_choose() if labelled else []}


def models_to_choose(values: Mapping[str, str]) -> dict[str, Any]:
    """All models, and the one that is chosen: that of ``values`` where it can be used, or else the default."""
    with services().database.read() as session:
        models = registry.list_models(session)
    default = next((model.label for model, aliases in models if DEFAULT in aliases), "")
    return {"models": models, "chosen": chosen_of(models, values.get("model", "")) or default}


def chosen_of(models: Sequence[tuple[ModelVersion, list[str]]], wanted: str) -> str:
    """The label of the model that ``wanted`` means: a label, an alias, or a name, whose newest version it is."""
    named = (model.label for model, aliases in models if wanted in (model.label, model.name, *aliases))
    return next(named, "")  # the newest come first
