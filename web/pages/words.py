"""Numbers, instants and verdicts in words, for the templates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Blueprint

from shared.calibration import calibration_of
from shared.jobs.listing import Order, Reviewed, Wish
from shared.jobs.queries import Answer
from shared.tables import Job, JobState, ModelVersion, Verdict
from web.locales import told, written

MINUTE, HOUR, DAY = 60, 3600, 86400
DISTANCE_PLACES = 4
KINDS = {
    "verify": "Verification",
    "identify": "Identification",
    "train": "Training",
    "evaluate": "Evaluation",
    "tune": "Tuning",
}
WORK = {  # what a job does while its worker has not said it more exactly
    "verify": "Scoring comparisons",
    "identify": "Comparing images with the categories",
    "train": "Training",
    "evaluate": "Measuring the model",
    "tune": "Trying settings",
}
UNITS = {  # what a job's progress counts
    "verify": "comparison",
    "identify": "test image",
    "train": "epoch",
    "evaluate": "step",
    "tune": "trial",
}
PHASES = {JobState.QUEUED: "Waiting for a worker", JobState.CANCELLING: "Stopping; what is done is kept"}


def register(blueprint: Blueprint) -> None:
    """Add the filters."""
    for name in (
        "number",
        "fixed",
        "figures",
        "setting",
        "percent",
        "utc",
        "iso",
        "lasting",
        "size",
        "plural",
        "sentence",
        "phase",
        "told",
        "likelihood",
        "signed",
        "listed",
        "promise",
        "caution",
        "origin",
        "figured",
        "compared",
    ):
        blueprint.add_app_template_filter(globals()[name], name)


def number(value: Any) -> str:
    """``12345`` as ``12,345``; nothing known as a dash."""
    return written(f"{value:,}") if isinstance(value, int) else fixed(value)


def fixed(value: Any, places: int = DISTANCE_PLACES) -> str:
    """A number with ``places`` decimals; nothing known as a dash."""
    return written(f"{value:,.{places}f}") if isinstance(value, int | float) else "–"


def figures(value: float, digits: int = 3) -> str:
    """A number of any size with so many digits that count."""
    return written(f"{value:.{digits}g}")


def setting(value: Any) -> Any:
    """A field of a recipe, or a fact of a file; what is longer than a line is left to the template."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return figures(value, 6)
    return "–" if value is None or value == "" else value


def percent(share: Any, places: int = 1) -> str:
    """A share in 0..1 as a percentage."""
    return written(f"{share * 100:.{places}f}") + "\u00a0%" if isinstance(share, int | float) else "–"


def utc(instant: datetime) -> str:
    """What is read where no script puts the instant into the reader's locale."""
    return instant.strftime("%Y-%m-%d %H:%M UTC")


def iso(instant: datetime) -> str:
    """The value of a ``datetime`` attribute."""
    return instant.isoformat(timespec="seconds")


def lasting(seconds: float | None) -> str:
    """A duration, in its two largest units."""
    if seconds is None:
        return "–"
    if 0 < seconds < 10:
        return written(f"{seconds:.1f}") + "\u00a0s"
    whole = max(0, round(seconds))
    for size_, unit, part, smaller in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", 1, "s")):
        if whole >= size_:
            rest = whole % size_ // part
            return f"{whole // size_}\u00a0{unit}" + (f" {rest}\u00a0{smaller}" if rest else "")
    return f"{whole}\u00a0s"


def size(count: int) -> str:
    """A number of bytes, in the unit that people read best."""
    amount = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return written(f"{amount:,.0f}" if unit == "bytes" or amount >= 100 else f"{amount:,.1f}") + f" {unit}"
        amount /= 1000
    raise AssertionError("the last unit takes every amount")


