"""``countersign submit``: one command for each kind of job."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from shared.specs import TrainSpec
from web.cli.common import connect, filled, follow, json_option, marks_options, spec_options, wait_option
from web.cli.packing import open_archive
from web.cli.submit_evaluate import submit_evaluate
from web.cli.submit_identify import submit_identify
from web.cli.submit_tune import submit_tune
from web.client import Files


@click.group()
def submit() -> None:
    """Queue a verification or a training."""


@submit.command("verify")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--model", help="name, name@version, digest or alias [the default model]")
@marks_options
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the results as CSV; implies --wait."
)
@wait_option
@json_option
def submit_verify(paths: tuple[Path, ...], out: Path | None, wait: bool, as_json: bool, **options: str | None) -> None:
    """Verify PATH (a ZIP or folder with manifest.csv), or one QUESTIONED image against REFERENCE images."""
    fields = filled(options)
    with ExitStack() as opened:
        files = _opened(paths, opened)  # before a server is looked for: what is wrong here is said first
        client = opened.enter_context(connect(quiet=as_json))
        job = client.submit("verify", fields, files)
        ok = follow(client, job, wait or out is not None, as_json)
        if out is not None:
            with out.open("wb") as target:
                client.results_csv(job["id"], target)
    sys.exit(0 if ok else 1)


def _opened(paths: tuple[Path, ...], opened: ExitStack) -> Files:
    """The batch, or the questioned image and its references."""
    if len(paths) == 1:
        name, stream = open_archive(paths[0], needs_manifest=True)
        return [("archive", (name, opened.enter_context(stream), "application/zip"))]
    if any(path.is_dir() for path in paths):
        raise click.UsageError("Name one ZIP or folder, or one questioned image and its references.")
    names = ("questioned", *["reference"] * (len(paths) - 1))
    return [
        (name, (path.name, opened.enter_context(path.open("rb")), "application/octet-stream"))
        for name, path in zip(names, paths, strict=True)
    ]


@submit.command("train")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@spec_options(TrainSpec, {"from_model": "--from", "make_default": "--default"})
@marks_options
@wait_option
@json_option
def submit_train(path: Path, wait: bool, as_json: bool, **options: Any) -> None:
    """Train a model on PATH: a ZIP or folder of writers' genuine and forged signatures.

    The layouts of CEDAR, ICDAR 2011, SigComp 2011, BHSig260, WRITER/genuine|forged/... and lists of
    pairs (pairs.csv) are detected.
    """
    fields = filled(options)
    name, stream = open_archive(path, needs_manifest=False)
    with connect(quiet=as_json) as client:
        job = client.submit("train", fields, [("archive", (name, stream, "application/zip"))])
        ok = follow(client, job, wait, as_json)
    sys.exit(0 if ok else 1)


submit.add_command(submit_evaluate)
submit.add_command(submit_identify)
submit.add_command(submit_tune)
