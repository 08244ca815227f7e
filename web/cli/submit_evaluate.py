"""``countersign submit evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from shared.specs import EvaluateSpec
from web.cli.common import connect, filled, follow, json_option, marks_options, spec_options, wait_option
from web.cli.evaluated import check_folder, write_files
from web.cli.packing import open_archive


@click.command("evaluate")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@spec_options(EvaluateSpec)
@marks_options
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the report's files; implies --wait."
)
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
@wait_option
@json_option
def submit_evaluate(
    path: Path, out: Path | None, force: bool, wait: bool, as_json: bool, **options: str | int | None
) -> None:
    """Measure a model on PATH: a ZIP or folder of genuine signatures and forgeries of writers that it never saw.

    The report has error rates with their intervals, Cllr, the floor that trivial statistics reach, and the worst
    writers. It is report.html for people and report.json for programs, with CSV tables beside them.
    """
    if out is not None:
        check_folder(out, force)
    name, stream = open_archive(path, needs_manifest=False)
    with connect(quiet=as_json) as client:
        job = client.submit("evaluate", filled(options), [("archive", (name, stream, "application/zip"))])
        ok = follow(client, job, wait or out is not None, as_json)
        if ok and out is not None:
            for written in write_files(client, job["id"], out):
                click.echo(f"  {written}", err=True)
    sys.exit(0 if ok else 1)
