from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from shared.jobs.files import file_key, list_files
from shared.jobs.lifecycle import request_cancel
from shared.jobs.queries import get_job
from shared.specs import EvaluateSpec, InkName
from shared.tables import Job, JobState, ModelVersion
from tests.factories import (
    ModelFile,
    calibration,
    drawing,
    encoded,
    make_model_file,
    png,
    register_model,
    reload,
    training_files,
    zip_of,
)
from tests.unit.worker.conftest import send, submissions
from web.measured import evaluated
from worker import solo
from worker.context import Context
from worker.digests import keep, pack, summary_of
from worker.evaluation import evaluate_job
from worker.ml.images import decode, pixel_digest
from worker.ml.shortcuts import STATISTICS

FILES = training_files(writers=3, genuine=4, forged=2, seed=8)


@pytest.fixture(autouse=True)
def ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solo, "ASK_SECONDS", -1.0)


INKS: tuple[InkName, ...] = ("grey", "binary")


def submit_evaluation(
    context: Context, model: ModelFile, files: dict[str, bytes], summary: dict[str, Any] | None = None, **fields: object
) -> Job:
    registered = register_model(context.database, context.store, replace(model, name="tiny"))  # type: ignore[arg-type]  # a FolderStore here
    if summary is not None:
        with context.database.write() as session:
            session.get_one(ModelVersion, registered.id).summary = summary
    spec = EvaluateSpec.model_validate({"model": "tiny", "references": 2} | fields)
    return submissions(context).on_archive(send(context, zip_of(dict(files)), "set.zip"), spec, None)


def read(context: Context, job: Job, name: str) -> str:
    with context.store.open(file_key(job.public_id, name)) as file:
        return file.read().decode()


def paler(seed: int) -> bytes:
    """A drawing in paler ink."""
    return encoded(drawing(seed).point(lambda level: 90 if level < 60 else level))


def digests_of(files: dict[str, bytes]) -> list[str]:
    return [pixel_digest(decode(content)) for content in files.values()]


def test_a_report_comes_out(context: Context, tiny_model: ModelFile) -> None:
    job = submit_evaluation(context, tiny_model, FILES)
    evaluate_job(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.error_code, now.phase) == (JobState.SUCCEEDED, None, "")
    report = json.loads(read(context, job, "report.json"))
    for protocol, forged in (
        ("pair", {"skilled": 3 * 4 * 2, "random": 3 * 16}),
        ("refs2", {"skilled": 6, "random": 12}),
    ):
        for kind, count in forged.items():
            found = report[protocol][kind]
            assert found["forged"] == count
            assert 0 <= found["eer_low"] <= found["eer"] <= found["eer_high"] <= 1
            assert (found["cllr"], 0 <= found["cllr_min"] <= 1) == (None, True)
    assert set(report["floor"]) == set(STATISTICS)
    assert all(0 <= row["auc"] <= 1 for row in report["floor"].values())
    assert report["cllr"] is None
    assert "not calibrated" in report["cllr_note"]
    assert (report["model"]["label"], report["protocol"], report["seed"]) == ("tiny@1", "grey-ink", 1)
    assert report["writers"] == ["writer_0", "writer_1", "writer_2"]
    assert now.report["headline"]["pair"]["skilled"]["eer"] == report["pair"]["skilled"]["eer"]
    assert {file.name for file in list_files(now)} == {
        "report.json", "report.html", "det.svg", "pairs.csv", "sets.csv", "det.csv", "histograms.csv", "writers.csv",
    }  # fmt: skip
    assert list((context.settings.home / "training").iterdir()) == []


def test_the_tables_hold_every_comparison(sqlite_context: Context, tiny_model: ModelFile) -> None:
    job = submit_evaluation(sqlite_context, tiny_model, FILES)
    evaluate_job(sqlite_context, job.public_id)
    counts = json.loads(read(sqlite_context, job, "report.json"))["counts"]
    for name, key in (("pairs.csv", "pairs"), ("sets.csv", "sets")):
        rows = read(sqlite_context, job, name).splitlines()[1:]
        kinds = [row.partition(",")[0] for row in rows]
        assert {kind: kinds.count(kind) for kind in counts[key]} == counts[key]


def test_the_pages_read_what_it_left(sqlite_context: Context, tiny_model: ModelFile) -> None:
    job = submit_evaluation(sqlite_context, tiny_model, FILES)
    evaluate_job(sqlite_context, job.public_id)
    with sqlite_context.database.read() as session:
        found = evaluated(sqlite_context.store, get_job(session, job.public_id))
    assert found is not None
    assert found.protocols == ["pair", "refs2"]
    assert [(curve.protocol, curve.kind) for curve in found.curves] == [
        (protocol, kind) for protocol in found.protocols for kind in ("skilled", "random")
    ]
    report = json.loads(read(sqlite_context, job, "report.json"))
    for curve in found.curves:
        eer = report[curve.protocol][curve.kind]["eer"]
        both = zip(curve.fars, curve.frrs, strict=True)
        assert all(max(far, frr) > eer - 1e-6 for far, frr in both), "no point is better than that on both sides"
        assert curve.frr_at(1) == 0 < eer - 1e-6 < curve.frr_at(eer - 1e-6)
    for spread in found.spreads:
        kinds = ("genuine", "skilled", "random")
        counts = report["counts"]["pairs" if spread.protocol == "pair" else "sets"]
        assert {kind: sum(one[kind] for one in spread.bins) for kind in kinds} == counts
    assert set(found.floor) == set(STATISTICS)


