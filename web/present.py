"""Jobs, answers and models as JSON documents and CSV rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from flask import url_for

from shared.calibration import calibration_of
from shared.jobs.queries import Answer, Glance
from shared.specs import DEFAULT
from shared.tables import Epoch, Job, JobState, ModelVersion, Region, Review
from web.errors import fault_json

CSV_COLUMNS = (
    "id",
    "verdict",
    "distance",
    "code",
    "message",
    "threshold",
    "model",
    "model_digest",
    "nearest_reference",
    "distances",
    "questioned",
    "questioned_digest",
    "reference",
    "reference_digest",
    "line",
    "llr",
    "scale",
    "accept_from",
    "reject_below",
    "forgeries",
    "calibrated_on",
    "tag",
    "decision",
    "decided_verdict",
    "reason",
    "reviewer",
    "reviewed_at",
)
LONGEST_PAUSE = 60  # seconds; what is left was measured, and may be wrong
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
FLUSH_ROWS = 500  # rows in one piece of a streamed CSV


def job_json(job: Job, submitter: str | None = None) -> dict[str, Any]:
    """A job, as ``GET /api/v1/jobs/{id}`` answers it; see :class:`Job` for what ``done`` and ``total`` count.

    ``submitter`` is the name of its person, where that is known without the job's.
    """
    links = {
        "self": url_for("api.get_job", job_id=job.public_id),
        "page": url_for("pages.job", job_id=job.public_id),
        "cancel": url_for("api.cancel_job", job_id=job.public_id),
    }
    if job.kind == "verify":
        links["results"] = url_for("api.results", job_id=job.public_id)
        links["results_csv"] = url_for("api.results", job_id=job.public_id, format="csv")
    elif job.kind == "identify":
        links["results"] = url_for("api.identifications", job_id=job.public_id)
        links["results_csv"] = url_for("api.identifications", job_id=job.public_id, format="csv")
    elif job.kind == "tune":
        links["trials"] = url_for("api.trials", job_id=job.public_id)
        links["trials_csv"] = url_for("api.trials", job_id=job.public_id, format="csv")
    elif job.kind == "evaluate":
        links["files"] = url_for("api.files", job_id=job.public_id)
    else:
        links["epochs"] = url_for("api.epochs", job_id=job.public_id)
    return {
        "id": job.public_id,
        "kind": job.kind,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "label": job.label,
        "tag": job.tag,
        "external_id": job.external_id,
        "phase": job.phase,
        "attempt": job.attempt,
        "model": job.model.label if job.model else None,
        "calibrated_on": _calibrated_on(job),
        "counts": {name: getattr(job, name) for name in ("accept", "review", "reject", "unscorable")},
        "error": _error_json(job),
        "report": job.report,
        "spec": job.spec,
        "created_at": instant(job.created_at),
        "started_at": instant(job.started_at),
        "finished_at": instant(job.finished_at),
        "submitted_by": submitter or (job.person.name if job.person else None),
        "links": links,
    }


def _calibrated_on(job: Job) -> str | None:
    """What the answers' model was calibrated on, where that was not people's signatures."""
    calibration = calibration_of(job.model.summary) if job.kind == "verify" and job.model else None
    return calibration.origin if calibration else None


def _error_json(job: Job) -> dict[str, Any] | None:
    if not job.error_code:
        return None
    return {
        "code": job.error_code,
        "message": job.error_message,
        "errors": [fault_json(**fault) for fault in job.faults],
    }


def instant(value: datetime | None) -> str | None:
    """As JSON has it: ISO 8601 with milliseconds."""
    return value.isoformat(timespec="milliseconds") if value else None


def retry_after(job: Job | Glance, left: float | None) -> int:
    """Seconds after which it is worth to ask for the job again: half of those that are left of it; 0 when it ended.

    ``left`` is what :func:`shared.jobs.pace.seconds_left` gives.
    """
    if JobState(job.state).ended:
        return 0
    if left is None:
        return 1 if job.total <= 1 else 5
    return min(max(1, round(left / 2)), LONGEST_PAUSE)


def answer_json(answer: Answer) -> dict[str, Any]:
    """One comparison with its answer; ``verdict`` is null while it is not scored."""
    comparison, result = answer.comparison, answer.result
    return {
        "id": comparison.external_id,
        "tag": comparison.tag,
        "ordinal": comparison.ordinal,
        "line": comparison.line,
        "verdict": result.verdict if result is not None else None,
        "distance": result.distance if result is not None else None,
        "threshold": result.threshold if result is not None else None,
        **_evidence_json(answer),
        "code": result.code if result is not None else None,
        "message": result.message if result is not None else None,
        "distances": result.distances if result is not None else None,
        "nearest": _nearest_number(answer),
        "model": answer.model,
        "model_digest": answer.model_digest,
        "questioned": _region_json(answer.questioned),
        "references": [_region_json(region) for region in answer.references],
        "review": review_json(answer.review) if answer.review else None,
    }


def review_json(review: Review) -> dict[str, Any]:
    """What a person decided about an answer; ``verdict`` is what holds now, beside the model's own."""
    return {
        "decision": review.decision,
        "verdict": review.verdict,
        "reason": review.reason,
        "reviewer": review.person.name,
        "reviewed_at": instant(review.decided_at),
    }


