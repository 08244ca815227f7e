"""Right after installation: a pair is verified with the model in the box, and the answer says what that is."""

from __future__ import annotations

import sqlalchemy as sa

from shared.boxed import register_boxed
from shared.jobs.chunks import claim_chunks
from shared.specs import VerifySpec
from shared.tables import ModelVersion, Result
from tests.factories import batch_of, training_files
from tests.unit.worker.conftest import send, submissions
from worker.context import Context
from worker.intake import take_in
from worker.models import ModelCache
from worker.verification import score_claim


def verified(context: Context, *references: str) -> Result:
    """The answer to a forgery held against ``references``, by whatever model is the default."""
    images = training_files(writers=1, genuine=5, forged=1)
    batch = batch_of(("1", "writer_0/forged/0.png", "|".join(references)), images=images)
    job = submissions(context).verify_batch(send(context, batch, "batch.zip"), VerifySpec(), None)
    take_in(context, job.public_id)
    claim = claim_chunks(context.database, "me", 30, 10)
    assert claim is not None
    score_claim(context, ModelCache(context.store), claim)
    with context.database.read() as session:
        found = session.scalars(sa.select(Result).where(Result.job_id == job.id)).one()
        assert session.get_one(ModelVersion, found.model_id).label == "boxed@1"
        return found


def test_a_pair_is_verified_right_after_installation(context: Context) -> None:
    register_boxed(context.database, context.store)
    found = verified(context, "writer_0/genuine/0.png")
    assert found.scale == "llr"
    assert found.llr is not None
    assert found.distance is not None
    assert found.distance > 0
    assert found.verdict in ("accept", "review", "reject")


def test_more_references_are_judged_by_bounds_of_their_own(context: Context) -> None:
    register_boxed(context.database, context.store)
    one = verified(context, "writer_0/genuine/0.png")
    four = verified(context, *(f"writer_0/genuine/{number}.png" for number in range(4)))
    assert (one.accept_from, one.reject_below) != (four.accept_from, four.reject_below)
    assert four.distances is not None
    assert len(four.distances) == 4
