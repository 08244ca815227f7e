from __future__ import annotations

import base64
import hashlib
from typing import Any

import sqlalchemy as sa
from werkzeug.test import TestResponse

from shared.db import Database
from shared.storage import FolderStore
from shared.tables import AuditEvent
from tests.factories import ModelFile, batch_of, png, register_model, unbacked_model
from tests.unit.web.conftest import Caller


def upload(
    caller: Caller, content: bytes, announced: bytes | None = None, query: str = "", key: str | None = None
) -> TestResponse:
    digest = base64.b64encode(hashlib.sha256(announced or content).digest()).decode()
    headers = {"Content-Digest": f"sha-256=:{digest}:"} | ({"Idempotency-Key": key} if key else {})
    return caller.post(f"/models{query}", data=content, headers=headers)


def verify(caller: Caller, model: str) -> Any:
    archive = batch_of(("1", "a.png", "b.png"), images={"a.png": png(1), "b.png": png(2)})
    return caller.submit(archive=archive, model=model).get_json()


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


def test_a_file_goes_out_and_comes_in_again(
    caller: Caller, database: Database, store: FolderStore, tiny_model: ModelFile
) -> None:
    made = register_model(database, store, tiny_model)
    answer = caller.get("/models/tiny/file")
    assert f"sha256:{hashlib.sha256(answer.data).hexdigest()}" == made.digest
    known = upload(caller, answer.data)
    assert (known.status_code, known.get_json()["code"]) == (409, "model_known")
    assert "tiny@1" in known.get_json()["detail"]
    caller.delete("/models/tiny")
    taken = upload(caller, answer.data, query="?name=brought")
    assert taken.status_code == 201
    assert taken.headers["Location"].endswith("/models/brought@1")
    assert (taken.get_json()["digest"], taken.get_json()["network"]) == (made.digest, "compact")
    assert caller.get("/models/brought/file").data == answer.data


def test_a_file_that_is_sent_again_under_its_key_is_registered_once(
    caller: Caller, database: Database, store: FolderStore, tiny_model: ModelFile
) -> None:
    key = "file-1"
    first, again = (upload(caller, tiny_model.content, key=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.get_json() == first.get_json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert upload(caller, tiny_model.content[:-1], key=key).get_json()["code"] == "idempotency_key_reused"
    assert len(caller.get("/models").get_json()["models"]) == 1


def test_an_upload_that_cannot_be_used_leaves_nothing(
    caller: Caller, store: FolderStore, tiny_model: ModelFile
) -> None:
    tries = (
        (upload(caller, b"\x80\x04K\x01."), "model_file_invalid"),
        (upload(caller, tiny_model.content[:-1], tiny_model.content), "digest_mismatch"),
        (upload(caller, tiny_model.content, query="?name=default"), "parameter_invalid"),
        (caller.post("/models", data=tiny_model.content), "digest_missing"),
    )
    assert [(answer.status_code, answer.get_json()["code"]) for answer, _ in tries] == [
        (422, code) for _, code in tries
    ]
    assert list(store.root.glob("models/*")) == []
    assert caller.get("/models").get_json()["models"] == []


def test_a_job_may_name_an_alias_and_records_the_version(caller: Caller, database: Database) -> None:
    unbacked_model(database, "a")
    unbacked_model(database, "b")
    assert caller.post("/models/b/candidate").get_json()["aliases"] == ["candidate"]
    job = verify(caller, "candidate")
    assert (job["model"], job["spec"]["model"]) == ("b@1", "candidate")
    assert verify(caller, "default")["model"] == "a@1"
    assert caller.post("/models/candidate/default?note=halves").get_json()["aliases"] == ["default"]
    assert verify(caller, "candidate")["code"] == "model_unknown"
    assert caller.get(f"/jobs/{job['id']}").get_json()["model"] == "b@1"
    assert caller.post("/models/a/candidate").status_code == 200
    assert caller.delete("/models/a/candidate").get_json()["aliases"] == []


def test_an_archived_model_takes_no_new_jobs(caller: Caller, database: Database) -> None:
    unbacked_model(database, "a")
    unbacked_model(database, "b")
    assert caller.post("/models/a/archive").get_json()["code"] == "model_is_default"
    assert caller.post("/models/b/archive").get_json()["archived_at"]
    assert verify(caller, "b")["code"] == "model_archived"
    assert caller.post("/models/b/default").status_code == 409
    assert [model["label"] for model in caller.get("/models").get_json()["models"]] == ["a@1"]
    page = caller.get("/models?archived=true&limit=1").get_json()
    rest = caller.get(page["links"]["next"].removeprefix("/api/v1")).get_json()
    assert [model["label"] for model in page["models"] + rest["models"]] == ["b@1", "a@1"]
    assert rest["next"] is None
    assert len(caller.get("/models?archived=true").get_json()["models"]) == 2
    assert caller.get("/models/b/card").status_code == 200
    assert caller.post("/models/b/unarchive").get_json()["archived_at"] is None
    assert verify(caller, "b")["model"] == "b@1"
    with database.read() as session:
        actions = session.scalars(sa.select(AuditEvent.action).where(AuditEvent.subject == "b@1")).all()
    assert actions == ["model.archive", "model.unarchive"]
