"""``countersign``: its commands, each of which is loaded when it is asked for: ``up`` is to start at once."""

from __future__ import annotations

import sys
from http import HTTPStatus
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from shared.config import ClientSettings, load_settings
from shared.errors import CountersignError

PLUGINS = "countersign.commands"  # commands that need the worker's packages are registered by them


EXIT_CODES = """\b
Exit codes:
  0  done; of a command that waits: the job succeeded
  1  refused, or the job failed or was cancelled
  2  wrong usage of the command line
  3  the server, or a part of it, is away: try again later
"""


# The commands, and the modules of this package that they are in.
COMMANDS = {
    "cancel": "jobs",
    "comparisons": "findings",
    "datasets": "findings",
    "epochs": "jobs",
    "evaluations": "findings",
    "files": "files",
    "finish": "jobs",
    "jobs": "jobs",
    "models": "models",
    "result": "jobs",
    "results": "results",
    "retry": "jobs",
    "review": "findings",
    "send": "files",
    "status": "results",
    "submit": "submit",
    "wait": "jobs",
    "webhooks": "webhooks",
}


class _TryLater(click.ClickException):
    exit_code = 3


class Commands(click.Group):
    """Our commands and those of other packages; our errors become one line and an exit code, see ``EXIT_CODES``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *COMMANDS, *(point.name for point in entry_points(group=PLUGINS))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if cmd_name in COMMANDS:
            command = getattr(import_module(f"web.cli.{COMMANDS[cmd_name]}"), cmd_name)
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
    from web.cli.up import run_stack

    sys.exit(run_stack(home or ClientSettings().home, host, port))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def migrate(as_json: bool) -> None:
    """Bring the database up to date, with the model in the box; the first time, also make the administrator."""
    from shared.db import Database
    from web.cli.installing import furnish, show_credentials  # the server's packages: a client host has none

    settings = load_settings()
    database = Database(settings.database_url)
    database.migrate()
    show_credentials(furnish(settings, database), as_json)
