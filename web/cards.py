"""The model card: what a model version is, what it was made of, how good it is and where it is not, in Markdown.

The headings follow Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from shared.calibration import Calibration, calibration_of
from shared.jobs.queries import list_evaluations
from shared.networks import NETWORKS
from shared.specs import OF_DESCENT
from shared.tables import Job, ModelVersion

FEW_WRITERS = 20  # of a calibration
LIMITS = (
    "It compares drawings. It does not know who wrote, and cannot tell a copy, a tracing or a disguised hand apart "
    "beyond what its data held.",
    "Its figures are those of the writers and forgers named here. Other scanners, pens, alphabets and forgers may "
    "give others: evaluate it on your own signatures before you rely on it.",
    "A verdict is a recommendation by fixed bounds. The decision, and the prior odds that belong to it, are yours.",
)


def card_of(session: Session, model: ModelVersion) -> str:
    """The card of a model version, with the evaluations that were made of it here."""
    return model_card(model, list_evaluations(session, model.id))


def model_card(model: ModelVersion, evaluations: Sequence[Job] = ()) -> str:
    """The card from what the registry keeps; parts that a model of another origin lacks are left out."""
    summary = model.summary or {}
    parts = {name: _part(summary, name) for name in ("data", "recipe", "validation", "network", "library")}
    calibration = calibration_of(summary)
    sections = (
        _heading(model),
        _section("Data", _data(parts["data"])),
        _section("Recipe", _facts(parts["recipe"], skip=("kind", "name", "make_default", *without_use(model.network)))),
        _section("Network", _facts(parts["network"] | _part(summary, "preprocessing"))),
        _section("Validation", _validation(model, parts["validation"])),
        _section("Calibration", _calibration(calibration, summary.get("calibration_note"))),
        _section("Evaluations", _evaluations(evaluations)),
        _section("Known limits", [f"- {line}" for line in _limits(calibration, parts["validation"])]),
        _section("Made with", _facts(parts["library"])),
    )
    return "\n".join(line for section in sections for line in section) + "\n"


def without_use(network: str) -> tuple[str, ...]:
    """The fields of a recipe that a network, solved in one step, had no use for."""
    return OF_DESCENT if network in NETWORKS and NETWORKS[network].closed_form else ()


def _part(summary: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = summary.get(name)
    return dict(part) if isinstance(part, dict) else {}


def _heading(model: ModelVersion) -> list[str]:
    title = NETWORKS[model.network].title if model.network in NETWORKS else model.network
    return [
        f"# Model card: {_text(model.label)}",
        "",
        f"- Network: {model.network} ({title})",
        f"- Digest of the file: `{model.digest}`",
        f"- Made: {model.created_at:%Y-%m-%d}",
        "- Use: to tell whether one hand wrote a questioned signature and its references; not to find out whose it is.",
    ]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    body = list(lines)
    return ["", f"## {title}", "", *body] if body else []


def _data(data: Mapping[str, Any]) -> list[str]:
    sides = ("training_writers", "validation_writers", "calibration_writers")
    lines = _facts(data, skip=(*sides, "skipped_list"))
    for side in sides:
        names = data.get(side)
        if isinstance(names, list | tuple) and names:
            words = side.replace("_", " ").capitalize()
            lines.append(f"- {words} ({len(names)}): {', '.join(_text(name) for name in names)}")
    return lines


def _validation(model: ModelVersion, validation: Mapping[str, Any]) -> list[str]:
    lines = [f"- Threshold of the distance: {model.threshold:.6g}"]
    if isinstance(validation.get("eer"), int | float):
        against = validation.get("forgeries") or "unknown"
        lines.append(f"- Equal error rate of pairs, {against} forgeries: {validation['eer']:.2%}")
    if validation.get("note"):
        lines.append(f"- {_text(validation['note'])}")
    return lines


def _calibration(calibration: Calibration | None, note: Any) -> list[str]:
    told = [_text(note)] if note else []
    if calibration is None:
        return told or ["None: verdicts go by the distance."]
    kind = "generated signatures" if calibration.generated else "signatures"
    lines = [
        f"Distances become log10 likelihood ratios (llr), method {calibration.method}, on {calibration.images:,} "
        f"{kind} of {len(calibration.writers)} writers that training and selection never saw, against "
        f"{calibration.population} forgeries. Data: `{calibration.data}`. The verdict accept was to let pass "
        f"{calibration.target_far:.2%} of the forgeries, reject to turn away {calibration.target_frr:.2%} of the "
        "genuine. All figures are cross-validated over these writers.",
        "",
        "| references | EER | Cllr (bits) | accept from | FAR there | reject below | FRR there | llr range |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in calibration.sets:
        bands, figures = one.bands, one.figures
        lines.append(
            f"| {one.size} | {figures.eer:.2%} | {figures.cllr:.3f} | {bands.accept_from:+.2f} | {bands.far:.2%} "
            f"| {bands.reject_below:+.2f} | {bands.frr:.2%} | {one.lowest:+.2f} to {one.highest:+.2f} |"
        )
    return lines + (["", *told] if told else [])


def _evaluations(evaluations: Sequence[Job]) -> list[str]:
    lines = []
    for job in evaluations:
        found = _part(job.report or {}, "headline")
        figures = [
            f"{key} {kind} EER {figure['eer']:.2%}"
            for key, kinds in found.items()
            if isinstance(kinds, dict) and (key == "pair" or key.startswith("refs"))
            for kind, figure in kinds.items()
            if isinstance(figure, dict) and isinstance(figure.get("eer"), int | float)
        ]
        said = ", ".join(figures) or "see its report"
        lines.append(
            f"- {job.created_at:%Y-%m-%d}, {_text(job.label or job.public_id)}, {found.get('protocol')}: {said}"
        )
    return lines


def _limits(calibration: Calibration | None, validation: Mapping[str, Any]) -> list[str]:
    own = []
    if calibration is not None and calibration.generated:
        own.append("It was calibrated on generated signatures: likelihood ratios and bounds may be off for people's.")
    if calibration is not None and calibration.population == "random":
        own.append("Its likelihood ratios are against other writers' own signatures, not against imitations.")
    if calibration is not None and len(calibration.writers) < FEW_WRITERS:
        own.append(f"Calibrated on {len(calibration.writers)} writers only: its bounds may be off for others.")
    if calibration is None:
        own.append("It is not calibrated: a distance is no measure of evidence.")
    if validation.get("forgeries") == "random":
        own.append("No skilled forgery was at hand when its threshold was set.")
    return [*own, *LIMITS]


def _facts(part: Mapping[str, Any], skip: tuple[str, ...] = ()) -> list[str]:
    return [
        f"- {name.replace('_', ' ').capitalize()}: {_text(value)}"
        for name, value in part.items()
        if name not in skip and value is not None and value != "" and isinstance(value, str | int | float)
    ]


def _text(value: Any) -> str:
    """A value on one line, safe in Markdown: names of writers and files come from archives."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    flat = " ".join(str(value).split())
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#!" else sign for sign in flat)
