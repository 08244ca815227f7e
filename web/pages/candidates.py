"""Two model versions side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from flask import Blueprint, render_template, request
from sqlalchemy.orm import Session, joinedload

from shared import registry
from shared.calibration import calibration_of
from shared.errors import InvalidInput
from shared.tables import Job, JobState, ModelVersion
from web.measured import Evaluated
from web.pages.measured import measured_of
from web.pages.words import fixed, number, percent, signed
from web.services import services


@dataclass(frozen=True, slots=True)
class Measured:
    """One archive that both models were evaluated on in the same way: the newest evaluation of each."""

    filename: str
    jobs: tuple[Job, Job]

    @property
    def found(self) -> tuple[Evaluated, Evaluated] | None:
        """What they measured; None where the files of one are gone."""
        first, second = (measured_of(job) for job in self.jobs)
        return (first, second) if first and second else None


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
    drawn = _chosen(measured)
    return render_template(
        "models_compare.html",
        pair=pair,
        aliases=aliases,
        rows=lines,
        measured=measured,
        drawn=drawn,
        found=drawn.found if drawn else None,
    )


def _chosen(measured: Sequence[Measured]) -> Measured | None:
    """Of the archives that both were measured on, the one that the address names by a job of it, else the newest."""
    wanted = request.args.get("on")
    named = (each for each in measured if wanted in [job.public_id for job in each.jobs])
    return next(named, measured[0] if measured else None)


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
    """Archives measured under one protocol with as many references and the same writers, the newest first."""
    ids = [model.id for model in pair]
    query = sa.select(Job).where(Job.kind == "evaluate", Job.state == JobState.SUCCEEDED, Job.model_id.in_(ids))
    newest: dict[tuple[object, ...], dict[int | None, Job]] = {}
    loaded = query.options(joinedload(Job.upload), joinedload(Job.model)).order_by(Job.id.desc())
    for job in session.scalars(loaded):
        if job.upload:
            way = (job.upload.digest, *(job.spec.get(name) for name in ("protocol", "references", "writers")))
            newest.setdefault(way, {}).setdefault(job.model_id, job)
    for jobs in newest.values():
        first, second = (jobs.get(model_id) for model_id in ids)
        if first and second and first.upload:
            yield Measured(first.upload.filename, (first, second))
