"""``countersign``: the commands, their options, and what they print."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from shared.config import ClientSettings, load_settings
from shared.errors import CountersignError
from shared.specs import NETWORKS, OptimiserName, TrainSpec
from web.cli import output
from web.cli.packing import open_archive
from web.client import Client, Document, Files, find_server

PLUGINS = "countersign.commands"  # commands that need the worker's packages are registered by them


class Commands(click.Group):
    """Our commands and those of other packages; our errors become one line and exit status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(point.name for point in entry_points(group=PLUGINS))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        for point in entry_points(group=PLUGINS) if command is None else ():
            if point.name == cmd_name:
                return self._plugin(point)
        return command

    @staticmethod
    def _plugin(point: Any) -> click.Command:
        try:
            command: click.Command = point.load()
        except ModuleNotFoundError as error:
            return _absent(point.name, error)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CountersignError as error:
            raise click.ClickException(f"{error.message} [{error.code}]") from error


def _absent(name: str, error: ModuleNotFoundError) -> click.Command:
    """Stands in the help for a command whose packages are not installed, and says so when it is run."""
    message = f"'{name}' needs the extra 'worker' ({error}): pip install 'countersign[worker]'."

    @click.command(
        name, context_settings={"ignore_unknown_options": True}, help="Not installed: needs the extra 'worker'."
    )
    @click.argument("arguments", nargs=-1)
    def absent(arguments: tuple[str, ...]) -> None:
        raise click.ClickException(message)

    return absent


@click.group(cls=Commands)
@click.version_option(package_name="countersign")
def main() -> None:
    """Verify signatures in batches: submit jobs, watch them, take the results away."""


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
wait_option = click.option("--wait", is_flag=True, help="Show progress until the job ends; exit 1 unless it succeeds.")


def connect() -> Client:
    """A client of the server that the environment, or the embedded stack, names."""
    settings = ClientSettings()
    return Client(*find_server(settings.url, settings.api_key, settings.home))


@main.command()
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), help="Folder of database and images [./var].")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one.")
def up(home: Path | None, host: str, port: int) -> None:
    """Run the whole stack here until Ctrl-C: Redis, database, workers, web server."""
    from web.cli.up import run_stack  # it brings in the server's packages, which a client host need not have

    sys.exit(run_stack(home or ClientSettings().home, host, port))


@main.command()
def migrate() -> None:
    """Bring the database up to date; the first time, make the administrator and print the credentials."""
    from shared.db import Database
    from web.auth import create_first_person  # the server's packages, as above

    database = Database(load_settings().database_url)
    database.migrate()
    output.show_credentials(create_first_person(database))


@main.group()
def submit() -> None:
    """Queue a verification or a training."""


@submit.command("verify")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--model", help="name, name@version or digest [the default model]")
@click.option("--label", help="Shown in the list of jobs.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the results as CSV; implies --wait."
)
@wait_option
@json_option
def submit_verify(
    paths: tuple[Path, ...], model: str | None, label: str | None, out: Path | None, wait: bool, as_json: bool
) -> None:
    """Verify PATH (a ZIP or folder with manifest.csv), or one QUESTIONED image against REFERENCE images."""
    fields = {name: value for name, value in (("model", model), ("label", label)) if value}
    if len(paths) == 1:
        name, stream = open_archive(paths[0], needs_manifest=True)
        files: Files = [("archive", (name, stream, "application/zip"))]
    else:
        names = ("questioned", *["reference"] * (len(paths) - 1))
        if any(path.is_dir() for path in paths):
            raise click.UsageError("Name one ZIP or folder, or one questioned image and its references.")
        files = [
            (name, (path.name, path.open("rb"), "application/octet-stream"))
            for name, path in zip(names, paths, strict=True)
        ]
    with connect() as client:
        job = client.submit("verify", fields, files)
        ok = _follow(client, job, wait or out is not None, as_json)
        if out is not None:
            with out.open("wb") as target:
                client.results_csv(job["id"], target)
    sys.exit(0 if ok else 1)


@submit.command("train")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Name of the model version. [signatures]")
@click.option("--network", type=click.Choice(sorted(NETWORKS)))
@click.option("--epochs", type=int)
@click.option("--margin", type=float)
@click.option("--optimiser", type=click.Choice(list(OptimiserName.__args__)))  # type: ignore[attr-defined]  # a Literal
@click.option("--learning-rate", type=float)
@click.option("--weight-decay", type=float)
@click.option("--validation-share", type=float)
@click.option("--seed", type=int)
@click.option("--default", "make_default", is_flag=True, help="Make the result the default model.")
@click.option("--label", help="Shown in the list of jobs.")
@wait_option
@json_option
def submit_train(path: Path, wait: bool, as_json: bool, **options: Any) -> None:
    """Train a model on PATH: a ZIP or folder of writers' genuine and forged signatures.

    The layouts of CEDAR and ICDAR 2011 and WRITER/genuine|forged/... are detected.
    """
    fields = {name: str(value) for name, value in options.items() if value not in (None, False)}
    name, stream = open_archive(path, needs_manifest=False)
    with connect() as client:
        job = client.submit("train", fields, [("archive", (name, stream, "application/zip"))])
        ok = _follow(client, job, wait, as_json)
    sys.exit(0 if ok else 1)


for _parameter in submit_train.params:  # the help says what the specification says: one definition
    _field = TrainSpec.model_fields.get(_parameter.name or "")
    if isinstance(_parameter, click.Option) and _field is not None and not _parameter.help:
        _parameter.help = f"{_field.description} [{_field.default}]"


def _follow(client: Client, job: Document, wait: bool, as_json: bool) -> bool:
    """Print the job, at once or when it has ended; False when it ended badly."""
    if wait:
        job = output.watch(client.watch(job["id"]), quiet=as_json)
    output.show_job(job, as_json)
    return not wait or job["state"] == "succeeded"


@main.command()
@click.argument("job")
@json_option
def status(job: str, as_json: bool) -> None:
    """Show how far JOB is."""
    with connect() as client:
        output.show_job(client.job(job), as_json)


@main.command()
@click.argument("job")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead.")
def results(job: str, form: str, as_json: bool, out: Path | None) -> None:
    """Print the results of JOB: all that are scored so far."""
    with connect() as client, click.open_file(str(out or "-"), "wb") as target:
        if as_json or form == "json":
            output.write_json_list(client.results(job), target)
        else:
            client.results_csv(job, target)


@main.command()
@click.argument("job")
@json_option
def cancel(job: str, as_json: bool) -> None:
    """Ask JOB to stop; the results it has are kept."""
    with connect() as client:
        output.show_job(client.cancel(job), as_json)


@main.command()
@json_option
def models(as_json: bool) -> None:
    """List the models."""
    with connect() as client:
        output.show_models(client.models(), as_json)
