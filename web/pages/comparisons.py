"""One comparison: its pictures side by side at one scale, its answer, and what a person decides about it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from shared.errors import InvalidInput
from shared.jobs import queries, reviews
from shared.jobs.queries import Answer
from shared.jobs.reviews import Decided, decide, take_back
from shared.networks import NETWORKS
from shared.specs import Preprocessing, canvas_of
from shared.tables import ModelVersion, Region
from shared.views import canvas_view
from web import auth
from web.pages import paging
from web.pages.forms import FormFault
from web.services import services

REFERENCES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """The extent, in pixels, that every picture of a comparison is shown in: one scale for all."""

    width: int
    height: int


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    address = "/jobs/<job_id>/comparisons/<int:ordinal>"
    blueprint.add_url_rule(address, view_func=comparison)
    blueprint.add_url_rule(f"{address}/review", view_func=review, methods=["POST"])
    blueprint.add_url_rule(f"{address}/review/delete", view_func=undo_review, methods=["POST"])


def comparison(job_id: str, ordinal: int) -> str:
    """The questioned image and its references, as sent and as the network sees them."""
    return _page(job_id, ordinal, [])


def _page(job_id: str, ordinal: int, errors: list[FormFault]) -> str:
    wish = paging.wish()
    with services().database.read() as session:
        job = queries.get_job(session, job_id)
        answer = queries.get_answer(session, job, ordinal)
        before, following = paging.neighbours(session, job, ordinal, wish)
        canvas = _canvas(job.model) if job.model and job.model.network in NETWORKS else None
    references = _nearest_first(answer)
    shown = len(references) if "all" in request.args else REFERENCES_SHOWN
    regions = [region for region in (answer.questioned, *(region for _, region in references[:shown])) if region]

    frame = _frame(regions)

    def address(number: int) -> str:
        return url_for("pages.comparison", job_id=job_id, ordinal=number, **wish.arguments)

    return render_template(
        "comparison.html",
        job=job,
        answer=answer,
        wish=wish,
        previous=address(before) if before else None,
        following=address(following) if following else None,
        canvas=canvas,
        seen=canvas_view(job.model.network, canvas) if job.model and canvas else None,
        frame=frame,
        seen_frame=_seen_frame(canvas, frame) if canvas else None,
        references=references,
        shown=shown,
        errors=errors,
        reason=request.form.get("reason", answer.review.reason if answer.review else ""),
        most_reason=reviews.MOST_REASON,
    )


def _nearest_first(answer: Answer) -> list[tuple[int, Region]]:
    """The references with their numbers from 1, the nearest at the head: it stands beside the questioned image."""
    numbered = list(enumerate(answer.references, 1))
    nearest = answer.result.nearest if answer.result and answer.result.nearest is not None else 0
    return numbered[nearest : nearest + 1] + numbered[:nearest] + numbered[nearest + 1 :]


def review(job_id: str, ordinal: int) -> ResponseReturnValue:
    """Keep what a person decided, and go on to the next comparison of the list that is gone through."""
    wanted = Decided(request.form.get("verdict", ""), request.form.get("reason", "").strip())
    wish = paging.wish()
    with services().database.read() as session:  # where to go on: a decision may take this one out of the list
        job = queries.get_job(session, job_id)
        _, following = paging.neighbours(session, job, ordinal, wish)
    try:
        with services().database.write() as session:
            decide(session, job, ordinal, auth.current_person().id, wanted)
    except InvalidInput as error:
        field = "verdict-accept" if error.code == "review_verdict" else "reason"
        return _page(job_id, ordinal, [FormFault(field, error.message)]), error.status
    if following is None:
        flash("That was the last of this list. Your decision is kept.")
    address = url_for("pages.comparison", job_id=job_id, ordinal=following or ordinal, **wish.arguments)
    return redirect(address, 303)


def undo_review(job_id: str, ordinal: int) -> ResponseReturnValue:
    """Leave the comparison undecided again."""
    with services().database.write() as session:
        take_back(session, queries.get_job(session, job_id), ordinal, auth.current_person().id)
    return redirect(url_for("pages.comparison", job_id=job_id, ordinal=ordinal, **paging.wish().arguments), 303)


def _canvas(model: ModelVersion) -> Preprocessing:
    """What the network of ``model`` looks at; of a version that does not say, the preset of signatures."""
    said = model.summary.get("preprocessing")
    return Preprocessing.model_validate(said) if said else canvas_of(model.network)


def _seen_frame(canvas: Preprocessing, frame: Frame | None) -> Frame:
    """The middle of the canvas that the ink can lie in: a pixel of a scan fills little of a canvas for large pages."""
    if canvas.preset != "signature" or canvas.scale != "keep" or frame is None:
        return Frame(canvas.width, canvas.height)
    factor = canvas.enlarge / canvas.reduce
    return Frame(min(canvas.width, ceil(frame.width * factor)), min(canvas.height, ceil(frame.height * factor)))


def _frame(regions: list[Region]) -> Frame | None:
    """The least extent that holds every picture; None where no size is known yet."""
    sizes = [(region.width, region.height) for region in regions if region.width and region.height]
    return Frame(max(width for width, _ in sizes), max(height for _, height in sizes)) if sizes else None
