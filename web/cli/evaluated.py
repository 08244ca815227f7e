"""What the command line shows of an evaluation, and how its files are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from web.client import Client, Document


def show_evaluation(report: Document, console: Console) -> None:
    """The headline figures, and what must be read before them."""
    headline = report.get("headline")
    if not headline:
        return
    table = Table("compared with", "forgeries", "EER", "95% interval", "AUC", "Cllr", "least Cllr")
    sets = f"refs{headline['references']}"
    for key, words in (("pair", "one reference"), (sets, f"{headline['references']} references")):
        for kind in ("skilled", "random"):
            found = headline[key][kind]
            if found["eer"] is not None:
                table.add_row(words, kind, *_cells(found))
    console.print(table)
    for words in headline["warnings"]:
        console.print(f"  {words}", style="yellow", markup=False)


def _cells(found: Document) -> tuple[str, ...]:
    low, high = found["eer_low"], found["eer_high"]
    interval = f"{low * 100:.1f}–{high:.1%}" if low is not None else ""
    rest = ("" if found[name] is None else f"{found[name]:.3f}" for name in ("auc", "cllr", "cllr_min"))
    return (f"{found['eer']:.1%}", interval, *rest)


def check_folder(folder: Path, force: bool) -> None:
    """Refuse a folder that holds something, before any work is done, unless ``force``."""
    if folder.exists() and any(folder.iterdir()) and not force:
        raise click.UsageError(f"{folder} is not empty. Name another folder, or write into it with --force.")


def write_files(client: Client, job_id: str, folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write the files of these names, or all that a job has, into ``folder``, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names or [file["name"] for file in client.files(job_id)]:
        path = folder / Path(name).name
        with path.open("wb") as target:
            client.download(job_id, name, target)
        written.append(path)
    return written
