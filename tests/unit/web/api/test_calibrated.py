"""Ratios and cards by the API."""

from __future__ import annotations

import csv
import io

import sqlalchemy as sa

from shared.db import Database
from shared.jobs.chunks import claim_chunks, record
from shared.specs import TrainSpec
from shared.tables import ModelVersion
from tests.factories import batch_job, calibration, scores, unbacked_model
from tests.unit.web.conftest import Caller


def scored(database: Database, generated: bool) -> str:
    """The address of the results of a job that a calibrated model judged."""
    summary = {"calibration": calibration("random", generated).model_dump(mode="json")}
    job = batch_job(database, unbacked_model(database, summary=summary), 1, 1)
    claim = claim_chunks(database, "w", 30, 10)
    assert claim is not None
    found = scores(claim)
    for row in found.results:
        row |= {"llr": 1.25, "scale": "llr", "accept_from": 0.5, "reject_below": -0.5}
    record(database, claim, found)
    return f"/jobs/{job.public_id}/results"


def test_an_answer_carries_its_ratio_and_the_rule_that_judged_it(caller: Caller, database: Database) -> None:
    (answer,) = caller.get(scored(database, generated=False)).get_json()["results"]
    assert (answer["llr"], answer["scale"], answer["accept_from"], answer["reject_below"]) == (1.25, "llr", 0.5, -0.5)
    assert (answer["forgeries"], answer["calibrated_on"], answer["distance"]) == ("random", None, 0.5)
    assert caller.get("/jobs").get_json()["jobs"][0]["calibrated_on"] is None


def test_answers_say_that_the_calibration_was_on_generated_signatures(caller: Caller, database: Database) -> None:
    address = scored(database, generated=True)
    assert caller.get(address).get_json()["results"][0]["calibrated_on"] == "generated signatures"
    assert caller.get(address.removesuffix("/results")).get_json()["calibrated_on"] == "generated signatures"
    (row,) = csv.DictReader(io.StringIO(caller.get(f"{address}?format=csv").text))
    assert list(row)[-13:-6] == ["line", "llr", "scale", "accept_from", "reject_below", "forgeries", "calibrated_on"]
    assert list(row.values())[-12:-6] == ["1.25", "llr", "0.5", "-0.5", "random", "generated signatures"]


def test_answers_by_distance_have_empty_places(caller: Caller, database: Database) -> None:
    job = batch_job(database, unbacked_model(database), 1, 1)
    claim = claim_chunks(database, "w", 30, 10)
    assert claim is not None
    record(database, claim, scores(claim))
    (answer,) = caller.get(f"/jobs/{job.public_id}/results").get_json()["results"]
    assert [answer[name] for name in ("llr", "accept_from", "forgeries", "calibrated_on")] == [None] * 4


def test_the_card_of_a_model(caller: Caller, database: Database) -> None:
    unbacked_model(database)
    link = caller.get("/models/paper").get_json()["links"]["card"]
    card = caller.get(link.removeprefix("/api/v1"))
    assert (card.mimetype, card.text.splitlines()[0]) == ("text/markdown", "# Model card: paper@1")
    missing = caller.get("/models/none/card")
    assert (missing.status_code, missing.get_json()["code"]) == (404, "model_unknown")


def test_a_card_tells_what_was_of_use_and_that_few_writers_calibrate_badly(caller: Caller, database: Database) -> None:
    recipe = TrainSpec(ink="binary").model_dump(mode="json")
    summary = {"calibration": calibration().model_dump(mode="json"), "recipe": recipe}
    unbacked_model(database, summary=summary)
    with_descent = caller.get("/models/paper/card").text
    with database.write() as session:
        session.execute(sa.update(ModelVersion).values(network="ink"))
    solved = caller.get("/models/paper/card").text
    assert "- Learning rate: 0.001" in with_descent
    assert "Learning rate" not in solved
    assert "- Ink: binary" in solved
    assert "- Calibrated on 3 writers only" in solved
