"""Two model versions side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from flask import Blueprint, render_template, request
from sqlalchemy.orm import Session, joinedload

from shared import registry
from shared.calibration import calibration_of
from shared.errors import InvalidInput
from shared.tables import Job, JobState, ModelVersion
from web.pages.words import fixed, number, percent, signed
from web.services import services


@dataclass(frozen=True, slots=True)
class Measured:
    """One archive that both models were evaluated on: the newest evaluation of each."""

    filename: str
    jobs: tuple[Job, Job]


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/models/compare", view_func=compare_models)


def compare_models() -> str:
    """Two model versions: their figures, and what both were measured on.

    Raises:
        InvalidInput: code ``parameter_invalid``: not two different ones.
    """
    names = request.args.getlist("model")
    with services().database.read() as session:
        found = [registry.find_model(session, name) for name in names[:3]]
        if len({model.id for model in found}) != 2 or len(found) != 2:
            raise InvalidInput("parameter_invalid", "Choose two different models on the page of models.")
        pair = (found[0], found[1])
        measured = list(_measured(session, pair))
        aliases = [registry.aliases_of(session, model) for model in pair]
    rows = zip(*(figures_of(model) for model in pair), strict=True)
    lines = [(one[0], one[1], other[1]) for one, other in rows]
    return render_template("models_compare.html", pair=pair, aliases=aliases, rows=lines, measured=measured)


def figures_of(model: ModelVersion) -> list[tuple[str, str]]:
    """The figures of a model version by name, the same names for all."""
    summary = model.summary or {}
    validation, data, network = (summary.get(part) or {} for part in ("validation", "data", "network"))
    calibration = calibration_of(summary)
    one = calibration.of_size(1) if calibration else None
    many = calibration.sets[-1] if calibration else None
    return [
        ("Network", model.network),
        ("Weights", number(network.get("parameters"))),
        ("Writers trained on", number(len(data.get("training_writers") or ()) or None)),
        ("Equal error rate of its own held-out writers", percent(validation.get("eer"))),
        ("Calibrated on", f"{len(calibration.writers)} writers" if calibration else "not calibrated"),
        ("Equal error rate, one reference", percent(one.figures.eer if one else None)),
        ("Cllr, one reference", fixed(one.figures.cllr if one else None, 3)),
        ("Equal error rate, most references", percent(many.figures.eer if many else None)),
        ("Cllr, most references", fixed(many.figures.cllr if many else None, 3)),
        ("Accept from, one reference", signed(one.bands.accept_from if one else None)),
        ("Reject below, one reference", signed(one.bands.reject_below if one else None)),
    ]


def _measured(session: Session, pair: tuple[ModelVersion, ModelVersion]) -> Iterator[Measured]:
    ids = [model.id for model in pair]
    query = sa.select(Job).where(Job.kind == "evaluate", Job.state == JobState.SUCCEEDED, Job.model_id.in_(ids))
    newest: dict[str, dict[int | None, Job]] = {}
    for job in session.scalars(query.options(joinedload(Job.upload)).order_by(Job.id)):
        if job.upload:
            newest.setdefault(job.upload.digest, {})[job.model_id] = job
    for jobs in newest.values():
        first, second = (jobs.get(model_id) for model_id in ids)
        if first and second and first.upload:
            yield Measured(first.upload.filename, (first, second))
