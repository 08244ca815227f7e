"""New identifications, and the answers of one on its job's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flask import Blueprint, Response, json, render_template, stream_with_context
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from shared.jobs import identified, queries
from shared.jobs.identified import AnswerKind, Nearness
from shared.specs import IdentifySpec
from shared.tables import Job, JobState
from web.api.identifications import answers_download
from web.api.jobs import load_job
from web.identified import identification_json
from web.pages import paging
from web.pages.archives import archive_values, models_to_choose, submit_archive
from web.pages.forms import FormFault, spec_fields
from web.services import services

ANSWERS_SHOWN = 50


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/identify", view_func=identify, methods=["GET", "POST"])
    blueprint.add_url_rule("/jobs/<job_id>/identifications", view_func=identifications)
    blueprint.add_url_rule("/jobs/<job_id>/identifications.csv", view_func=identifications_csv)
    blueprint.add_url_rule("/jobs/<job_id>/identifications.json", view_func=identifications_json)


def identify() -> ResponseReturnValue:
    """The form for an identification; posted, the job's page."""
    return submit_archive("identify", "categories and test images", _form)


def _form(errors: list[FormFault], values: Mapping[str, str]) -> str:
    return render_template(
        "identify.html",
        **models_to_choose(values),
        **archive_values("identify", values),
        threshold=spec_fields(IdentifySpec, values)["threshold"],
        errors=errors,
        settings=services().settings,
    )


def identifications(job_id: str) -> str:
    """A page of answers, alone."""
    with services().database.read() as session:
        found = queries.get_job(session, job_id)
        values = answer_values(session, found)
    return render_template("_identify.html", job=found, ended=JobState(found.state).ended, **values)


def answer_values(session: Session, found: Job) -> dict[str, Any]:
    """What ``_identify.html`` shows."""
    kind, order = paging.chosen("answer", AnswerKind), paging.chosen("order", Nearness)
    after, shown = paging.whole("after") or 0, ANSWERS_SHOWN
    places = identified.ordinals(session, found.id, kind, order, after, shown + 1)
    rows = identified.answers_at(session, found.id, places[:shown])
    before = identified.ordinals(session, found.id, kind, order, after, shown, backwards=True) if after else []
    return {
        "rows": rows,
        "after": after,
        "cursor": places[shown - 1] if len(places) > shown else None,
        "previous": before[shown - 1] if len(before) == shown else 0,
        "answer": kind,
        "order": order,
        "full": len(rows) == shown,
    }


def identifications_csv(job_id: str) -> Response:
    """All answers, or those of one kind, as a download."""
    return answers_download(load_job(job_id), paging.chosen("answer", AnswerKind))


def identifications_json(job_id: str) -> Response:
    """The report of the job and all its answers as one JSON document, streamed."""
    found, kind = load_job(job_id), paging.chosen("answer", AnswerKind)
    database = services().database

    def pieces() -> Iterator[str]:
        yield f'{{"report": {json.dumps(found.report)},\n"identifications": ['
        for number, row in enumerate(identified.stream_identifications(database, found.id, kind)):
            yield (",\n" if number else "\n") + json.dumps(identification_json(row))
        yield "\n]}\n"

    response = Response(stream_with_context(pieces()), mimetype="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="{found.public_id}.json"'
    return response
