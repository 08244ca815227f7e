"""``countersign jobs``, what one can do to a job (wait, cancel, finish, retry), and a look at its parts."""

from __future__ import annotations

import sys
from itertools import islice

import click
from rich.console import Console
from rich.table import Table

from shared.specs import SPECS
from shared.tables.jobs import JobState
from web.cli import output
from web.cli.common import connect, json_option


@click.command()
@click.option("--kind", type=click.Choice(list(SPECS)), help="Only of this kind.")
@click.option("--state", type=click.Choice([str(state) for state in JobState]), help="Only in this state.")
@click.option("--tag", help="Only with this tag.")
@click.option("--external-id", help="Only what its submitter named so.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Most jobs to list.")
@json_option
def jobs(limit: int, as_json: bool, **filters: str | None) -> None:
    """List jobs, newest first."""
    with connect() as client:
        wanted = {name: value for name, value in filters.items() if value}
        found = list(islice(client.jobs(**wanted), limit))
    if as_json:
        output.print_json(found)
        return
    table = Table("job", "kind", "state", "done", "of", "tag", "label", "made")
    for job in found:
        row = (job["id"], job["kind"], job["state"], f"{job['done']:,}", f"{job['total']:,}", job["tag"] or "")
        table.add_row(*row, job["label"], job["created_at"][:16])
    Console().print(table)


@click.command()
@click.argument("job")
@json_option
def wait(job: str, as_json: bool) -> None:
    """Wait until JOB has ended; exit 1 unless it succeeded."""
    with connect() as client:
        ended = client.wait(job) if as_json else output.watch(client.watch(job), quiet=False)
    output.show_job(ended, as_json)
    sys.exit(0 if ended["state"] == "succeeded" else 1)


@click.command()
@click.argument("job")
@json_option
def cancel(job: str, as_json: bool) -> None:
    """Ask JOB to stop; the results it has are kept."""
    with connect() as client:
        output.show_job(client.cancel(job), as_json)


@click.command()
@click.argument("job")
@json_option
def finish(job: str, as_json: bool) -> None:
    """End the training JOB now; the best weights so far become its model."""
    with connect() as client:
        output.show_job(client.finish(job), as_json)


@click.command()
@click.argument("job")
@json_option
def retry(job: str, as_json: bool) -> None:
    """Queue a failed or cancelled JOB again, with only what is missing."""
    with connect() as client:
        output.show_job(client.retry(job), as_json)


@click.command()
@click.argument("job")
@click.argument("number", type=click.IntRange(1))
@json_option
def result(job: str, number: int, as_json: bool) -> None:
    """Print the comparison NUMBER of JOB: its verdict, and what it came from."""
    with connect() as client:
        found = client.result(job, number)
    if as_json:
        output.print_json(found)
        return
    table = Table("field", "value", show_header=False)
    for name, value in found.items():
        if value is not None and not isinstance(value, dict | list):
            table.add_row(name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value))
    Console().print(table)


@click.command()
@click.argument("job")
@json_option
def epochs(job: str, as_json: bool) -> None:
    """List the epochs of the training JOB so far."""
    with connect() as client:
        found = client.epochs(job)
    if as_json:
        output.print_json(found)
        return
    table = Table("epoch", "loss", "validation loss", "validation EER", "learning rate", "seconds")
    for each in found:
        losses = ("" if each[name] is None else f"{each[name]:.4g}" for name in ("loss", "validation_loss"))
        rate = f"{each['learning_rate']:.3g}"
        table.add_row(str(each["epoch"]), *losses, f"{each['validation_eer']:.1%}", rate, f"{each['seconds']:.1f}")
    Console().print(table)
