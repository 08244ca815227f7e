"""Manifests that name images by digest."""

from __future__ import annotations

import hashlib
import io
from datetime import timedelta

import sqlalchemy as sa

from shared.archives import Archive
from shared.db import utcnow
from shared.jobs.partial import remove_expired
from shared.jobs.submit import archive_limits
from shared.jobs.uploads import add_upload
from shared.manifest import ImageRef, Row
from shared.tables import Comparison, ReferenceSet, Region, Upload
from tests.factories import batch_of, png, reload, results_of
from tests.unit.worker.conftest import Submit, send
from worker.context import Context
from worker.intake import take_in
from worker.ml.images import decode, pixel_digest
from worker.naming import Naming, images_of
from worker.verification import score_waiting

PAGED = ("id", "questioned", "reference", "reference_page")
UNKNOWN = "sha256:" + "0" * 64


def sent_alone(context: Context, content: bytes, filename: str) -> str:
    """The digest of a file that was sent by ``PUT /files``."""
    stored = send(context, content, filename).stored
    with context.database.write() as session:
        add_upload(session, stored.key, stored.digest, stored.size, filename, utcnow() + timedelta(hours=1))
    assert stored.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    return stored.digest


def test_files_that_were_sent_before_are_named_by_their_digest(context: Context, submit: Submit) -> None:
    card, cheque = sent_alone(context, png(1), "card.png"), sent_alone(context, png(2), "cheque.png")
    rows = [("1", cheque, card), ("2", "0.png", f"{card}|{cheque}")]
    job = submit(context, batch_of(*rows, images={"0.png": png(0)}))
    take_in(context, job.public_id)
    score_waiting(context)
    now = reload(context.database, job)
    assert (now.state, now.done, now.unscorable) == ("succeeded", 2, 0)
    with context.database.read() as session:
        found = session.execute(sa.select(Upload.filename, Region.entry, Region.digest).join(Region)).all()
    assert sorted(row[:2] for row in found) == [
        ("batch.zip", "0.png"),
        ("card.png", "card.png"),
        ("cheque.png", "cheque.png"),
    ]
    assert {row.digest for row in found} == {pixel_digest(decode(png(seed))) for seed in range(3)}


def test_a_file_that_a_manifest_names_is_kept(context: Context, submit: Submit) -> None:
    card, cheque = sent_alone(context, png(1), "card.png"), sent_alone(context, png(2), "cheque.png")
    take_in(context, submit(context, batch_of(("1", "0.png", card), images={"0.png": png(0)})).public_id)
    with context.database.write() as session:
        later = sa.update(Upload).where(Upload.expires_at.is_not(None)).values(expires_at=utcnow())
        session.execute(later)
    assert remove_expired(context.database, context.store) == 1
    with context.database.read() as session:
        left = set(session.scalars(sa.select(Upload.digest)))
    assert card in left
    assert cheque not in left


def test_a_file_that_expires_after_it_was_looked_up_costs_its_row_only(context: Context, submit: Submit) -> None:
    archive = batch_of(("1", "0.png", "1.png"), images={"0.png": png(0), "1.png": png(1)})
    job = submit(context, archive)
    card = sent_alone(context, png(2), "card.png")
    rows = [
        Row(line, str(line), questioned=ImageRef("0.png"), references=(ImageRef(name),))
        for line, name in ((2, "1.png"), (3, card))
    ]
    assert job.upload_id is not None
    naming = Naming(Archive(io.BytesIO(archive), archive_limits(context.settings)), "", job.upload_id)
    with context.database.read() as session:
        checked = naming.look_up(session, rows)
    with context.database.write() as session:
        session.execute(sa.update(Upload).where(Upload.digest == card).values(expires_at=utcnow()))
    assert remove_expired(context.database, context.store) == 1
    with context.database.write() as session:
        held = naming.hold(session, checked)
        regions = naming.add_regions(session, held)
    assert [row.fault and row.fault.code for row in held] == [None, "file_unknown"]
    assert set(regions) == {ref.name for row in held[:1] for ref in images_of(row)}


def test_images_that_were_scored_before_are_named_by_their_pixels(context: Context, submit: Submit) -> None:
    first = submit(context, batch_of(("1", "0.png", "1.png"), images={"0.png": png(0), "1.png": png(1)}))
    take_in(context, first.public_id)
    score_waiting(context)
    digests = [pixel_digest(decode(png(seed))) for seed in range(2)]
    again = submit(context, batch_of(("1", *digests), ("2", *digests[::-1]), images={}))
    take_in(context, again.public_id)
    score_waiting(context)
    assert reload(context.database, again).done == 2
    with context.database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Region)) == 2  # those of the first job
        query = sa.select(Comparison.questioned_id, ReferenceSet.members).join(ReferenceSet)
        rows = session.execute(query.where(Comparison.job_id == again.id).order_by(Comparison.ordinal)).all()
    assert [(int(row.members), row.questioned_id) for row in rows] == [(row[0], int(row[1])) for row in rows[::-1]]


def test_a_digest_that_stands_for_nothing_costs_its_row_only(context: Context, submit: Submit) -> None:
    card = sent_alone(context, png(1), "card.png")
    known = pixel_digest(decode(png(1)))
    rows = [("1", card, UNKNOWN, ""), ("2", "0.png", card, 2), ("3", "0.png", card, ""), ("4", "sha256:12", card, "")]
    job = submit(context, batch_of(*rows, images={"0.png": png(0)}, heading=PAGED))
    take_in(context, job.public_id)
    score_waiting(context)
    assert [answer[2] for answer in results_of(context.database, job)] == [
        "file_unknown",
        "page_missing",
        None,
        "image_missing",
    ]
    job = submit(context, batch_of(("1", card, known, 2), ("2", card, known, 1), images={}, heading=PAGED))
    take_in(context, job.public_id)
    score_waiting(context)
    codes = [answer[2] for answer in results_of(context.database, job)]
    assert codes == ["row_invalid", "identical"]
