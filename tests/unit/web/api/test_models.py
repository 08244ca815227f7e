from __future__ import annotations

import sqlalchemy as sa

from shared.db import Database
from shared.tables import AuditEvent
from tests.factories import unbacked_model
from tests.unit.web.conftest import Caller


def test_list_and_look(caller: Caller, database: Database) -> None:
    unbacked_model(database, "a")
    unbacked_model(database, "b", threshold=0.75)
    found = caller.get("/models").get_json()["models"]
    assert [(model["label"], model["default"]) for model in found] == [("b@1", False), ("a@1", True)]
    assert caller.get("/models/b").get_json() == found[0]
    assert caller.get(found[0]["links"]["self"].removeprefix("/api/v1")).get_json()["threshold"] == 0.75


def test_make_default(caller: Caller, database: Database) -> None:
    unbacked_model(database, "a")
    unbacked_model(database, "b")
    assert caller.post("/models/b/default").get_json()["default"]
    assert not caller.get("/models/a").get_json()["default"]


def test_delete(caller: Caller, database: Database) -> None:
    unbacked_model(database, "a")
    assert caller.delete("/models/a@1").status_code == 204
    answer = caller.get("/models/a")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "model_unknown")
    assert caller.delete("/models/a@1").status_code == 404
    with database.read() as session:
        assert "model.delete" in session.scalars(sa.select(AuditEvent.action)).all()


def test_unknown_names(caller: Caller) -> None:
    for path in ("/models/none", "/models/%00", "/models/a%2Fb"):
        assert caller.get(path).status_code == 404
    assert caller.post("/models/none/default").get_json()["code"] == "model_unknown"
