"""``countersign status`` and ``results``: how far a job is, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import IO

import click

from web.cli import output
from web.cli.common import connect, json_option
from web.client import Document

VERDICTS = ("accept", "review", "reject", "unscorable")


@click.command()
@click.argument("job")
@json_option
def status(job: str, as_json: bool) -> None:
    """Show how far JOB is."""
    with connect() as client:
        output.show_job(client.job(job), as_json)


@click.command()
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
