"""What the commands print: for people with rich, for scripts as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from web.cli.evaluated import show_evaluation
from web.cli.identified import show_identification
from web.cli.tuned import show_tuning
from web.client import Document
from web.client.common import Sent

STATE_STYLE = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}


def print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def show_job(job: Document, as_json: bool) -> None:
    """A job: its state, counts and what went wrong."""
    if as_json:
        print_json(job)
        return
    console = Console(highlight=False)
    style = STATE_STYLE.get(job["state"], "bold")
    console.print(
        f"{job['id']}  [{style}]{job['state']}[/{style}]  {job['done']:,} of {job['total']:,}  {job['phase']}"
    )
    if job["kind"] == "verify":
        _show_verification(job, console)
    if job["kind"] == "train" and job["report"].get("layout"):
        text = "{layout} layout: {writers:,} writers, {genuine:,} genuine, {forged:,} forged, {skipped:,} skipped"
        console.print("  " + text.format(**job["report"]))
    if job["kind"] == "train" and job["state"] == "succeeded":
        console.print("  model {model}: validation EER {eer:.1%}, threshold {threshold:.4g}".format(**job["report"]))
        if job["report"].get("note"):
            console.print(f"  {job['report']['note']}", markup=False)
    if job["kind"] == "identify":
        show_identification(job["report"], console)
    if job["kind"] == "evaluate":
        show_evaluation(job["report"], console)
    if job["kind"] == "tune":
        show_tuning(job["report"], console)
    if job["error"]:
        console.print(f"  {job['error']['message']} [{job['error']['code']}]", style="red", markup=False)


def _show_verification(job: Document, console: Console) -> None:
    if job["done"]:
        console.print("  " + ", ".join(f"{name} {count:,}" for name, count in job["counts"].items() if count))
    if job["calibrated_on"]:
        text = f"The model was calibrated on {job['calibrated_on']}: ratios and verdicts may be off for your documents."
        console.print(f"  {text}", style="yellow", soft_wrap=True)


def watch(looks: Iterator[Document], quiet: bool) -> Document:
    """Show a progress bar on standard error until the job has ended; returns its last state."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    job: Document = {}
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=False) as progress:
        task = progress.add_task("queued", total=None)
        for job in looks:
            text = job["phase"] or job["state"]
            progress.update(
                task, description=f"{job['kind']}: {text}", completed=job["done"], total=job["total"] or None
            )
    return job


@contextmanager
def sending(quiet: bool) -> Iterator[Sent]:
    """What a client tells of the files that it sends, which is shown on standard error from the first byte on."""
    columns = (TextColumn("sending"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    progress = Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True)

    def tell(done: int, whole: int) -> None:
        if not progress.tasks:
            progress.add_task("", total=whole)
            progress.start()
        progress.update(progress.tasks[0].id, completed=done, total=whole)
        if done >= whole:
            progress.stop()

    try:
        yield tell
    finally:
        progress.stop()


def write_json_list(documents: Iterable[Document], target: IO[bytes]) -> None:
    """One JSON list, written as its members arrive."""
    target.write(b"[")
    for count, document in enumerate(documents):
        target.write(b",\n" if count else b"\n")
        target.write(json.dumps(document, ensure_ascii=False).encode())
    target.write(b"\n]\n")


def _calibrated(calibration: Document | None) -> str:
    if not calibration:
        return "no"
    writers = len(calibration["writers"])
    return f"on {writers} {'generated ' if calibration['generated'] else ''}writers"


def _roles(model: Document) -> list[str]:
    return [*model["aliases"], *(["archived"] if model["archived_at"] else [])]


def show_model(model: Document, as_json: bool) -> None:
    """One model on a line: its label, roles, network and digest."""
    if as_json:
        print_json(model)
        return
    roles = f" ({', '.join(_roles(model))})" if _roles(model) else ""
    click.echo(f"{model['label']}{roles}  {model['network']}  {model['digest']}")


def show_models(models: list[Document], as_json: bool) -> None:
    """The models, newest first."""
    if as_json:
        print_json(models)
        return
    if not models:
        click.echo("No models yet. Train one: countersign submit train PATH")
        return
    table = Table("model", "network", "validation EER", "threshold", "calibrated", "role", "made")
    for model in models:
        eer = model["summary"].get("validation", {}).get("eer")
        table.add_row(
            model["label"],
            model["network"],
            f"{eer:.1%}" if eer is not None else "",
            f"{model['threshold']:.4g}",
            _calibrated(model["summary"].get("calibration")),
            ", ".join(_roles(model)),
            model["created_at"][:16],
        )
    Console().print(table)