def _evidence_json(answer: Answer) -> dict[str, Any]:
    """What the model makes of the distances, and by which bounds it was judged.

    ``llr`` is the log10 likelihood ratio of "one hand wrote both" against "a forger did", of the kind of ``forgeries``;
    it is null where the model is not calibrated. ``scale`` names what the verdict was judged on: ``llr`` by
    ``accept_from`` and ``reject_below``, or ``distance`` by ``threshold``. ``calibrated_on`` is set where the
    calibration data were not people's signatures.
    """
    names = ("llr", "scale", "accept_from", "reject_below")
    found = {name: getattr(answer.result, name, None) for name in names}
    return found | {"forgeries": answer.forgeries, "calibrated_on": answer.calibrated_on}


def _nearest_number(answer: Answer) -> int | None:
    """Which reference was nearest, counted from 1."""
    if answer.result is None or answer.result.nearest is None:
        return None
    return answer.result.nearest + 1


def _region_json(region: Region | None) -> dict[str, Any] | None:
    if region is None:
        return None
    return {
        "image": region.entry,
        "page": region.page,
        "box": region.box,
        "digest": region.digest,
        "width": region.width,
        "height": region.height,
    }


def answers_csv(answers: Iterable[Answer]) -> Iterator[str]:
    """Scored comparisons as CSV text, in pieces; begins with ``id,verdict,distance``."""
    return csv_pieces(CSV_COLUMNS, (_csv_row(answer) for answer in answers if answer.result is not None))


def csv_pieces(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """A table as CSV text, a few hundred rows at a time."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    for count, row in enumerate(rows, 1):
        writer.writerow([_cell(value) for value in row])
        if count % FLUSH_ROWS == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _csv_row(answer: Answer) -> tuple[Any, ...]:
    comparison, result = answer.comparison, answer.result
    if result is None:
        raise ValueError("only scored comparisons have a row")
    return (
        comparison.external_id,
        result.verdict,
        result.distance,
        result.code,
        result.message,
        result.threshold,
        answer.model,
        answer.model_digest,
        _nearest_number(answer),
        "|".join("" if value is None else repr(value) for value in result.distances or ()),
        answer.questioned.entry if answer.questioned else None,
        answer.questioned.digest if answer.questioned else None,
        "|".join(region.entry for region in answer.references),
        "|".join(region.digest or "" for region in answer.references),
        comparison.line,
        *_evidence_json(answer).values(),
        comparison.tag,
        *(review_json(answer.review).values() if answer.review else (None,) * 5),
    )


def _cell(value: Any) -> Any:
    """``value``, safe from being run as a formula when a spreadsheet opens the file (OWASP: CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def epoch_json(epoch: Epoch) -> dict[str, Any]:
    """One epoch of a training. ``validation_eer`` is in 0..1, ``seconds`` is its duration."""
    names = ("epoch", "loss", "validation_loss", "validation_eer", "learning_rate", "images", "seconds")
    return {name: getattr(epoch, name) for name in names}


def model_json(model: ModelVersion, aliases: list[str]) -> dict[str, Any]:
    """A model version, and the names of roles that mean it at present."""
    return {
        "name": model.name,
        "version": model.version,
        "label": model.label,
        "digest": model.digest,
        "network": model.network,
        "threshold": model.threshold,
        "default": DEFAULT in aliases,
        "aliases": aliases,
        "archived_at": instant(model.archived_at),
        "created_at": instant(model.created_at),
        "summary": model.summary,
        "links": {
            "self": url_for("api.get_model", name=model.label),
            "page": url_for("pages.model", name=model.label),
            "card": url_for("api.get_card", name=model.label),
            "file": url_for("api.get_model_file", name=model.label),
        },
    }
