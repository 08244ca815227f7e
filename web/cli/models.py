"""``countersign models``: the list of models, one of them, its card and file, and what may be done with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

import click

from web.cli import output
from web.cli.common import connect, json_option
from web.client import Client, Document


@click.group(invoke_without_command=True)
@click.option("--archived", is_flag=True, help="List those as well that were archived.")
@json_option
@click.pass_context
def models(context: click.Context, archived: bool, as_json: bool) -> None:
    """List the models. NAME below is a name, name@version, a digest, or the alias 'default' or 'candidate'."""
    if context.invoked_subcommand is None:
        with connect() as client:
            output.show_models(client.models(archived), as_json)


@models.command()
@click.argument("name")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead.")
@json_option
def card(name: str, out: Path | None, as_json: bool) -> None:
    """Print the card of model NAME in Markdown: data, recipe, figures, calibration, known limits."""
    with connect() as client:
        text = client.card(name)
    if as_json:
        output.print_json({"name": name, "card": text})
    if out is not None or not as_json:
        with click.open_file(str(out or "-"), "w", encoding="utf-8") as target:
            target.write(text)


@models.command()
@click.argument("name")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def download(name: str, path: Path, as_json: bool) -> None:
    """Write the file of model NAME (safetensors) to PATH."""
    part = path.with_name(f"{path.name}.part")
    try:
        with connect() as client, part.open("wb") as target:
            client.model_file(name, target)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)  # of a download that failed
    if as_json:
        output.print_json({"name": name, "path": str(path), "size": path.stat().st_size})


@models.command()
@click.argument("file", type=click.File("rb"), metavar="PATH")
@click.option("--name", help="Name of the model [the one it was trained under].")
@json_option
def upload(file: IO[bytes], name: str | None, as_json: bool) -> None:
    """Register the model file at PATH, as it was downloaded from another server."""
    with connect(quiet=as_json) as client:
        output.show_model(client.upload_model(file, name), as_json)


@models.command()
@click.argument("name")
@click.option("--note", default="", help="Why; kept with who did and when.")
@json_option
def promote(name: str, note: str, as_json: bool) -> None:
    """Have verifications that name no model use model NAME."""
    with connect() as client:
        output.show_model(client.promote(name, note), as_json)


@models.command()
@click.argument("name")
@click.option("--clear", is_flag=True, help="It is to be the candidate no longer.")
@json_option
def candidate(name: str, clear: bool, as_json: bool) -> None:
    """Have jobs mean model NAME where they name 'candidate'."""
    with connect() as client:
        output.show_model(client.drop_candidate(name) if clear else client.make_candidate(name), as_json)


@models.command()
@click.argument("name")
@click.confirmation_option(prompt="Delete it? The results that it gave are kept.")
@json_option
def delete(name: str, as_json: bool) -> None:
    """Delete model NAME; the results that it gave are kept."""
    with connect() as client:
        client.delete_model(name)
    if as_json:
        output.print_json({"name": name, "deleted": True})


def _act(name: str, about: str, do: Callable[[Client, str], Document]) -> None:
    @models.command(name, help=about)
    @click.argument("model", metavar="NAME")
    @json_option
    def command(model: str, as_json: bool) -> None:
        with connect() as client:
            output.show_model(do(client, model), as_json)


_act("archive", "Keep model NAME for reading: no new job may use it.", Client.archive)
_act("unarchive", "Let new jobs use model NAME again.", Client.unarchive)
_act("show", "Print model NAME; with --json all that is known of it.", Client.model)
