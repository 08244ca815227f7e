"""``countersign send`` and ``files``: files that jobs name by their digest, and those that jobs leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click
from rich.console import Console
from rich.table import Table

from web.cli import output
from web.cli.common import connect, json_option
from web.cli.evaluated import check_folder, write_files


@click.command()
@click.argument("file", type=click.File("rb"), metavar="PATH")
@json_option
def send(file: IO[bytes], as_json: bool) -> None:
    """Send the file at PATH unless the server has it, and print the digest that jobs may name it by.

    A file over 64 MiB goes in parts; sent anew after a cut, it goes on where it stopped.
    """
    with connect(quiet=as_json) as client:
        digest = client.send_file(file, Path(file.name).name)
        if as_json:
            output.print_json(client.file(digest))
        else:
            click.echo(digest)


@click.command()
@click.argument("job")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Write them, or those of these names, to a folder."
)
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
@json_option
def files(job: str, names: tuple[str, ...], out: Path | None, force: bool, as_json: bool) -> None:
    """List the files that JOB left behind, such as the report of an evaluation, or write them to a folder."""
    if names and out is None:
        raise click.UsageError("Name a folder with --out to write these files into.")
    if out is not None:
        check_folder(out, force)
    with connect() as client:
        found = client.files(job)
        if out is not None:
            for written in write_files(client, job, out, names):
                click.echo(f"  {written}", err=True)
    if as_json:
        output.print_json(found)
    elif out is None:
        table = Table("file", "bytes", "digest")
        for each in found:
            table.add_row(each["name"], f"{each['size']:,}", each["digest"])
        Console().print(table)
