"""The list of jobs, and the page of one job with its live parts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC
from typing import Any

import sqlalchemy as sa
from flask import (
    Blueprint,
    Response,
    flash,
    json,
    jsonify,
    redirect,
    render_template,
    request,
    stream_with_context,
    url_for,
)
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from shared.jobs import lifecycle, queries
from shared.jobs.identified import AnswerKind, answered
from shared.jobs.listing import Wish, by_ratio, ordinals
from shared.jobs.reviews import count_reviews
from shared.jobs.searching import JobSearch, find_jobs, submitters
from shared.jobs.uploads import storable
from shared.tables import Epoch, Job, JobState, ModelVersion, Verdict
from shared.webhooks.hooks import deliveries_of_job
from web import auth, present
from web.api.jobs import ring_retry
from web.api.results import csv_response
from web.locales import zone
from web.pages import paging
from web.pages.identify import answer_values
from web.pages.measured import measured_of
from web.pages.progress import Progress, progress_of
from web.pages.tune import tune_values
from web.pages.words import KINDS
from web.services import services

JOBS_SHOWN = 25
RESULTS_SHOWN = 50
MOST_WORDS = 200  # characters that are searched for
MOST_TAG = 80
EPOCH_COLUMNS = ("epoch", "loss", "validation_loss", "validation_eer", "learning_rate", "images", "seconds")


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/", "home", view_func=home)
    blueprint.add_url_rule("/jobs", view_func=jobs)
    blueprint.add_url_rule("/jobs/<job_id>", view_func=job)
    blueprint.add_url_rule("/jobs/<job_id>/live", view_func=live)
    blueprint.add_url_rule("/jobs/<job_id>/results", view_func=results)
    blueprint.add_url_rule("/jobs/<job_id>/results.csv", view_func=results_csv)
    blueprint.add_url_rule("/jobs/<job_id>/results.json", view_func=results_json)
    blueprint.add_url_rule("/jobs/<job_id>/epochs", view_func=epochs)
    blueprint.add_url_rule("/jobs/<job_id>/epochs.json", view_func=epochs_json)
    blueprint.add_url_rule("/jobs/<job_id>/epochs.csv", view_func=epochs_csv)
    blueprint.add_url_rule("/jobs/<job_id>/cancel", view_func=cancel_job, methods=["POST"])
    blueprint.add_url_rule("/jobs/<job_id>/finish", view_func=finish_job, methods=["POST"])
    blueprint.add_url_rule("/jobs/<job_id>/retry", view_func=retry_job, methods=["POST"])


def home() -> ResponseReturnValue:
    return redirect(url_for("pages.jobs"))


def jobs() -> str:
    """Jobs, newest first. The request of a fragment, while one may change, gets the table alone."""
    search = JobSearch(
        kind=paging.chosen("kind", KINDS),
        state=paging.chosen("state", JobState),
        submitter=request.args.get("submitter") or None,
        tag=storable(request.args.get("tag", "").strip())[:MOST_TAG] or None,
        words=request.args.get("words", "").strip()[:MOST_WORDS],
        since=paging.day("since"),
        until=paging.day("until"),
        zone=zone() or UTC,
    )
    with services().database.read() as session:
        found, cursor = find_jobs(session, search, paging.whole("before"), JOBS_SHOWN)
        models = _models_made(session, found)
        people = submitters(session)
    template = "_jobs.html" if "HX-Request" in request.headers else "jobs.html"
    return render_template(
        template,
        jobs=found,
        cursor=cursor,
        models=models,
        people=people,
        unfinished=any(not JobState(job.state).ended for job in found),
        filters={name: value for name, value in asdict(search).items() if value and name != "zone"},
        zoned=zone() is not None,
        before=request.args.get("before"),
    )


def _models_made(session: Session, found: Any) -> dict[int, ModelVersion]:
    """The model versions that the trainings among these jobs made, by job."""
    ids = [job.id for job in found if job.kind == "train"]
    made = session.scalars(sa.select(ModelVersion).where(ModelVersion.job_id.in_(ids))) if ids else ()
    return {model.job_id: model for model in made if model.job_id is not None}


def job(job_id: str) -> str:
    """One job: what it does, what came out, and its results or curves."""
    with services().database.read() as session:
        found = queries.get_job(session, job_id)
        values = _live_values(session, found)
        values |= _results_values(session, found) if found.kind == "verify" else {}
        values |= answer_values(session, found) if found.kind == "identify" else {}
        told = deliveries_of_job(session, found.id, auth.current_person().id)
    return render_template("job.html", deliveries=told, measured=measured_of(found), **values)


def live(job_id: str) -> Response:
    """The part of the page that changes each second."""
    with services().database.read() as session:
        found = queries.get_job(session, job_id)
        response = Response(render_template("_live.html", **_live_values(session, found)))
    if JobState(found.state).ended:
        response.headers["HX-Trigger-After-Swap"] = json.dumps({"jobEnded": {"state": found.state}})
    return response


def _live_values(session: Session, found: Job) -> dict[str, Any]:
    epochs = queries.list_epochs(session, found.id) if found.kind == "train" else ()
    progress: Progress = progress_of(found, epochs)
    return {
        "job": found,
        "ended": JobState(found.state).ended,
        "progress": progress,
        "epochs": epochs,
        "made": _models_made(session, [found]).get(found.id),
        "wish": paging.wish() if found.kind == "verify" else Wish(),
        "reviews": count_reviews(session, found.id) if found.kind == "verify" else {},
        "answered": answered(session, found) if found.kind == "identify" else {},
        "answer": paging.chosen("answer", AnswerKind),
    } | (tune_values(session, found) if found.kind == "tune" else {})


def results(job_id: str) -> str:
    """A page of results, alone."""
    with services().database.read() as session:
        found = queries.get_job(session, job_id)
        values = _results_values(session, found)
    return render_template("_results.html", job=found, ended=JobState(found.state).ended, **values)


def _results_values(session: Session, found: Job) -> dict[str, Any]:
    wish, after = paging.wish(), paging.whole("after") or 0
    places = ordinals(session, found, wish, after, RESULTS_SHOWN + 1)
    answers = queries.answers_at(session, found.id, places[:RESULTS_SHOWN])
    return {
        "answers": answers,
        "after": after,
        "cursor": places[RESULTS_SHOWN - 1] if len(places) > RESULTS_SHOWN else None,
        "previous": paging.page_before(session, found, after, RESULTS_SHOWN, wish) if after else None,
        "wish": wish,
        "verdict": wish.verdict,
        "by_ratio": by_ratio(found),
        "full": len(answers) == RESULTS_SHOWN and all(answer.result for answer in answers),
    }


def results_csv(job_id: str) -> Response:
    """All results, or those with one verdict, as a download."""
    return csv_response(_load(job_id), paging.chosen("verdict", Verdict))


def results_json(job_id: str) -> Response:
    """The same as one JSON document, streamed."""
    found, verdict = _load(job_id), paging.chosen("verdict", Verdict)
    database = services().database

    def pieces() -> Iterator[str]:
        yield '{"results": ['
        scored = (answer for answer in queries.stream_answers(database, found.id, verdict) if answer.result)
        for number, answer in enumerate(scored):
            yield (",\n" if number else "\n") + json.dumps(present.answer_json(answer))
        yield "\n]}\n"

    response = Response(stream_with_context(pieces()), mimetype="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="{found.public_id}.json"'
    return response


def _load(job_id: str) -> Job:
    with services().database.read() as session:
        return queries.get_job(session, job_id)


def _load_epochs(job_id: str) -> tuple[Job, list[Epoch]]:
    with services().database.read() as session:
        found = queries.get_job(session, job_id)
        return found, list(queries.list_epochs(session, found.id))


def epochs(job_id: str) -> str:
    """The rows of the table of epochs, alone."""
    found, rows = _load_epochs(job_id)
    return render_template("_epochs.html", job=found, ended=JobState(found.state).ended, epochs=rows)


def epochs_json(job_id: str) -> Response:
    """The epochs, for the curves; ``ended`` says that no more will come."""
    found, rows = _load_epochs(job_id)
    return jsonify({"epochs": [present.epoch_json(row) for row in rows], "ended": JobState(found.state).ended})


def epochs_csv(job_id: str) -> Response:
    """The epochs as a download."""
    found, rows = _load_epochs(job_id)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, EPOCH_COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(present.epoch_json(row) for row in rows)
    response = Response(buffer.getvalue(), mimetype="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{found.public_id}-epochs.csv"'
    return response


def cancel_job(job_id: str) -> ResponseReturnValue:
    """Ask the job to stop."""
    _load(job_id)
    lifecycle.request_cancel(services().database, job_id, auth.current_person().id)
    flash("The job is asked to stop. What is done is kept.")
    return redirect(url_for("pages.job", job_id=job_id), 303)


def finish_job(job_id: str) -> ResponseReturnValue:
    """End a training with the best weights so far."""
    _load(job_id)
    person = auth.current_person()
    lifecycle.request_finish(services().database, job_id, person.id, person.name)
    flash("The training ends now. The best epoch so far becomes its model.")
    return redirect(url_for("pages.job", job_id=job_id), 303)


def retry_job(job_id: str) -> ResponseReturnValue:
    """Queue a failed or cancelled job again."""
    _load(job_id)
    ring_retry(job_id, auth.current_person().id)
    flash("The job is queued again, with only what is missing.")
    return redirect(url_for("pages.job", job_id=job_id), 303)
