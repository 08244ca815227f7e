"""The model in the box.

python -m benchmarks.boxed build                                  makes shared/boxed/signature.safetensors again
python -m benchmarks.boxed figures --cedar DIR --icdar DIR        measures it on people's signatures
python -m benchmarks.boxed gain --cedar DIR                       measures what fine-tuning it gains

The last two write their part of benchmarks/BOXED.md.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from benchmarks.boxed.gaining import SIZES, Trial, part_writers, row_of, run_trials
from benchmarks.boxed.making import RECIPE, Plan, make, write
from benchmarks.boxed.measuring import REFERENCES, Figures, measure, read_set
from shared.boxed import FILE
from shared.specs import ProtocolName
from worker.ml.checkpoint import load_model

PAGE = Path(__file__).resolve().parents[1] / "BOXED.md"
PROTOCOLS: tuple[ProtocolName, ...] = ("grey-ink", "binary-ink")
SEED = 20261123
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

_started = time.monotonic()


@click.group()
def main() -> None:
    """Make the model in the box, and say honestly how good it is."""


@main.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=FILE, help="Where it goes [the box].")
@click.option("--processes", type=click.IntRange(1), default=os.cpu_count(), help="Processes that generate [all].")
def build(out: Path, processes: int) -> None:
    """Train it on generated signatures. The same digest each time, on one machine."""
    content = make(Plan(), RECIPE, processes, _tell)
    _tell(f"{write(content, out)}, {len(content):,} bytes")


@main.command()
@click.option("--cedar", type=FOLDER, envvar="COUNTERSIGN_CEDAR", help="With full_org and full_forg.")
@click.option("--icdar", type=FOLDER, envvar="COUNTERSIGN_ICDAR", help="With 002, 002_forg and so on.")
def figures(cedar: Path | None, icdar: Path | None) -> None:
    """Measure it on all writers of the sets given: it has seen none of them."""
    network, meta = load_model(FILE)
    lines = []
    for name, folder in (("CEDAR", cedar), ("ICDAR 2011 Dutch", icdar)):
        for protocol in PROTOCOLS if folder else ():
            _tell(f"{name}, {protocol}")
            data = read_set(name, Path(str(folder)), protocol, meta.preprocessing)
            found = measure(data, network, meta.calibration)
            lines.append(f"| {name}, {len(data.writers)} writers, {protocol} | {_columns(found)} |")
    heading = (
        f"| set | pair EER, skilled | pair, random | {REFERENCES} references, skilled: mean distance | fused "
        "| fused, random | one reference: FAR, FRR, review of genuine, of skilled | the same, "
        f"{REFERENCES} references |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    _replace("figures", "\n".join([heading, *lines]))


def _columns(found: Figures) -> str:
    rates = (found.pair_skilled, found.pair_random, found.mean_skilled, found.fused_skilled, found.fused_random)
    verdicts = (found.pair_verdicts, found.set_verdicts)
    shown = ["–" if rate is None else f"{rate:.1%}" for rate in rates]
    shown += ["–" if each is None else ", ".join(f"{share:.0%}" for share in each) for each in verdicts]
    return " | ".join(shown)


@main.command()
@click.option("--cedar", type=FOLDER, envvar="COUNTERSIGN_CEDAR", required=True, help="With full_org and full_forg.")
@click.option("--draws", default=5, show_default=True, type=click.IntRange(2), help="Random draws of the writers.")
def gain(cedar: Path, draws: int) -> None:
    """Fine-tune it with 5, 10 and 20 writers of CEDAR, and train on the same writers from nothing."""
    network, meta = load_model(FILE)
    weights = network.state_dict()
    lines = []
    for protocol in PROTOCOLS:
        _tell(f"reading, {protocol}")
        data = read_set("CEDAR", cedar, protocol, meta.preprocessing)
        tested, _ = part_writers(range(len(data.writers)), SEED)
        before = measure(data.of(tested), network, meta.calibration)
        lines.append(f"| {protocol} | 0 | boxed | {_points([before])} |")
        _tell(f"tuning, {protocol}: boxed pair EER {before.pair_skilled:.1%}")
        lines += _gain_lines(protocol, run_trials(data, weights, draws, SEED))
    names = ", ".join(name.split("/")[-1] for name in (data.writers[index] for index in tested))
    heading = (
        f"Test writers, the same throughout: {names}. {draws} random draws of the others; mean, lowest to highest.\n\n"
        f"| protocol | writers | training | pair EER, skilled | pair, random | {REFERENCES} references, skilled: "
        "mean distance |\n| --- | --- | --- | --- | --- | --- |"
    )
    _replace("gain", "\n".join([heading, *lines]))


def _gain_lines(protocol: str, trials: list[Trial]) -> list[str]:
    lines = []
    for size in SIZES:
        own = [trial for trial in trials if trial.writers == size]
        lines.append(f"| {protocol} | {size} | `--from boxed` | {_points([trial.tuned for trial in own])} |")
        lines.append(f"| {protocol} | {size} | from nothing | {_points([trial.alone for trial in own])} |")
    return lines


def _points(found: list[Figures]) -> str:
    columns = (
        [each.pair_skilled for each in found],
        [each.pair_random for each in found],
        [each.mean_skilled for each in found],
    )
    return " | ".join(row_of(column) if len(column) > 1 else f"{column[0]:.1%}" for column in columns)


def _replace(part: str, text: str) -> None:
    """Put ``text`` between the marks of ``part`` on the page."""
    begin, end = f"<!-- {part} -->\n", f"\n<!-- end of {part} -->"
    page = PAGE.read_text()
    before, rest = page.split(begin)
    PAGE.write_text(before + begin + text + end + rest.split(end)[1])
    click.echo(text)


def _tell(text: str) -> None:
    click.echo(f"{time.monotonic() - _started:6.0f} s  {text}", err=True)


if __name__ == "__main__":
    main()
