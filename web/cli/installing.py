"""What has to be there before the first job: tables, the model in the box, the administrator, a key for this host."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict
from pathlib import Path

import click
import sqlalchemy as sa

from shared.boxed import register_boxed
from shared.config import Settings
from shared.db import Database
from shared.storage import open_store
from shared.tables import Person
from web.people import FirstCredentials, create_first_person, create_key


def furnish(settings: Settings, database: Database) -> FirstCredentials | None:
    """Register the model in the box, and make the first person where there is none; the tables are there."""
    register_boxed(database, open_store(settings.storage_url))
    return create_first_person(database)


def show_credentials(first: FirstCredentials | None, as_json: bool = False) -> None:
    """The administrator's password and key, when they were made just now; as JSON null when they were not."""
    if as_json:
        click.echo(json.dumps(asdict(first) if first else None, indent=2))
    elif first:
        click.echo(f"  log in as           {first.name}")
        click.echo(f"  one-time password   {first.password}")
        click.echo(f"  API key             {first.api_key}")
        click.echo("  These are shown this once.")


def keep_credentials(home: Path, url: str, database: Database, first: FirstCredentials | None) -> None:
    """Leave address and key where the command line finds them; readable by the owner only."""
    path = home / "credentials.json"
    if first:
        key = first.api_key
    elif path.exists():
        key = json.loads(path.read_text())["api_key"]
    else:
        with database.write() as session:
            person_id = session.scalars(sa.select(Person.id).order_by(Person.id).limit(1)).one()
            key = create_key(session, person_id, "command line")
    temporary = path.with_suffix(f".{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump({"url": url, "api_key": key}, file)
    temporary.replace(path)
