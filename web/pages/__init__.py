"""The pages: the same use cases as the API, for people."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from shared.tables import JobState, Verdict
from web import auth
from web.pages import (
    account,
    candidates,
    comparisons,
    datasets,
    evaluate,
    identify,
    jobs,
    measured,
    model_acts,
    models,
    scores,
    submit,
    tune,
    views,
    webhooks,
    words,
)
from web.pages.local import local_target, sender_target

OPEN = {"pages.login"}
WITH_OLD_PASSWORD = {"pages.account", "pages.change_password", "pages.logout", "pages.login"}

blueprint = Blueprint("pages", __name__)
for part in (
    account,
    jobs,
    comparisons,
    datasets,
    evaluate,
    measured,
    identify,
    submit,
    tune,
    models,
    model_acts,
    candidates,
    scores,
    views,
    words,
    webhooks,
):
    part.register(blueprint)


@blueprint.before_request
def _guard() -> ResponseReturnValue | None:
    """Who is asking, then whether the form is ours, then whether the one-time password is still in use."""
    person = auth.session_person()
    if person is not None:
        auth.set_person(person)
    elif request.endpoint not in OPEN:
        return _to_login()
    current_app.extensions["csrf"].protect()
    if person is not None and person.must_change_password and request.endpoint not in WITH_OLD_PASSWORD:
        return redirect(url_for("pages.account"), 303)
    return None


def _to_login() -> ResponseReturnValue:
    """To the login page, and afterwards back. A fragment asks the browser to go there, not to swap the form in."""
    if "HX-Request" in request.headers:
        address = url_for("pages.login", next=sender_target())
        return Response(status=401, headers={"HX-Redirect": address})
    wanted = local_target(request.full_path) if request.method == "GET" else "/"
    return redirect(url_for("pages.login", next=wanted), 303)


@blueprint.app_context_processor
def _layout() -> dict[str, Any]:
    """What every template may name. Nobody, on error pages that no login came before."""
    return {
        "person": g.get("person"),
        "KINDS": words.KINDS,
        "UNITS": words.UNITS,
        "STATES": tuple(JobState),
        "VERDICTS": tuple(Verdict),
    }
