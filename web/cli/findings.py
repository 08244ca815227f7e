"""Single comparisons and what people decide about them, data sets and evaluations, whatever their job."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from web.cli import output
from web.cli.common import connect, json_option
from web.cli.evaluated import check_folder, show_evaluation
from web.client import Client, Document

LOOK_SECONDS = 30  # that a worker is given to look into a data set
limit_option = click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Most to list.")


@click.command()
@click.argument("row", metavar="ID")
@limit_option
@json_option
def comparisons(row: str, limit: int, as_json: bool) -> None:
    """Find the comparisons that manifests named ID, one of each job, newest job first."""
    with connect() as client:
        found = list(islice(client.comparisons(row), limit))
    if as_json:
        output.print_json(found)
        return
    table = Table("job", "number", "verdict", "decided", "by", "model")
    for each in found:
        decided = (each["review"]["verdict"], each["review"]["reviewer"]) if each["review"] else ("", "")
        table.add_row(each["job"], f"{each['ordinal']:,}", each["verdict"] or "", *decided, each["model"] or "")
    Console().print(table)


@click.command()
@click.argument("job")
@click.argument("number", type=click.IntRange(1))
@click.argument("verdict", type=click.Choice(["accept", "reject", "unscorable"]), required=False)
@click.option("--reason", default="", help="Why; needed to overrule the model.")
@click.option("--undo", is_flag=True, help="Leave it undecided again.")
@json_option
def review(job: str, number: int, verdict: str | None, reason: str, undo: bool, as_json: bool) -> None:
    """Keep VERDICT as the last word on the comparison NUMBER of JOB, beside the model's own."""
    if undo == (verdict is not None):
        raise click.UsageError("Give a verdict, or --undo.")
    with connect() as client:
        if verdict is None:
            client.undo_review(job, number)
            found = client.result(job, number)
        else:
            found = client.review(job, number, verdict, reason)
    if as_json:
        output.print_json(found)
    else:
        said = found["review"]
        click.echo(f"{found['id']}: the model says {found['verdict']}; {said['verdict'] if said else 'undecided'}")


@click.command()
@click.argument("digest", required=False)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write its contact sheet to a folder.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
@limit_option
@json_option
def datasets(digest: str | None, out: Path | None, force: bool, limit: int, as_json: bool) -> None:
    """List the data sets that jobs worked on; with DIGEST, have a worker look into one, and print what is in it."""
    if out is not None:
        if digest is None:
            raise click.UsageError("Name the data set whose contact sheet is to be written.")
        check_folder(out, force)
    with connect() as client:
        if digest is None:
            _list_sets(list(islice(client.data_sets(), limit)), as_json)
            return
        found = client.data_set(digest, LOOK_SECONDS)
        if out is not None:
            _write_samples(client, found, out)
    if as_json:
        output.print_json(found)
    else:
        _show_set(found)


def _list_sets(found: list[Document], as_json: bool) -> None:
    if as_json:
        output.print_json(found)
        return
    table = Table("file", "bytes", "sent", "digest")
    for each in found:
        table.add_row(each["filename"], f"{each['size']:,}", each["created_at"][:16], each["digest"])
    Console().print(table)


def _show_set(found: Document) -> None:
    said = found["found"]
    if said is None:
        click.echo(f"{found['filename']}: no worker has looked into it yet. Ask again in a moment.")
    elif "error" in said:
        click.echo(f"{found['filename']}: {said['error']['message']} [{said['error']['code']}]")
    else:
        text = "{layout} layout: {writers:,} writers, {genuine:,} genuine, {forged:,} forged, {skipped:,} skipped"
        click.echo(f"{found['filename']}: {text.format(**said)}")
        for each in said["skipped_list"]:
            click.echo(f"  {each['entry']}: {each['reason']} [{each['code']}]")


def _write_samples(client: Client, found: Document, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(found["samples"])):
        path = folder / f"{number}.png"
        with path.open("wb") as target:
            client.data_set_sample(found["digest"], number, target)
        click.echo(f"  {path}", err=True)


@click.command()
@click.argument("job", required=False)
@click.option("--model", help="Only of this model version.")
@limit_option
@json_option
def evaluations(job: str | None, model: str | None, limit: int, as_json: bool) -> None:
    """List evaluations, newest first; with JOB, print the figures of one, and with --json its curves."""
    with connect() as client:
        found = [client.evaluation(job)] if job else list(islice(client.evaluations(model), limit))
    if as_json:
        output.print_json(found[0] if job else found)
        return
    table = Table("job", "state", "model", "protocol", "label", "made")
    for each in found:
        row = (each["id"], each["state"], each["model"] or "", each["protocol"], each["label"])
        table.add_row(*row, each["created_at"][:16])
    Console().print(table)
    if job:
        show_evaluation({"headline": found[0]["figures"]}, Console())
