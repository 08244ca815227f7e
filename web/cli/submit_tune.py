"""``countersign submit tune``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from shared.specs import TuneSpec
from web.cli.common import connect, filled, follow, json_option, marks_options, spec_options, wait_option
from web.cli.packing import open_archive
from web.cli.tuned import show_trials


@click.command("tune")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@spec_options(TuneSpec)
@marks_options
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the trials as CSV; implies --wait.")
@wait_option
@json_option
def submit_tune(path: Path, out: Path | None, wait: bool, as_json: bool, **options: Any) -> None:
    """Search for good settings of a training on PATH: a ZIP or folder of writers' signatures.

    Each trial trains on some of the writers and is judged on the others, once for each fold of writers. The first is
    of the default settings. What comes out is a command line for a training with the best of them.
    """
    name, stream = open_archive(path, needs_manifest=False)
    with connect(quiet=as_json) as client:
        job = client.submit("tune", filled(options), [("archive", (name, stream, "application/zip"))])
        ok = follow(client, job, wait or out is not None, as_json)
        if (wait or out is not None) and not as_json:
            show_trials(client.trials(job["id"]))
        if out is not None:
            with out.open("wb") as target:
                client.trials_csv(job["id"], target)
    sys.exit(0 if ok else 1)
