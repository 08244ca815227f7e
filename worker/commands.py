"""Commands of ``countersign`` that worker adds, through the entry-point group ``countersign.commands``.

Nothing here imports torch: ``countersign --help`` loads every command of the group.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from shared.manifest import REQUIRED, SEVERAL
from worker.ml.synthesis import entry_name, write_dataset

MAX_REFERENCES = 4  # of each writer in the manifest


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--writers", default=60, show_default=True, type=click.IntRange(1, 9999), help="Writers to invent.")
@click.option("--genuine", default=12, show_default=True, type=click.IntRange(0, 99), help="Genuine ones a writer.")
@click.option("--forged", default=12, show_default=True, type=click.IntRange(0, 99), help="Forgeries a writer.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Repeats the images.")
@click.option("--pairs/--no-pairs", default=False, show_default=True, help="Add a manifest.csv to verify.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def generate(
    directory: Path, writers: int, genuine: int, forged: int, seed: int, pairs: bool, force: bool, as_json: bool
) -> None:
    """Write generated signatures and skilled forgeries of them into DIRECTORY, one folder a writer.

    No person wrote them: they are for trying Countersign, and say little about how well it does on real signatures.
    """
    if pairs and genuine < 2:
        raise click.UsageError("--pairs needs at least 2 genuine signatures a writer, one of them a reference.")
    try:
        _refuse_filled(directory, force)
        _write(directory, writers, genuine, forged, seed)
        compared = _write_manifest(directory, writers, genuine, forged) if pairs else 0
    except OSError as error:
        raise click.ClickException(f"{directory} cannot be written: {error.strerror or error}.") from error
    summary: dict[str, str | int] = {"directory": str(directory), "writers": writers, "genuine": writers * genuine}
    summary |= {"forged": writers * forged, "seed": seed, "comparisons": compared}
    click.echo(json.dumps(summary) if as_json else _sentence(summary))


def _refuse_filled(directory: Path, force: bool) -> None:
    if not force and directory.exists() and any(directory.iterdir()):
        raise click.ClickException(f"{directory} is not empty. Name another folder, or write into it with --force.")


def _write(directory: Path, writers: int, genuine: int, forged: int, seed: int) -> None:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Generating signatures", total=writers * (genuine + forged))
        directory.mkdir(parents=True, exist_ok=True)
        write_dataset(directory, writers, genuine, forged, seed, lambda done, _: bar.update(task, completed=done))


def _write_manifest(directory: Path, writers: int, genuine: int, forged: int) -> int:
    """Compare what is left of each writer's genuine signatures, and all forgeries, with the first few genuine ones."""
    references = min(MAX_REFERENCES, genuine // 2)
    questioned = [(index, False) for index in range(references, genuine)] + [(index, True) for index in range(forged)]
    with (directory / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(REQUIRED)
        for writer in range(writers):
            known = SEVERAL.join(entry_name(writer, index, False) for index in range(references))
            for index, is_forged in questioned:
                entry = entry_name(writer, index, is_forged)
                table.writerow([entry.removesuffix(".png").replace("/", "-"), entry, known])
    return writers * len(questioned)


def _sentence(summary: dict[str, str | int]) -> str:
    text = "{directory}: {genuine} genuine signatures of {writers} writers and {forged} forgeries, seed {seed}."
    more = " manifest.csv compares {comparisons} of them with references."
    return (text + more * bool(summary["comparisons"])).format_map(summary)
