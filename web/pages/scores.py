"""How the scores of a verification, or the distances of an identification, spread: chart, table and CSV."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from flask import Blueprint, Response, jsonify, render_template

from shared.db import Database
from shared.jobs import queries
from shared.jobs.histogram import Bin, Histogram, answers_histogram, histogram
from shared.tables import JobState
from web.api.streams import csv_download
from web.present import csv_pieces
from web.services import services

JOBS_KEPT = 64


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/jobs/<job_id>/scores", view_func=scores)
    blueprint.add_url_rule("/jobs/<job_id>/scores.json", view_func=scores_json)
    blueprint.add_url_rule("/jobs/<job_id>/scores.csv", view_func=scores_csv)


@lru_cache(JOBS_KEPT)
def _counted(database: Database, public_id: str, done: int) -> Histogram:
    """Counted once for each ``done``: results are written once, so as many results are the same results."""
    with database.read() as session:
        job = queries.get_job(session, public_id)
        return (answers_histogram if job.kind == "identify" else histogram)(session, job)


def _found(job_id: str) -> tuple[Histogram, bool]:
    database = services().database
    with database.read() as session:
        job = queries.get_job(session, job_id)
    return _counted(database, job.public_id, job.done), JobState(job.state).ended


def scores(job_id: str) -> str:
    """The numbers of the chart as a table."""
    found, _ = _found(job_id)
    return render_template("_scores_table.html", found=found)


def scores_json(job_id: str) -> Response:
    """The bins with their counts; ``ended`` says that no more will come."""
    found, ended = _found(job_id)
    bins = [_bin_json(found, each) for each in found.bins]
    return jsonify({"scale": found.scale, "bounds": found.bounds, "bins": bins, "ended": ended})


def _bin_json(found: Histogram, each: Bin) -> dict[str, Any]:
    return {"low": each.low, "high": each.high} | dict(zip(found.kinds, each.counts, strict=True))


def scores_csv(job_id: str) -> Response:
    """The same as a download."""
    found, _ = _found(job_id)
    rows = ((f"{each.low:.6g}", f"{each.high:.6g}", *each.counts) for each in found.bins)
    columns = (f"{found.scale}_from", f"{found.scale}_below", *map(str, found.kinds))
    return csv_download(csv_pieces(columns, rows), f"{job_id}-scores.csv")
