"""Comparisons: found by their sender's id whatever their job, and what people decide about them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from shared.jobs import queries
from shared.jobs.queries import Answer
from shared.jobs.reviews import MOST_REASON, Decided, decide, take_back
from shared.tables import Job
from web import auth, present
from web.api import documents
from web.api.operations import MAX_ORDINAL, Operation, Query, read_json, register
from web.services import services

MOST = 100  # comparisons of a page; each is of another job


class ComparisonsQuery(Query):
    """Which comparisons."""

    id: str = Field(min_length=1, max_length=255, description="the sender's, of the manifest")
    before: int | None = Field(default=None, ge=0, le=MAX_ORDINAL, description="cursor: those of jobs before this one")
    limit: int = Field(default=20, ge=1, le=MOST, description="most comparisons of a page")


class ReviewSpec(BaseModel):
    """What a person decides."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, str_strip_whitespace=True)

    verdict: Literal["accept", "reject", "unscorable"] = Field(
        description="what shall hold; unscorable only where the model said so too"
    )
    reason: str = Field(default="", max_length=MOST_REASON, description="why; needed to overrule the model")


def add_routes(blueprint: Blueprint) -> None:
    """Add the routes."""
    find, keep, undo = "Comparisons of all jobs by the sender's id", "Keep what a person decided", "Undecide it"
    path = "/jobs/{job_id}/results/{ordinal}/review"
    register(
        blueprint,
        Operation("GET", "/comparisons", find_comparisons, find, documents.ComparisonList, ComparisonsQuery),
        Operation("PUT", path, put_review, keep, documents.Comparison, body=ReviewSpec),
        Operation("DELETE", path, delete_review, undo, status=204, media=()),
    )


def find_comparisons(query: ComparisonsQuery) -> Response:
    """The comparisons that their sender named so, one of each job, the newest job first."""
    with services().database.read() as session:
        found, cursor = queries.find_comparisons(session, query.id, query.before, query.limit)
    again: dict[str, Any] = request.args.to_dict() | {"before": cursor}
    following = url_for("api.find_comparisons", **again) if cursor else None
    rows = [_json(job, answer) for job, answer in found]
    return jsonify({"comparisons": rows, "next": cursor, "links": {"next": following}})


def _json(job: Job, answer: Answer) -> dict[str, Any]:
    place: dict[str, Any] = {"job_id": job.public_id, "ordinal": answer.comparison.ordinal}
    links = {
        "self": url_for("api.result", **place),
        "review": url_for("api.put_review", **place),
        "job": url_for("api.get_job", job_id=job.public_id),
        "page": url_for("pages.comparison", **place),
    }
    return present.answer_json(answer) | {"job": job.public_id, "links": links}


def put_review(job_id: str, ordinal: int) -> Response:
    """Keep the last word on a comparison, beside the model's own: agree, overrule with a reason, or decide.

    One that was there is replaced; it stays in the audit events.
    """
    spec = read_json(ReviewSpec)
    with services().database.write() as session:
        job = queries.get_job(session, job_id)
        queries.get_answer(session, job, ordinal)
        decide(session, job, ordinal, auth.current_person().id, Decided(spec.verdict, spec.reason))
    with services().database.read() as session:
        return jsonify(present.answer_json(queries.get_answer(session, job, ordinal)))


def delete_review(job_id: str, ordinal: int) -> Response:
    """Leave the comparison undecided again; nothing to do where it is."""
    with services().database.write() as session:
        job = queries.get_job(session, job_id)
        queries.get_answer(session, job, ordinal)
        take_back(session, job, ordinal, auth.current_person().id)
    return Response(status=HTTPStatus.NO_CONTENT)
