"""Trainings whose model comes out calibrated, and those that are too small for it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from shared.calibration import calibration_of
from shared.jobs.submit import Sent
from shared.specs import VerifySpec
from shared.tables import JobState, ModelVersion
from tests.factories import batch_of, reload, results_of, stored_upload, training_files
from tests.unit.worker.conftest import submissions, submit_training
from worker.context import Context
from worker.intake import take_in
from worker.ml.checkpoint import load_model
from worker.training import train_job
from worker.verification import score_waiting

FILES = training_files(writers=6, genuine=4, forged=2)
SHARES = {"epochs": 1, "validation_share": 0.2, "calibration_share": 0.5}


def trained(context: Context, files: dict[str, bytes], **fields: object) -> ModelVersion:
    job = submit_training(context, files, **fields)
    train_job(context, job.public_id)
    assert reload(context.database, job).state == JobState.SUCCEEDED
    with context.database.read() as session:
        return session.scalars(sa.select(ModelVersion).order_by(ModelVersion.id.desc()).limit(1)).one()


def test_a_training_keeps_writers_to_calibrate_its_model(sqlite_context: Context) -> None:
    context = sqlite_context
    model = trained(context, FILES, **SHARES, generated=True, target_far=0.05)
    found, data = calibration_of(model.summary), model.summary["data"]
    assert found is not None
    sides = [data[f"{side}_writers"] for side in ("training", "validation", "calibration")]
    assert [len(side) for side in sides] == [2, 1, 3]
    assert sorted(name for side in sides for name in side) == [f"writer_{n}" for n in range(6)]
    assert (found.writers, found.data, found.population) == (sides[2], data["digest"], "skilled")
    assert (found.generated, found.target_far, found.images) == (True, 0.05, 18)
    with context.store.open(model.blob) as file:
        _, meta = load_model(file.read())
    assert meta.calibration == found
    assert meta.summary == model.summary
    assert "calibration" not in meta.training


def test_its_answers_carry_ratios(sqlite_context: Context) -> None:
    context = sqlite_context
    model = trained(context, FILES, **SHARES, make_default=True)
    names = [f"writer_0/genuine/{n}.png" for n in range(3)]
    references = "|".join(names[1:])
    batch = batch_of(("1", names[0], references), images={name: FILES[name] for name in names})
    sent = Sent(stored_upload(context.store, batch, "batch"), "batch.zip")  # type: ignore[arg-type]  # a FolderStore here
    job = submissions(context).verify_batch(sent, VerifySpec(), None)
    take_in(context, job.public_id)
    score_waiting(context)
    with context.database.read() as session:
        row = session.execute(sa.text("SELECT llr, scale, accept_from, reject_below FROM results")).one()
    found = calibration_of(model.summary)
    assert found is not None
    pair = found.of_size(2)
    assert (row.scale, row.accept_from, row.reject_below) == ("llr", pair.bands.accept_from, pair.bands.reject_below)
    assert pair.lowest <= row.llr <= pair.highest
    ((_, verdict, _),) = results_of(context.database, job)
    assert verdict == ("accept" if row.llr >= row.accept_from else "reject" if row.llr < row.reject_below else "review")


@pytest.mark.parametrize(
    ("fields", "words"),
    [({}, "so few writers all are needed"), ({"calibration_share": 0}, "no share of the writers was kept")],
)
def test_without_writers_for_it_the_model_judges_by_distance(
    sqlite_context: Context, fields: dict[str, object], words: str
) -> None:
    files = {name: content for name, content in FILES.items() if name[:8] in ("writer_0", "writer_1", "writer_2")}
    model = trained(sqlite_context, files, epochs=1, **fields)
    assert calibration_of(model.summary) is None
    assert words in model.summary["calibration_note"]
    assert model.summary["data"]["calibration_writers"] == []


def test_writers_with_too_few_signatures_leave_it_uncalibrated(sqlite_context: Context) -> None:
    model = trained(sqlite_context, FILES, **SHARES)
    kept = model.summary["data"]["calibration_writers"][0]
    files = {
        name: content
        for name, content in FILES.items()
        if not name.startswith(f"{kept}/genuine/") or name.endswith("/0.png")
    }
    poor = trained(sqlite_context, files, **SHARES)
    assert calibration_of(poor.summary) is None
    assert "Calibration needs 3 writers" in poor.summary["calibration_note"]


def test_without_forgeries_the_note_says_what_a_ratio_is_against(sqlite_context: Context) -> None:
    files = {name: content for name, content in FILES.items() if "/genuine/" in name}
    model = trained(sqlite_context, files, **SHARES)
    found = calibration_of(model.summary)
    assert found is not None
    assert found.population == "random"
    assert "other writers' own signatures" in model.summary["calibration_note"]
