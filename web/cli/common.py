"""What the commands share: options, the connection, and how a job that was submitted is followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.config import ClientSettings
from shared.specs import JobMarks
from web.cli import output
from web.client import Client, Document, find_server

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
wait_option = click.option("--wait", is_flag=True, help="Show progress until the job ends; exit 1 unless it succeeds.")


def marks_options(command: F) -> F:
    """What a submitter calls its job by."""
    for field, info in reversed(JobMarks.model_fields.items()):
        text = str(info.description)
        command = click.option(f"--{field.replace('_', '-')}", field, help=f"{text[0].upper()}{text[1:]}.")(command)
    return command


@contextmanager
def connect(quiet: bool = True) -> Iterator[Client]:
    """A client of the server that is named; unless ``quiet``, it shows how much of a file is sent.

    Raises:
        NotAuthorised: code ``key_missing``: neither the environment nor an embedded stack names one.
    """
    settings = ClientSettings()
    server = find_server(settings.url, settings.api_key, settings.home)
    with output.sending(quiet) as sent, Client(*server, sent=sent) as client:
        yield client


def follow(client: Client, job: Document, wait: bool, as_json: bool) -> bool:
    """Print the job, at once or when it has ended; False when it ended badly."""
    if wait:
        job = output.watch(client.watch(job["id"]), quiet=as_json)
    output.show_job(job, as_json)
    return not wait or job["state"] == "succeeded"


def spec_options(spec: type[BaseModel], names: Mapping[str, str] = MappingProxyType({})) -> Callable[[F], F]:
    """An option for each field of ``spec``, in its words and with its default; ``names`` has those called otherwise."""

    def decorate(command: F) -> F:
        for field, info in reversed(spec.model_fields.items()):  # click shows the option added last first
            if field != "kind":
                name = names.get(field, f"--{field.replace('_', '-')}")
                command = click.option(name, field, help=_help(info), **_taken(info))(command)
        return command

    return decorate


def _taken(info: FieldInfo) -> dict[str, Any]:
    """What click needs to know of the values of a field."""
    if get_origin(info.annotation) is Literal:
        return {"type": click.Choice([str(value) for value in get_args(info.annotation)])}
    if info.annotation is bool:
        return {"is_flag": True}
    return {"type": info.annotation if info.annotation in (int, float) else str}


def _help(info: FieldInfo) -> str:
    silent = info.default is None or info.default is False or info.default == ""
    return f"{info.description}" if silent else f"{info.description} [{info.default}]"


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
