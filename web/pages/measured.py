"""The charts of an evaluation, on its own page, its model's and where two models are compared."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, render_template

from shared.errors import NotFound
from shared.tables import Job, JobState
from web.api.jobs import load_job
from web.measured import Evaluated, charts, evaluated
from web.services import services


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/jobs/<job_id>/measured", view_func=measured)
    blueprint.add_url_rule("/jobs/<job_id>/measured.json", view_func=measured_json)


def measured_of(job: Job | None) -> Evaluated | None:
    """What an evaluation measured; None without one, before it is done, or where its files are gone."""
    return evaluated(services().store, job) if job is not None and job.kind == "evaluate" else None


def measured(job_id: str) -> str:
    """What an evaluation leaves behind, alone."""
    job = load_job(job_id)
    return render_template("_evaluate.html", job=job, ended=JobState(job.state).ended, measured=measured_of(job))


def measured_json(job_id: str) -> Response:
    """The curves and histograms, to be drawn.

    Raises:
        NotFound: code ``file_unknown``: there are none.
    """
    found = measured_of(load_job(job_id))
    if found is None:
        raise NotFound("file_unknown", f"The job {job_id} has no curves: an evaluation has them when it has succeeded.")
    return jsonify(charts(found))
