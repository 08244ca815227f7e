"""The trials of a search for settings."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from shared.jobs.trials import list_trials
from shared.tables import Job
from web.api.jobs import csv_download, load_job, wants_csv
from web.services import services
from web.trials import trial_json, trials_csv


def register(blueprint: Blueprint) -> None:
    """Add the route."""
    blueprint.add_url_rule("/jobs/<job_id>/trials", view_func=trials)


def trials(job_id: str) -> Response:
    """The trials so far in the order they were begun, as JSON or (``format=csv``) as CSV."""
    job = load_job(job_id)
    if wants_csv():
        return trials_download(job)
    with services().database.read() as session:
        return jsonify({"trials": [trial_json(trial) for trial in list_trials(session, job.id)]})


def trials_download(job: Job) -> Response:
    """The trials of a job as a CSV download."""
    with services().database.read() as session:
        found = list_trials(session, job.id)
    return csv_download(trials_csv(found), f"{job.public_id}-trials.csv")
