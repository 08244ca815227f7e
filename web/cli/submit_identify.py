"""``countersign submit identify``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from shared.specs import IdentifySpec
from web.cli.common import connect, describe_options, filled, follow, json_option, marks_options, wait_option
from web.cli.packing import open_archive


@click.command("identify")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--model")
@click.option("--threshold", type=float)
@marks_options
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the answers as CSV; implies --wait."
)
@wait_option
@json_option
def submit_identify(path: Path, out: Path | None, wait: bool, as_json: bool, **options: str | float | None) -> None:
    """Find the category of each test image of PATH, or none of these.

    PATH is a ZIP or folder with categories/NAME/IMAGE, one or a few images each, and test/IMAGE. Where a test image
    lies in a folder, test/NAME/IMAGE, the folder is its true label, and accuracy is reported.
    """
    name, stream = open_archive(path, needs_manifest=False)
    with connect(quiet=as_json) as client:
        job = client.submit("identify", filled(options), [("archive", (name, stream, "application/zip"))])
        ok = follow(client, job, wait or out is not None, as_json)
        if out is not None:
            with out.open("wb") as target:
                client.identifications_csv(job["id"], target)
    sys.exit(0 if ok else 1)


describe_options(submit_identify, IdentifySpec)
