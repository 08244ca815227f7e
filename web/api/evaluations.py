"""Evaluations: what was measured of which model on which data."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field

from shared import registry
from shared.errors import NotFound
from shared.jobs import queries
from shared.specs import EvaluateSpec
from shared.tables import Job
from web import present
from web.api import documents
from web.api.jobs import load_job
from web.api.operations import MAX_ORDINAL, MAX_PAGE, Operation, Query, register
from web.measured import FARS, evaluated
from web.services import services


class EvaluationsQuery(Query):
    """Which evaluations."""

    before: int | None = Field(default=None, ge=0, le=MAX_ORDINAL, description="cursor: those before this one")
    limit: int = Field(default=50, ge=1, le=MAX_PAGE, description="most evaluations of a page")
    model: str | None = Field(default=None, max_length=255, description="only of this model version, by any name")


def add_routes(blueprint: Blueprint) -> None:
    """Add the routes."""
    all_, one = "Evaluations, newest first", "An evaluation: figures, curves, histograms, floor"
    register(
        blueprint,
        Operation("GET", "/evaluations", list_evaluations, all_, documents.EvaluationList, EvaluationsQuery),
        Operation("GET", "/evaluations/{job_id}", get_evaluation, one, documents.MeasuredEvaluation),
    )


def list_evaluations(query: EvaluationsQuery) -> Response:
    """Evaluations in any state; ``POST /jobs`` with the kind ``evaluate`` queues one."""
    with services().database.read() as session:
        model_id = registry.find_model(session, query.model).id if query.model else None
        jobs, cursor = queries.evaluations_page(session, query.before, query.limit, model_id)
    again: dict[str, Any] = request.args.to_dict() | {"before": cursor}
    following = url_for("api.list_evaluations", **again) if cursor else None
    return jsonify({"evaluations": [_json(job) for job in jobs], "next": cursor, "links": {"next": following}})


def get_evaluation(job_id: str) -> Response:
    """An evaluation by its job, with what it measured: operating points at even steps, histograms, shortcut floor."""
    job = load_job(job_id)
    if job.kind != "evaluate":
        raise NotFound("evaluation_unknown", f"The job {job.public_id} is no evaluation but of the kind {job.kind}.")
    found = evaluated(services().store, job)
    curves = [
        {
            "protocol": curve.protocol,
            "forgeries": curve.kind,
            "points": [{"far": far, "frr": curve.frr_at(far)} for far in FARS],
        }
        for curve in (found.curves if found else ())
    ]
    histograms = [
        {"protocol": one.protocol, "scale": one.scale, "bounds": one.bounds, "bins": one.bins}
        for one in (found.spreads if found else ())
    ]
    return jsonify(_json(job) | {"curves": curves, "histograms": histograms, "floor": found.floor if found else {}})


def _json(job: Job) -> dict[str, Any]:
    views = {"self": "get_evaluation", "job": "get_job", "files": "files"}
    links: dict[str, str | None] = {name: url_for(f"api.{view}", job_id=job.public_id) for name, view in views.items()}
    links["dataset"] = url_for("api.get_data_set", digest=job.upload.digest) if job.upload else None
    return {
        "id": job.public_id,
        "state": job.state,
        "label": job.label,
        "tag": job.tag,
        "model": job.model.label if job.model else None,
        "model_digest": job.model.digest if job.model else None,
        "dataset": job.upload.digest if job.upload else None,
        "protocol": EvaluateSpec.model_validate(job.spec).protocol,
        "figures": (job.report or {}).get("headline"),
        "created_at": present.instant(job.created_at),
        "finished_at": present.instant(job.finished_at),
        "links": links,
    }
