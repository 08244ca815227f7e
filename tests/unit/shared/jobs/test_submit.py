from __future__ import annotations

import pytest
import sqlalchemy as sa

from shared.config import Settings
from shared.db import Database
from shared.errors import CountersignError
from shared.jobs.submit import Sent, Submissions
from shared.queue import QueueNames, TaskNames
from shared.specs import TrainSpec, VerifySpec
from shared.storage import FolderStore
from shared.tables import AuditEvent, Chunk, Comparison, Job, JobState, ModelVersion, ReferenceSet, Region, Upload
from tests.factories import Doorbells, batch_of, png, stored_upload, unbacked_model, zip_of


@pytest.fixture
def submissions(settings: Settings, database: Database, store: FolderStore, doorbell: Doorbells) -> Submissions:
    return Submissions(settings, database, store, doorbell)


def sent(store: FolderStore, content: bytes, name: str = "batch.zip") -> Sent:
    return Sent(stored_upload(store, content, name.replace(".", "-")), name)


def count(database: Database, table: type) -> int:
    with database.read() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_a_batch_is_committed_before_it_is_rung_for(
    submissions: Submissions, database: Database, store: FolderStore, doorbell: Doorbells
) -> None:
    model = unbacked_model(database)
    batch = batch_of(("1", "a.png", "b.png"), images={"a.png": png(), "b.png": png(1)})
    job = submissions.verify_batch(sent(store, batch), VerifySpec(), None)
    assert doorbell.rung == [(TaskNames.INTAKE, (job.public_id,), None)]
    with database.read() as session:
        found = session.scalars(sa.select(Job)).one()
        assert (found.state, found.kind, found.model_id, found.label) == (
            JobState.QUEUED,
            "verify",
            model.id,
            "batch.zip",
        )
        upload = session.get_one(Upload, found.upload_id)
        assert (upload.filename, upload.size) == ("batch.zip", len(batch))
        assert upload.digest.startswith("sha256:")
        assert session.scalars(sa.select(AuditEvent.action)).all() == ["job.submit"]


def test_a_batch_that_cannot_be_used_writes_nothing(
    submissions: Submissions, database: Database, store: FolderStore, doorbell: Doorbells
) -> None:
    unbacked_model(database)
    with pytest.raises(CountersignError) as caught:
        submissions.verify_batch(sent(store, zip_of({"a.png": png()})), VerifySpec(), None)
    assert caught.value.code == "manifest_missing"
    assert [count(database, table) for table in (Job, Upload, AuditEvent)] == [0, 0, 0]
    assert doorbell.rung == []


@pytest.mark.parametrize(("name", "code"), [("nobody", "model_unknown"), (None, "model_none")])
def test_a_model_that_is_not_there_writes_nothing(
    submissions: Submissions, database: Database, store: FolderStore, doorbell: Doorbells, name: str | None, code: str
) -> None:
    batch = batch_of(("1", "a.png", "b.png"), images={"a.png": png(), "b.png": png(1)})
    with pytest.raises(CountersignError) as caught:
        submissions.verify_batch(sent(store, batch), VerifySpec(model=name), None)
    assert caught.value.code == code
    with pytest.raises(CountersignError):
        submissions.verify_pair(sent(store, png(), "q"), [sent(store, png(), "r")], VerifySpec(model=name), None)
    assert [count(database, table) for table in (Job, Upload, Region)] == [0, 0, 0]
    assert doorbell.rung == []


def test_a_pair_needs_no_intake(
    submissions: Submissions, database: Database, store: FolderStore, doorbell: Doorbells
) -> None:
    unbacked_model(database)
    references = [sent(store, png(number), f"r{number}.png") for number in (1, 2)]
    job = submissions.verify_pair(sent(store, png(), "q.png"), references, VerifySpec(), None)
    assert doorbell.rung == [(TaskNames.SCORE, (job.public_id,), QueueNames.INTERACTIVE)]
    assert (job.total, job.chunks_left, job.intake_done) == (1, 1, True)
    assert job.label == "q.png against r1.png"
    with database.read() as session:
        regions = {region.id: region.entry for region in session.scalars(sa.select(Region))}
        members = session.scalars(sa.select(ReferenceSet.members)).one()
        assert [regions[int(member)] for member in members.split(",")] == ["r1.png", "r2.png"]
        comparison = session.scalars(sa.select(Comparison)).one()
        assert regions[comparison.questioned_id or 0] == "q.png"
        assert session.scalars(sa.select(Chunk.priority)).one() == 0