def test_the_protocols_differ_in_the_floor(sqlite_context: Context, tiny_model: ModelFile) -> None:
    """Once the ink is black, no grey level can tell anything."""
    job = submit_evaluation(sqlite_context, tiny_model, FILES, protocol="binary-ink")
    evaluate_job(sqlite_context, job.public_id)
    floor = json.loads(read(sqlite_context, job, "report.json"))["floor"]
    assert {floor[name]["auc"] for name in ("background_median", "darkest_pixel", "mean_ink")} == {0.5}
    assert floor["mean_ink"]["raw_auc"] != 0.5


def test_a_model_that_does_not_beat_the_floor_is_told_so(sqlite_context: Context, tiny_model: ModelFile) -> None:
    """The forgeries' ink is paler: one number parts them, an untrained network does not."""
    genuine = {f"w{w}/genuine/{k}.png": png(10 * w + k) for w in range(3) for k in range(3)}
    forged = {f"w{w}/forged/{k}.png": paler(10 * w + k) for w in range(3) for k in range(3, 5)}
    job = submit_evaluation(sqlite_context, tiny_model, genuine | forged)
    evaluate_job(sqlite_context, job.public_id)
    report = json.loads(read(sqlite_context, job, "report.json"))
    assert report["floor"]["mean_ink"]["auc"] == 1.0
    assert report["floor_beaten"] is False
    assert report["warnings"][0].startswith("The model does not beat the floor: ")
    assert "mean ink" in report["warnings"][0]
    assert report["warnings"][0] in read(sqlite_context, job, "report.html")


def test_an_image_that_the_model_was_made_with_is_an_error(context: Context, tiny_model: ModelFile) -> None:
    seen = "writer_1/genuine/2.png"
    packed = pack([*digests_of({seen: FILES[seen]}), *digests_of({"other": png(1)})])
    job = submit_evaluation(context, tiny_model, FILES, summary={"images_seen": summary_of(packed)})
    with context.database.read() as session:
        keep(context.store, session.get_one(ModelVersion, job.model_id).digest, packed)
    evaluate_job(context, job.public_id)
    now = reload(context.database, job)
    assert (now.state, now.error_code) == (JobState.FAILED, "leak")
    assert [fault["where"] for fault in now.faults] == [seen]
    assert now.error_message is not None
    assert seen in now.error_message


def test_a_model_with_a_record_of_other_images_is_told_to_be_checked(
    sqlite_context: Context, tiny_model: ModelFile
) -> None:
    context, packed = sqlite_context, pack(digests_of({"other": png(1)}))
    job = submit_evaluation(context, tiny_model, FILES, summary={"images_seen": summary_of(packed)})
    with context.database.read() as session:
        keep(context.store, session.get_one(ModelVersion, job.model_id).digest, packed)
    evaluate_job(context, job.public_id)
    assert json.loads(read(context, job, "report.json"))["leak"] == {"checked": True, "images": 18, "note": ""}


def test_a_model_without_a_record_is_told_not_to_be_checked(sqlite_context: Context, tiny_model: ModelFile) -> None:
    job = submit_evaluation(sqlite_context, tiny_model, FILES)
    evaluate_job(sqlite_context, job.public_id)
    report = json.loads(read(sqlite_context, job, "report.json"))
    assert report["leak"]["checked"] is False
    assert report["leak"]["note"] in report["warnings"]


def test_a_calibrated_model_is_measured_by_its_ratios(sqlite_context: Context, tiny_model: ModelFile) -> None:
    summary = {"calibration": calibration(generated=True).model_dump(mode="json")}
    job = submit_evaluation(sqlite_context, tiny_model, FILES, summary=summary)
    evaluate_job(sqlite_context, job.public_id)
    report = json.loads(read(sqlite_context, job, "report.json"))
    assert report["cllr"] == report["pair"]["skilled"]["cllr"] > 0
    assert report["cllr_note"] == ""
    found = report["refs2"]["skilled"]
    assert (report["refs2"]["score"], found["mean_distance"]["eer"] is not None) == ("llr", True)
    assert sum(found["bands"]["genuine"].values()) == pytest.approx(1)
    assert any("generated signatures" in words for words in report["warnings"])
    assert "Reliability, 2 references" in read(sqlite_context, job, "report.html")


