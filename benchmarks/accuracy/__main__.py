"""``make accuracy``: train and test every fold, take them together, write ACCURACY.md and accuracy.json."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from benchmarks.accuracy import page
from benchmarks.accuracy.folds import FOLDS, Parts, cross_set, folds_of
from benchmarks.accuracy.recipe import PROTOCOLS, RECIPE
from benchmarks.accuracy.results import rows_of, summary_of
from benchmarks.accuracy.runs import Outcome, Run, carry_out, code_version
from benchmarks.accuracy.sets import PreparedSet, Source, prepared
from shared.specs import ProtocolName, TrainSpec

HERE = Path(__file__).resolve().parents[1]
LEAST_WRITERS = 14  # of a set: five folds, and all parts filled

_started = time.monotonic()


@click.command()
@click.option(
    "--cedar", envvar="COUNTERSIGN_CEDAR", type=click.Path(path_type=Path), help="With full_org and full_forg."
)
@click.option(
    "--icdar", envvar="COUNTERSIGN_ICDAR", type=click.Path(path_type=Path), help="With 002, 002_forg and so on."
)
@click.option("--fresh", is_flag=True, help="Forget the folds that are done, begin with an empty folder.")
@click.option("--folds", type=click.IntRange(1, FOLDS), help="A quick try: these first folds only.")
@click.option("--writers", type=click.IntRange(LEAST_WRITERS), help="A quick try: so many writers of a set.")
@click.option("--epochs", type=click.IntRange(1), help="A quick try: fewer epochs than the recipe.")
def main(
    cedar: Path | None, icdar: Path | None, fresh: bool, folds: int | None, writers: int | None, epochs: int | None
) -> None:
    """Measure the frozen recipe on CEDAR and ICDAR 2011, over folds of writers.

    Writes benchmarks/ACCURACY.md and benchmarks/accuracy.json. Folds that are done are kept in benchmarks/out/accuracy,
    and a run that was stopped goes on. A quick try writes all of it to benchmarks/out/accuracy-try.
    """
    given = {"cedar": _folder("cedar", cedar), "icdar": _folder("icdar", icdar)}
    is_try = any((folds, writers, epochs))
    out = HERE / "out" / ("accuracy-try" if is_try else "accuracy")
    if fresh and out.exists():
        shutil.rmtree(out)
    recipe = RECIPE.model_copy(update={"epochs": epochs}) if epochs else RECIPE
    document = measure(given, recipe, out, folds or FOLDS, writers)
    target = out if is_try else HERE
    (target / "accuracy.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    (target / "ACCURACY.md").write_text(page.render(document))
    _tell(f"written: {target.name}/ACCURACY.md and accuracy.json")


def measure(
    given: Mapping[str, Path], recipe: TrainSpec, out: Path, folds: int = FOLDS, writers: int | None = None
) -> dict[str, Any]:
    """All runs of the grid, and their summary as accuracy.json holds it."""
    code = code_version()
    with tempfile.TemporaryDirectory() as folder:
        sources = {name: Source.pack(name, path, Path(folder)) for name, path in given.items()}
        outcomes: list[Outcome] = []
        data: dict[str, Any] = {}
        for protocol in PROTOCOLS:
            canvas = recipe.preprocessing
            sets = {name: prepared(one, protocol, canvas, out, code, _tell) for name, one in sources.items()}
            data |= {name: _described(one) for name, one in sets.items()}
            runs = _runs(protocol, sets, folds, writers)
            outcomes += [carry_out(run, sets, recipe, out, code, _tell) for run in runs]
    results: dict[str, Any] = {}
    for row in rows_of(outcomes):
        results.setdefault(row.name, {})[row.protocol] = summary_of(row)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": page.COMMAND,
        "code": code,
        "machine": page.machine(),
        "recipe": recipe.model_dump(mode="json"),
        "data": data,
        "results": results,
        "runs": [one.about | {"figures": one.figures} for one in outcomes],
    }


def _runs(protocol: ProtocolName, sets: Mapping[str, PreparedSet], folds: int, writers: int | None) -> list[Run]:
    known = {name: _names(one, writers) for name, one in sets.items()}
    parts: list[tuple[str, Parts]] = [
        (f"{name}-fold-{number}", one)
        for name, names in known.items()
        for number, one in enumerate(folds_of(name, names)[:folds], 1)
    ]
    one, other = known
    for trained, tested in ((one, other), (other, one)):
        parts.append((f"{trained}-to-{tested}", cross_set(trained, known[trained], tested, known[tested])))
    return [Run(name, protocol, part) for name, part in parts]


def _names(one: PreparedSet, most: int | None) -> list[str]:
    names = sorted({writer.split("/", 1)[1] for writer in one.writers})
    return names[:most]


def _described(one: PreparedSet) -> dict[str, Any]:
    counts = {name: one.summary[name] for name in ("layout", "writers", "genuine", "forged", "skipped")}
    return counts | {"digest": one.data, "preprocessing": one.preprocessing.model_dump(mode="json")}


def _folder(name: str, given: Path | None) -> Path:
    upper = name.upper()
    if given is None:
        raise click.UsageError(
            f"Say where {upper} is: make accuracy CEDAR=DIR ICDAR=DIR, or the options --cedar and --icdar, or "
            f"COUNTERSIGN_CEDAR and COUNTERSIGN_ICDAR in the environment. The images do not come with this project."
        )
    if not given.is_dir():
        raise click.UsageError(f"There is no folder {given}. Give the folder of {upper}.")
    return given


def _tell(words: str) -> None:
    click.echo(f"[{(time.monotonic() - _started) / 60:6.1f} min] {words}")


if __name__ == "__main__":
    main()