@pytest.mark.parametrize(("number", "code"), [(0, "reference_missing"), (65, "reference_too_many")])
def test_the_number_of_references(
    submissions: Submissions, database: Database, store: FolderStore, number: int, code: str
) -> None:
    unbacked_model(database)
    with pytest.raises(CountersignError) as caught:
        submissions.verify_pair(sent(store, png(), "q"), [sent(store, png(), "r")] * number, VerifySpec(), None)
    assert caught.value.code == code
    assert count(database, Job) == 0


def test_a_training(submissions: Submissions, database: Database, store: FolderStore, doorbell: Doorbells) -> None:
    job = submissions.on_archive(sent(store, zip_of({"a/genuine/1.png": png()})), TrainSpec(epochs=7), None, "mine")
    assert doorbell.rung == [(TaskNames.TRAIN, (job.public_id,), None)]
    assert (job.total, job.label, job.spec["epochs"]) == (7, "mine", 7)


def seed_model(database: Database) -> None:
    """The model ``paper``, of another network than the default."""
    model = unbacked_model(database, summary={"recipe": {"loss": "triplet", "similarity": "cosine"}})
    with database.write() as session:
        session.get_one(ModelVersion, model.id).network = "seed"


def test_a_training_that_begins_with_a_model_names_its_version_and_takes_over_its_recipe(
    submissions: Submissions, database: Database, store: FolderStore
) -> None:
    seed_model(database)
    archive = zip_of({"a/genuine/1.png": png()})
    spec = TrainSpec(from_model="paper", similarity="euclidean", margin=1.5)
    job = submissions.on_archive(sent(store, archive), spec, None)
    told = {name: job.spec[name] for name in ("from_model", "network", "loss", "similarity", "margin")}
    assert told == {
        "from_model": "paper@1",
        "network": "seed",
        "loss": "triplet",
        "similarity": "euclidean",
        "margin": 1.5,
    }


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"from_model": "gone"}, "model_unknown"),
        ({"from_model": "paper", "network": "conv4"}, "model_other_network"),
        ({"from_model": "paper", "channels": 3, "preset": "photo"}, None),
        ({"from_model": "paper", "network": "seed"}, None),
    ],
)
def test_a_model_to_begin_with_must_be_there_and_of_the_network_asked_for(
    submissions: Submissions, database: Database, store: FolderStore, fields: dict[str, object], code: str | None
) -> None:
    seed_model(database)
    archive = sent(store, zip_of({"a/genuine/1.png": png()}))
    if code is None:
        assert submissions.on_archive(archive, TrainSpec.model_validate(fields), None).spec["network"] == "seed"
        return
    with pytest.raises(CountersignError) as caught:
        submissions.on_archive(archive, TrainSpec.model_validate(fields), None)
    assert caught.value.code == code
    assert count(database, Job) == 0


def test_a_training_set_that_is_no_archive(submissions: Submissions, database: Database, store: FolderStore) -> None:
    with pytest.raises(CountersignError) as caught:
        submissions.on_archive(sent(store, png()), TrainSpec(), None)
    assert caught.value.code == "archive_not_zip"
    assert count(database, Job) == 0


def test_a_doorbell_that_fails_after_the_commit_loses_nothing(
    submissions: Submissions, database: Database, store: FolderStore, doorbell: Doorbells
) -> None:
    doorbell.deaf = True
    job = submissions.on_archive(sent(store, zip_of({"a/genuine/1.png": png()})), TrainSpec(), None)
    with database.read() as session:
        assert session.get_one(Job, job.id).state == JobState.QUEUED


def test_long_and_odd_names_are_kept_as_far_as_they_fit(
    submissions: Submissions, database: Database, store: FolderStore
) -> None:
    unbacked_model(database)
    questioned = Sent(stored_upload(store, png(), "q"), "n\0ul" + "ä" * 300)
    reference = Sent(stored_upload(store, png(), "r"), "r.png")
    job = submissions.verify_pair(questioned, [reference], VerifySpec(), None, "la\0bel" + "x" * 300)
    with database.read() as session:
        found = session.get_one(Job, job.id)
        assert found.label == ("label" + "x" * 300)[:255]
        assert set(session.scalars(sa.select(Upload.filename))) == {("nul" + "ä" * 300)[:255], "r.png"}
