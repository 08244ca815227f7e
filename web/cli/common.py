"""What the commands share: options, the connection, and how a job that was submitted is followed."""

from __future__ import annotations

from typing import Any

import click
from pydantic import BaseModel

from shared.config import ClientSettings
from web.cli import output
from web.client import Client, Document, find_server

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
wait_option = click.option("--wait", is_flag=True, help="Show progress until the job ends; exit 1 unless it succeeds.")


def connect() -> Client:
    """A client of the server that the environment, or the embedded stack, names."""
    settings = ClientSettings()
    return Client(*find_server(settings.url, settings.api_key, settings.home))


def follow(client: Client, job: Document, wait: bool, as_json: bool) -> bool:
    """Print the job, at once or when it has ended; False when it ended badly."""
    if wait:
        job = output.watch(client.watch(job["id"]), quiet=as_json)
    output.show_job(job, as_json)
    return not wait or job["state"] == "succeeded"


def describe_options(command: click.Command, spec: type[BaseModel]) -> None:
    """Have the help of ``command`` say what the specification says: one definition."""
    for parameter in command.params:
        field = spec.model_fields.get(parameter.name or "")
        if isinstance(parameter, click.Option) and field is not None and not parameter.help:
            default = "" if field.default is None or field.default == "" else f" [{field.default}]"
            parameter.help = f"{field.description}{default}"


def filled(options: dict[str, Any]) -> dict[str, str]:
    """The options that were given, as the fields of a form."""
    return {name: str(value) for name, value in options.items() if value is not None and value is not False}
