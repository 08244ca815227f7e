"""The trials of a search for settings."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from shared.jobs.trials import list_trials
from shared.tables import Job
from web.api import documents
from web.api.jobs import load_job
from web.api.operations import CSV, JSON, NDJSON, Operation, TableQuery, register
from web.api.streams import csv_download, ndjson_download, wanted_format
from web.services import services
from web.trials import trial_json, trials_csv


def add_routes(blueprint: Blueprint) -> None:
    """Add the route."""
    summary, media = "The trials of a search for settings so far, in the order they were begun", (JSON, NDJSON, CSV)
    register(
        blueprint,
        Operation("GET", "/jobs/{job_id}/trials", trials, summary, documents.TrialList, TableQuery, media=media),
    )


def trials(job_id: str, query: TableQuery) -> Response:
    """The trials so far in the order they were begun."""
    job = load_job(job_id)
    form = wanted_format(query.format)
    if form == "csv":
        return trials_download(job)
    with services().database.read() as session:
        rows = [trial_json(trial) for trial in list_trials(session, job.id)]
    return ndjson_download(rows, f"{job.public_id}-trials.ndjson") if form == "ndjson" else jsonify({"trials": rows})


def trials_download(job: Job) -> Response:
    """The trials of a job as a CSV download."""
    with services().database.read() as session:
        found = list_trials(session, job.id)
    return csv_download(trials_csv(found), f"{job.public_id}-trials.csv")
