"""CEDAR as a training set and a batch: writers 1-36 to learn from, all pairs of writers 37-45 to verify.

python -m benchmarks.cedar prepare CEDAR OUT      makes OUT/training and OUT/batch
python -m benchmarks.cedar score RESULTS.csv      prints the error rates of the verified batch
"""

from __future__ import annotations

import csv
import shutil
from itertools import combinations, product
from pathlib import Path

import click

from worker.ml.metrics import auc, equal_error_rate, error_rates

LAST_TRAINED = 36
LAST_VERIFIED = 45
KINDS = {"full_org": "original", "full_forg": "forgeries"}


@click.group()
def main() -> None:
    """Prepare CEDAR for the service, and score what the service answered."""


@main.command()
@click.argument("cedar", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def prepare(cedar: Path, out: Path) -> None:
    """Copy the writers of CEDAR into OUT/training and OUT/batch, and write the batch's manifest."""
    for folder, kind in KINDS.items():
        for writer in range(1, LAST_VERIFIED + 1):
            target = out / ("training" if writer <= LAST_TRAINED else "batch") / folder
            target.mkdir(parents=True, exist_ok=True)
            for path in _images(cedar, folder, kind, writer):
                shutil.copy(path, target)
    with (out / "batch" / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "questioned", "reference"))
        for writer in range(LAST_TRAINED + 1, LAST_VERIFIED + 1):
            genuine = [f"full_org/{path.name}" for path in _images(cedar, "full_org", "original", writer)]
            forged = [f"full_forg/{path.name}" for path in _images(cedar, "full_forg", "forgeries", writer)]
            for number, pair in enumerate(combinations(genuine, 2), 1):
                rows.writerow((f"{writer}-{number}-genuine", *pair))
            for number, pair in enumerate(product(forged, genuine), 1):
                rows.writerow((f"{writer}-{number}-forged", *pair))


def _images(cedar: Path, folder: str, kind: str, writer: int) -> list[Path]:
    return sorted((cedar / folder).glob(f"{kind}_{writer}_*.png"))


@main.command()
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def score(results: Path) -> None:
    """Print EER, AUC, and FAR and FRR at the model's own threshold; forgeries are skilled ones."""
    with results.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["distance"]]
    genuine = [float(row["distance"]) for row in rows if row["id"].endswith("genuine")]
    forged = [float(row["distance"]) for row in rows if row["id"].endswith("forged")]
    far, frr = error_rates(genuine, forged, float(rows[0]["threshold"]))
    click.echo(f"{len(genuine):,} genuine-genuine and {len(forged):,} genuine-forgery comparisons")
    click.echo(f"EER {equal_error_rate(genuine, forged).rate:.1%}   AUC {auc(genuine, forged):.3f}")
    click.echo(f"at the model's threshold: FAR {far:.1%}   FRR {frr:.1%}")


if __name__ == "__main__":
    main()
