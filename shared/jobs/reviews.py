"""Reviews: a person agrees with an answer, overrules it with a reason, or decides what the model left open."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from shared import audit
from shared.db import utcnow
from shared.errors import Conflict, InvalidInput
from shared.tables import Decision, Job, Result, Review, Verdict

MOST_REASON = 1000  # characters
FINAL = (Verdict.ACCEPT, Verdict.REJECT, Verdict.UNSCORABLE)
_REVIEWS = (
    sa.select(Review)
    .where(Review.job_id == sa.bindparam("job"))
    .where(Review.ordinal.between(sa.bindparam("first"), sa.bindparam("last")))
    .options(joinedload(Review.person))
)


@dataclass(frozen=True, slots=True)
class Decided:
    """What a reviewer says of one comparison: the verdict that shall hold, and why."""

    verdict: str
    reason: str = ""


def decision_of(given: str, wanted: str) -> Decision:
    """What it means to want the verdict ``wanted`` where the model gave ``given``."""
    if given == wanted:
        return Decision.AGREE
    return Decision.DECIDE if given == Verdict.REVIEW else Decision.OVERRULE


def decide(session: Session, job: Job, ordinal: int, person_id: int, decided: Decided) -> Review:
    """Write the last word on one comparison; one that was written before is replaced and stays in the audit events.

    Raises:
        Conflict: code ``not_scored``: there is no answer yet to decide about.
        InvalidInput: code ``review_verdict`` or ``review_reason``.
    """
    result = session.get(Result, (job.id, ordinal))
    if result is None:
        raise Conflict("not_scored", "This comparison is not scored yet. Decide when its answer is there.")
    decision = _checked(result, decided)
    review = session.merge(
        Review(
            job_id=job.id,
            ordinal=ordinal,
            decision=decision,
            verdict=decided.verdict,
            reason=decided.reason,
            person_id=person_id,
            decided_at=utcnow(),
        )
    )
    audit.note(
        session,
        person_id,
        "review.decide",
        f"{job.public_id}/{ordinal}",
        decision=decision,
        given=result.verdict,
        verdict=decided.verdict,
        reason=decided.reason,
    )
    return review


def _checked(result: Result, decided: Decided) -> Decision:
    # "Unscorable" is nothing a person can find: it can only be agreed with.
    if decided.verdict not in FINAL or (decided.verdict == Verdict.UNSCORABLE and decided.verdict != result.verdict):
        raise InvalidInput("review_verdict", "Choose accept or reject.")
    decision = decision_of(result.verdict, decided.verdict)
    if decision == Decision.OVERRULE and not decided.reason:
        raise InvalidInput("review_reason", "Say why you overrule the model: who reads it later sees only this.")
    if len(decided.reason) > MOST_REASON:
        raise InvalidInput("review_reason", f"A reason has at most {MOST_REASON} characters.")
    return decision


def take_back(session: Session, job: Job, ordinal: int, person_id: int) -> bool:
    """Leave a comparison undecided again; False where it was."""
    review = session.get(Review, (job.id, ordinal))
    if review is None:
        return False
    session.delete(review)
    audit.note(session, person_id, "review.take_back", f"{job.public_id}/{ordinal}", verdict=review.verdict)
    return True


def reviews_of(session: Session, job_id: int, ordinals: Collection[int]) -> dict[int, Review]:
    """The reviews of these comparisons by ordinal, each with its person loaded."""
    if not ordinals:
        return {}
    found = session.scalars(_REVIEWS, {"job": job_id, "first": min(ordinals), "last": max(ordinals)})
    return {review.ordinal: review for review in found if review.ordinal in ordinals}


def count_reviews(session: Session, job_id: int) -> dict[str, int]:
    """How many comparisons of a job were decided, by decision."""
    query = sa.select(Review.decision, sa.func.count()).where(Review.job_id == job_id).group_by(Review.decision)
    return {str(decision): count for decision, count in session.execute(query)}
