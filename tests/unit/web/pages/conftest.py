"""A browser without JavaScript, logged in or not, and a few rows to look at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import CombinedMultiDict
from werkzeug.test import EnvironBuilder, TestResponse, encode_multipart

from shared.db import Database, insert_ignore, utcnow
from shared.tables import Comparison, Job, Person, ReferenceSet, Region, Result, Upload
from shared.tables.base import public_id
from web.people import ADMIN, FirstCredentials, create_key

TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
FIRST_PASSWORD = "one-time-password"
OWN_PASSWORD = "a password of my own"


@dataclass(slots=True)
class Browser:
    """Sends forms as a browser does: with the token that a page of this session carried."""

    client: FlaskClient

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(path, buffered=True, **options)  # buffered: files that are sent get closed

    def text(self, path: str) -> str:
        response = self.get(path)
        assert response.status_code == 200, response.text
        return response.text

    def post(self, path: str, page: str = "/account", **fields: Any) -> TestResponse:
        found = TOKEN.search(self.get(page).text)
        assert found is not None, f"{page} carries no token"
        data = {"csrf_token": found[1], **fields}
        builder = EnvironBuilder(method="POST", data=data)
        if not builder.files:
            return self.client.post(path, data=data)
        # Encoded here: the client itself would leave its temporary file of a large form open.
        boundary, body = encode_multipart(CombinedMultiDict([builder.form, builder.files]))
        builder.close()
        return self.client.post(path, data=body, content_type=f'multipart/form-data; boundary="{boundary}"')

    def log_in(self, name: str, password: str) -> TestResponse:
        return self.post("/login", page="/login", name=name, password=password)


@pytest.fixture(scope="session")
def first_hash() -> str:
    """The hash of ``FIRST_PASSWORD``, computed once: it is slow by design."""
    return PasswordHasher().hash(FIRST_PASSWORD)


@pytest.fixture
def first(sqlite_database: Database, first_hash: str) -> FirstCredentials:
    """The administrator as the first start makes it, the one-time password not changed yet."""
    person = Person(
        name=ADMIN, password_hash=first_hash, must_change_password=True, session_stamp="1", created_at=utcnow()
    )
    with sqlite_database.write() as session:
        session.add(person)
        session.flush()
        return FirstCredentials(ADMIN, FIRST_PASSWORD, create_key(session, person.id, "first key"))


@pytest.fixture
def stranger(sqlite_app: Flask) -> Browser:
    """A browser that is not logged in."""
    return Browser(sqlite_app.test_client())


@pytest.fixture
def browser(sqlite_app: Flask, sqlite_database: Database, first: FirstCredentials) -> Browser:
    """A browser in which the administrator is logged in, the password changed."""
    with sqlite_database.write() as session:
        session.execute(sa.update(Person).values(must_change_password=False))
    client = sqlite_app.test_client()
    with client.session_transaction() as cookie:
        cookie["person"], cookie["stamp"] = 1, "1"
    return Browser(client)


def add_job(database: Database, **values: Any) -> Job:
    """A job as it stands in the table."""
    defaults: dict[str, Any] = {
        "public_id": public_id("job"),
        "kind": "verify",
        "state": "succeeded",
        "spec": {},
        "created_at": utcnow(),
    }
    job = Job(**(defaults | values))
    with database.write() as session:
        session.add(job)
    return job


def add_results(database: Database, job: Job, verdicts: list[str], **values: Any) -> None:
    """Comparisons of one questioned image with one reference, with these verdicts in order; ``values`` of results."""
    with database.write() as session:
        upload = Upload(
            public_id=job.public_id, blob="uploads/a", digest="sha256:0", size=1, filename="a", created_at=utcnow()
        )
        session.add(upload)
        session.flush()
        regions = [
            Region(upload_id=upload.id, name=f"{name}#1", entry=name, width=90, height=40)
            for name in ("<q>.png", "r.png")
        ]
        session.add_all(regions)
        session.flush()
        references = ReferenceSet(job_id=job.id, members=str(regions[1].id))
        session.add(references)
        session.flush()
        rows = list(enumerate(verdicts, 1))
        comparison = {"job_id": job.id, "questioned_id": regions[0].id, "reference_set_id": references.id}
        insert_ignore(
            session,
            Comparison,
            [comparison | {"ordinal": n, "external_id": f"row-{n}", "line": n + 1} for n, _ in rows],
        )
        result = {"job_id": job.id, "distance": 0.25, "distances": [0.25], "nearest": 0, "threshold": 0.5} | values
        insert_ignore(session, Result, [result | {"ordinal": n, "verdict": verdict} for n, verdict in rows])
