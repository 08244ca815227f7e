"""``countersign``: the commands, their options, and what they print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any

import click

from shared.config import ClientSettings, load_settings
from shared.errors import CountersignError
from web.cli import output
from web.cli.common import connect, json_option
from web.cli.files import files, send
from web.cli.findings import comparisons, datasets, evaluations, review
from web.cli.jobs import cancel, epochs, finish, jobs, result, retry, wait
from web.cli.models import models
from web.cli.submit import submit
from web.cli.webhooks import webhooks
from web.client import Document

VERDICTS = ("accept", "review", "reject", "unscorable")
PLUGINS = "countersign.commands"  # commands that need the worker's packages are registered by them


EXIT_CODES = """\b
Exit codes:
  0  done; of a command that waits: the job succeeded
  1  refused, or the job failed or was cancelled
  2  wrong usage of the command line
  3  the server, or a part of it, is away: try again later
"""


class _TryLater(click.ClickException):
    exit_code = 3


class Commands(click.Group):
    """Our commands and those of other packages; our errors become one line and an exit code, see ``EXIT_CODES``."""

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
            kind = _TryLater if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else click.ClickException
            raise kind(f"{error.message} [{error.code}]") from error


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


@click.group(cls=Commands, epilog=EXIT_CODES)
@click.version_option(package_name="countersign")
def main() -> None:
    """Verify signatures in batches: submit jobs, watch them, take the results away."""


@main.command()
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), help="Folder of database and images [./var].")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one.")
def up(home: Path | None, host: str, port: int) -> None:
    """Run the whole stack here until Ctrl-C: Redis, database, workers, web server."""
    from web.cli.up import run_stack  # it brings in the server's packages, which a client host need not have

    sys.exit(run_stack(home or ClientSettings().home, host, port))


@main.command()
@json_option
def migrate(as_json: bool) -> None:
    """Bring the database up to date, with the model in the box; the first time, also make the administrator."""
    from shared.boxed import register_boxed
    from shared.db import Database
    from shared.storage import open_store
    from web.auth import create_first_person  # the server's packages, as above

    settings = load_settings()
    database = Database(settings.database_url)
    database.migrate()
    register_boxed(database, open_store(settings.storage_url))
    output.show_credentials(create_first_person(database), as_json)


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
@click.option("--verdict", type=click.Choice(VERDICTS), help="Only these, of a verification.")
@click.option("--errors", "verdict", flag_value="unscorable", help="Only what could not be scored, and why.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead.")
def results(job: str, form: str, as_json: bool, verdict: str | None, out: Path | None) -> None:
    """Print the results of JOB: all that are there so far."""
    with connect() as client:
        ways: dict[str, tuple[Callable[[str], Iterable[Document]], Callable[[str, IO[bytes]], None]]] = {
            "identify": (client.identifications, client.identifications_csv),
            "tune": (client.trials, client.trials_csv),
        }
        kind = client.job(job)["kind"]
        if verdict and kind in ways:
            raise click.UsageError(f"{job} is no verification: its results have no verdicts. Leave the option out.")
        of_verdict = (partial(client.results, verdict=verdict), partial(client.results_csv, verdict=verdict))
        documents, table = ways.get(kind, of_verdict)
        with click.open_file(str(out or "-"), "wb") as target:
            if as_json or form == "json":
                output.write_json_list(documents(job), target)
            else:
                table(job, target)


for command in (jobs, wait, cancel, finish, retry, result, epochs, files, send, models, webhooks):
    main.add_command(command)
for command in (comparisons, review, datasets, evaluations):
    main.add_command(command)
main.add_command(submit)
