"""What the forms that take one archive share: a job of its kind when posted, or the form again with what to mend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue

from shared import registry
from shared.errors import CountersignError
from shared.specs import DEFAULT
from web import auth
from web.pages.forms import FormFault, form_faults
from web.services import services
from web.uploads import files_of, submit_from_request

# The field where a fault stands, by its code or the code's first word; all others stand at the archive.
FIELDS = {"model": "model", "queue": "submit", "storage": "submit"}


def submit_archive(
    kind: str, contents: str, form: Callable[[list[FormFault]], str], fields: dict[str, str] = FIELDS
) -> ResponseReturnValue:
    """The form for a job of ``kind``; posted, the job's page. ``contents`` says what the archive holds."""
    if request.method == "GET":
        return form([])
    if not files_of("archive"):
        return form([FormFault("archive", f"Choose the ZIP archive of {contents}.")]), 422
    try:
        job = submit_from_request(kind, auth.current_person().id)
    except CountersignError as error:
        return form(form_faults(error, fields, "archive")), error.status
    return redirect(url_for("pages.job", job_id=job.public_id), 303)


def models_to_choose() -> dict[str, Any]:
    """All models, and the one that is chosen: the request's, or else the default."""
    with services().database.read() as session:
        models = registry.list_models(session)
    default = next((model.label for model, aliases in models if DEFAULT in aliases), "")
    return {"models": models, "chosen": request.values.get("model") or default}
