"""One comparison: its pictures side by side at one scale, and its answer."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, render_template, request, url_for

from shared.jobs import queries
from shared.specs import NETWORKS, Preprocessing, canvas_of
from shared.tables import ModelVersion, Region, Verdict
from shared.views import canvas_view
from web.pages import paging
from web.services import services

REFERENCES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """The extent, in pixels, that every picture of a comparison is shown in: one scale for all."""

    width: int
    height: int


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/jobs/<job_id>/comparisons/<int:ordinal>", view_func=comparison)


def comparison(job_id: str, ordinal: int) -> str:
    """The questioned image and its references, as sent and as the network sees them."""
    verdict = paging.chosen("verdict", Verdict)
    with services().database.read() as session:
        job = queries.get_job(session, job_id)
        answer = queries.get_answer(session, job, ordinal)
        before, following = paging.neighbours(session, job.id, ordinal, verdict)
        canvas = _canvas(job.model) if job.model and job.model.network in NETWORKS else None
    shown = len(answer.references) if "all" in request.args else REFERENCES_SHOWN
    regions = [region for region in (answer.questioned, *answer.references[:shown]) if region]

    def address(number: int) -> str:
        return url_for("pages.comparison", job_id=job_id, ordinal=number, verdict=verdict)

    return render_template(
        "comparison.html",
        job=job,
        answer=answer,
        verdict=verdict,
        previous=address(before) if before else None,
        following=address(following) if following else None,
        canvas=canvas,
        seen=canvas_view(job.model.network, canvas) if job.model and canvas else None,
        frame=_frame(regions),
        shown=shown,
    )


def _canvas(model: ModelVersion) -> Preprocessing:
    """What the network of ``model`` looks at; of a version that does not say, the preset of signatures."""
    said = model.summary.get("preprocessing")
    return Preprocessing.model_validate(said) if said else canvas_of(model.network)


def _frame(regions: list[Region]) -> Frame | None:
    """The least extent that holds every picture; None where no size is known yet."""
    sizes = [(region.width, region.height) for region in regions if region.width and region.height]
    return Frame(max(width for width, _ in sizes), max(height for _, height in sizes)) if sizes else None