def test_only_the_writers_named_are_measured(sqlite_context: Context, tiny_model: ModelFile) -> None:
    job = submit_evaluation(sqlite_context, tiny_model, FILES, writers="writer_0, writer_2")
    evaluate_job(sqlite_context, job.public_id)
    report = json.loads(read(sqlite_context, job, "report.json"))
    assert report["writers"] == ["writer_0", "writer_2"]
    assert report["counts"]["genuine"] == 8


def test_listed_pairs_are_measured_and_no_others(sqlite_context: Context, tiny_model: ModelFile) -> None:
    rows = [("genuine/1.png", "genuine/2.png", 1), ("genuine/1.png", "forged/1.png", 0)]
    lines = [f"writer_{w}/{one},writer_{w}/{two},{label}" for w in range(3) for one, two, label in rows]
    listed = "\n".join(["first,second,label", *lines])
    job = submit_evaluation(sqlite_context, tiny_model, FILES | {"pairs.csv": listed.encode()})
    evaluate_job(sqlite_context, job.public_id)
    counts = json.loads(read(sqlite_context, job, "report.json"))["counts"]
    assert counts["pairs"] == {"genuine": 3, "skilled": 3, "random": 0}


def test_without_skilled_forgeries_the_random_ones_are_measured(sqlite_context: Context, tiny_model: ModelFile) -> None:
    genuine = {name: content for name, content in FILES.items() if "forged" not in name}
    job = submit_evaluation(sqlite_context, tiny_model, genuine)
    evaluate_job(sqlite_context, job.public_id)
    report = json.loads(read(sqlite_context, job, "report.json"))
    assert report["pair"]["skilled"]["eer"] is None
    assert "no skilled" in report["pair"]["skilled"]["note"]
    assert (report["cllr_of"], report["pair"]["random"]["eer"] is not None) == ("pair.random", True)


def test_sets_that_are_too_small_are_said_to_be(sqlite_context: Context, tiny_model: ModelFile) -> None:
    job = submit_evaluation(sqlite_context, tiny_model, FILES, references=8)
    evaluate_job(sqlite_context, job.public_id)
    report = json.loads(read(sqlite_context, job, "report.json"))
    assert report["refs8"]["skilled"]["eer"] is None
    assert report["counts"]["writers_without_sets"] == 3
    assert any("3 writers have too few genuine signatures" in words for words in report["method"])


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["a/genuine/1.png", "b/genuine/1.png"], "no_genuine_pairs"),
        (["a/genuine/1.png", "a/genuine/2.png"], "no_forged_pairs"),
    ],
)
def test_sets_that_cannot_be_measured(
    sqlite_context: Context, tiny_model: ModelFile, names: list[str], code: str
) -> None:
    job = submit_evaluation(sqlite_context, tiny_model, {name: png(n) for n, name in enumerate(names)})
    evaluate_job(sqlite_context, job.public_id)
    now = reload(sqlite_context.database, job)
    assert (now.state, now.error_code) == (JobState.FAILED, code)
    assert list_files(now) == []


def test_a_cancelled_evaluation_leaves_no_files(sqlite_context: Context, tiny_model: ModelFile) -> None:
    context = sqlite_context
    job = submit_evaluation(context, tiny_model, FILES)

    def cancel_while_encoding() -> bool:
        now = reload(context.database, job)
        if now.phase.startswith("encoding") and now.state == JobState.RUNNING:
            request_cancel(context.database, job.public_id, None)
        return False

    evaluate_job(replace(context, draining=cancel_while_encoding), job.public_id)
    now = reload(context.database, job)
    assert (now.state, list_files(now)) == (JobState.CANCELLED, [])
    assert not context.store.exists(file_key(job.public_id, "report.json"))


def test_a_model_of_binary_ink_is_measured_under_that_protocol(sqlite_context: Context) -> None:
    """Whatever was asked for, so that no floor is held against it that it cannot see."""
    models = {ink: make_model_file("compact", threshold=1.0, ink=ink) for ink in INKS}
    reports = {}
    for ink, model in models.items():
        for protocol in ("grey-ink", "binary-ink"):
            job = submit_evaluation(sqlite_context, model, FILES, protocol=protocol)
            evaluate_job(sqlite_context, job.public_id)
            reports[ink, protocol] = json.loads(read(sqlite_context, job, "report.json"))
    binary, grey = reports["binary", "grey-ink"], reports["grey", "grey-ink"]
    assert (binary["protocol"], grey["protocol"]) == ("binary-ink", "grey-ink")
    for key in ("pair", "refs2", "floor"):
        assert binary[key] == reports["binary", "binary-ink"][key] == reports["grey", "binary-ink"][key] != grey[key]
    told = {key: " ".join(report["method"]) for key, report in reports.items()}
    assert "Asked was grey-ink. The model makes all ink black by itself" in told["binary", "grey-ink"]
    assert "trained and calibrated on grey ink" in told["grey", "binary-ink"]
    assert not any("The model " in told[ink, f"{ink}-ink"] for ink in models)