def plural(count: int, one: str, many: str = "") -> str:
    """``1 comparison``, ``2 comparisons``."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def phase(job: Job) -> str:
    """What is being done for an unfinished job."""
    if job.state in PHASES:
        return PHASES[JobState(job.state)]
    return told(job.phase) if job.phase else WORK[job.kind]


def odds(llr: float) -> str:
    """How many times, of a log10 likelihood ratio of either sign, in as many figures as it is good for."""
    times = 10 ** abs(llr)
    if times < 10:
        return figures(times, 2)
    step = 10 ** (len(str(int(times))) - 1)
    return number(round(times / step) * step)


def likelihood(llr: float, forgeries: str | None) -> str:
    """A log10 likelihood ratio as a sentence. It is about what was seen, never about what is true."""
    forger = "a skilled forger" if forgeries == "skilled" else "another writer"
    times = odds(llr)
    if times == "1":
        return f"What was measured is as likely if the same hand wrote both as if {forger} did."
    if llr > 0:
        return f"About {times} times more likely if the same hand wrote both than if {forger} did."
    return f"About {times} times more likely if {forger} wrote the questioned one than if the same hand wrote both."


def signed(value: Any, places: int = 2) -> str:
    """A number with its sign; nothing known as a dash."""
    return written(f"{value:+.{places}f}").replace("-", "\u2212") if isinstance(value, int | float) else "–"


def sentence(answer: Answer) -> str:
    """What the verdict of a comparison means, in plain words."""
    result = answer.result
    if result is None:
        return "This comparison is not scored yet."
    if result.verdict in (Verdict.UNSCORABLE, Verdict.REVIEW) or result.distance is None or result.threshold is None:
        return result.message or "This comparison could not be scored."
    told = f" {result.message}" if result.message else ""
    if result.llr is not None:
        bound = "accept" if result.verdict == Verdict.ACCEPT else "reject"
        return f"{likelihood(result.llr, answer.forgeries)} That is evidence enough for {bound}.{told}"
    if result.verdict == Verdict.ACCEPT:
        return f"The distance is within the threshold: the model takes both for the same hand.{told}"
    return f"The distance is above the threshold: the model takes them for different hands.{told}"


def listed(wish: Wish) -> str:
    """Which comparisons are gone through, in which order."""
    which = f"those with verdict {wish.verdict}" if wish.verdict else "all"
    if wish.reviewed:
        which += " that nobody has decided" if wish.reviewed == Reviewed.OPEN else " that were decided"
    if wish.order:
        which += ", the most alike first" if wish.order == Order.ALIKE else ", the least alike first"
    return which


def in_a_hundred(share: float) -> str:
    """A share in 0..1 as people count: "about 1 in 200", "about 13 in 100", "hardly any"."""
    if share >= 0.015:
        return f"about {share * 100:.0f} in 100"
    return f"about 1 in {round(1 / share, -1 if share < 0.1 else 0):.0f}" if share >= 0.0005 else "hardly any"


def compared(protocol: str) -> str:
    """What an evaluation compared: ``pair`` is "one reference", ``refs8`` "8 references"."""
    return "one reference" if protocol == "pair" else plural(int(protocol.removeprefix("refs")), "reference")


def caution(calibrated_on: str) -> str:
    """What must be known of likelihood ratios that come from other data than people's signatures."""
    return (
        f"The model was calibrated on {calibrated_on}, not on people's. Likelihood ratios and verdicts may be off for "
        "your documents: train or fine-tune it on your own signatures before you rely on them."
    )


def origin(model: ModelVersion) -> str:
    """The same of a model that is to be chosen; empty where there is nothing to say."""
    calibration = calibration_of(model.summary)
    return caution(calibration.origin) if calibration and calibration.origin else ""


def figured(model: ModelVersion, kind: str) -> str:
    """The figures of a model in one line, where it is chosen for a job of ``kind``."""
    eer = f"EER {percent(((model.summary or {}).get('validation') or {}).get('eer'))}"
    calibration = calibration_of(model.summary)
    if kind == "evaluate":
        return eer
    if kind == "identify" or calibration is None:
        return f"{eer}, threshold {fixed(model.threshold)}"
    return f"{eer}, calibrated{f' on {calibration.origin}' if calibration.origin else ''}"


def promise(model: ModelVersion, kind: str = "verify") -> str:
    """What the thresholds of a model mean for a job of ``kind``, in a plain sentence."""
    calibration = calibration_of(model.summary)
    if calibration and kind == "verify":
        bands = calibration.of_size(1).bands
        forger = "skilled forgeries" if calibration.population == "skilled" else "other writers' signatures"
        return (
            f"With one reference, {in_a_hundred(bands.far)} {forger} would be accepted and {in_a_hundred(bands.frr)} "
            "genuine signatures rejected; what is too close to call goes to review. More references leave less of it."
        )
    validation = (model.summary or {}).get("validation") or {}
    eer = validation.get("eer")
    if not isinstance(eer, int | float):
        return "Nobody has measured how often this model errs."
    of = f"{validation.get('forgeries') or ''} forgeries".strip()
    if kind == "identify":
        return (
            f"What is farther than {fixed(model.threshold)} from every category is none of these. With one image a "
            f"category, {in_a_hundred(eer)} {of} would be named, and as many of a category's own images turned away."
        )
    return f"{in_a_hundred(eer).capitalize()} {of} would be accepted, and as many genuine signatures rejected."
