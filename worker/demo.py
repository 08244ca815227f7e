"""``countersign demo``: the main job from beginning to end, by the very commands a user would type."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import IO

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from worker.ml.metrics import cllr, equal_error_rate
from worker.ml.shortcuts import shortcut_table
from worker.ml.synthesis import generate_writer

SEED = 20  # of the demo's writers
WRITERS, TRAINED = 60, 40
GENUINE, FORGED = 12, 12  # signatures of each writer
PAIRS = 35  # of each kind, genuine-genuine and genuine-forgery, for each writer verified
# Pairs of generated signatures are hard; at the usual one per cent nearly all of them would go to review.
TARGETS = ("--target-far", "0.1", "--target-frr", "0.1")
START_SECONDS = 90
MARKER = ".countersign-demo"
PAPER = ("background_median", "darkest_pixel", "mean_ink", "otsu_threshold", "stroke_width")

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Demo:
    """Folders of one run of the demo."""

    home: Path

    @property
    def training(self) -> Path:
        return self.home / "training-set"

    @property
    def batch(self) -> Path:
        return self.home / "batch"

    @property
    def results(self) -> Path:
        return self.home / "results.csv"


@click.command()
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), default=Path("var/demo"), show_default=True)
def demo(home: Path) -> None:
    """Generate signatures, train a model, verify a batch, print the figures; everything is stopped at the end.

    HOME is emptied first, if it is of an earlier demo.
    """
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the stack is stopped then too
    plan = Demo(home.resolve())
    _empty(plan.home)
    make_signatures(plan)
    write_manifest(plan.batch)
    with _Stack(plan.home / "stack") as stack:
        options = ("--name", "demo", "--network", "ink", "--generated", *TARGETS, "--wait")
        stack.run("submit", "train", str(plan.training), *options)
        stack.run("submit", "verify", str(plan.batch), "--model", "demo", "--wait", "--out", str(plan.results))
        seconds = stack.seconds_of_last_job()
    _show(plan, seconds)
    console.print(f"Done in {time.monotonic() - started:.0f} s. The answers are in {_short(plan.results)}.")
    console.print("Next: 'make run' starts the same stack to work with, pages included.")


def _empty(home: Path) -> None:
    """Make ``home`` an empty folder of the demo's; what is not of the demo's making is left alone."""
    marker = home / MARKER
    if home.exists() and any(home.iterdir()) and not marker.exists():
        raise click.ClickException(f"{home} is not empty, and not of an earlier demo. Name another folder with --home.")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    marker.touch()


def make_signatures(plan: Demo) -> None:
    """Writers 1-40 in the layout of a training set, 41-60 as a batch's images."""
    for writer in track(range(1, WRITERS + 1), "Generating signatures", console=console):
        folder = plan.training / f"writer_{writer:03}" if writer <= TRAINED else plan.batch / f"writer_{writer:03}"
        for signature in generate_writer(SEED, writer, GENUINE, FORGED):
            kind = folder / ("forged" if signature.forged else "genuine")
            kind.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(kind / f"{signature.index:02}.png"), signature.image):
                raise click.ClickException(f"{kind} cannot be written")


def write_manifest(batch: Path) -> None:
    """The batch's comparisons; an id ending in ``genuine`` or ``forged`` tells the truth, for the figures only."""
    with (batch / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "questioned", "reference"])
        for folder in sorted(path for path in batch.iterdir() if path.is_dir()):
            for truth, pairs in _pairs(folder).items():
                for number, (questioned, reference) in enumerate(pairs, 1):
                    names = (path.relative_to(batch).as_posix() for path in (questioned, reference))
                    writer.writerow([f"{folder.name}-{number:03}-{truth}", *names])


def _pairs(folder: Path) -> dict[str, list[tuple[Path, Path]]]:
    genuine = sorted((folder / "genuine").iterdir())
    forged = sorted((folder / "forged").iterdir())
    crossed = [(forgery, reference) for shift, forgery in enumerate(forged) for reference in genuine[shift::4]]
    return {"genuine": list(combinations(genuine, 2))[:PAIRS], "forged": crossed[:PAIRS]}


class _Stack:
    """``countersign up`` as a child, and the commands that talk to it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._command = str(Path(sys.executable).with_name("countersign"))
        self._environment = os.environ | {"COUNTERSIGN_HOME": str(home)}
        self._environment.pop("COUNTERSIGN_URL", None)
        self._environment.pop("COUNTERSIGN_API_KEY", None)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> _Stack:
        self._home.mkdir(parents=True)
        console.print("Starting Redis, the database, the workers and the web server ...")
        self._process = subprocess.Popen(
            [self._command, "up", "--home", str(self._home), "--port", "0"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            self._wait_until_ready(self._process.stdout)
        except BaseException:
            self._stop(self._process)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._stop(self._process)

    def run(self, *arguments: str) -> None:
        """Run a ``countersign`` command and show it; a failure ends the demo."""
        console.print(
            f"$ countersign {' '.join(_short(Path(a)) if '/' in a else a for a in arguments)}", highlight=False
        )
        done = subprocess.run([self._command, *arguments], env=self._environment, stdout=sys.stderr, check=False)
        if done.returncode:
            raise click.ClickException(f"the command failed; see {_short(self._home / 'logs')}")

    def seconds_of_last_job(self) -> float:
        """From submission to the last result, by the job's own clock."""
        from shared.db import Database  # the demo is on the server's host: it may look into the tables
        from shared.jobs.queries import list_jobs

        database = Database(f"sqlite:///{self._home / 'countersign.db'}")
        with database.read() as session:
            job = list_jobs(session, limit=1)[0][0]
        database.close()
        if job.finished_at is None:
            raise click.ClickException("the verification has not ended")
        return (job.finished_at - job.created_at).total_seconds()

    def _wait_until_ready(self, output: IO[str] | None) -> None:
        for line in output or ():
            if "is ready" in line:
                return
        raise click.ClickException(f"the stack did not start; see {_short(self._home / 'logs')}")

    def _stop(self, process: subprocess.Popen[str]) -> None:
        console.print("Stopping everything ...")
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise click.ClickException("the stack did not stop and was killed") from None
        finally:
            if process.stdout is not None:
                process.stdout.close()


def _show(plan: Demo, seconds: float) -> None:
    """The figures, from the exported file alone."""
    with plan.results.open(newline="") as file:
        rows = list(csv.DictReader(file))
    sides = {
        truth: [row for row in rows if row["distance"] and row["id"].endswith(truth)] for truth in ("genuine", "forged")
    }
    distances = {truth: np.array([float(row["distance"]) for row in side]) for truth, side in sides.items()}
    eer = equal_error_rate(distances["genuine"], distances["forged"])
    far = np.mean([row["verdict"] == "accept" for row in sides["forged"]])
    frr = np.mean([row["verdict"] == "reject" for row in sides["genuine"]])
    counts = {
        verdict: sum(row["verdict"] == verdict for row in rows)
        for verdict in ("accept", "reject", "review", "unscorable")
    }
    table = Table(title=f"Verification of {WRITERS - TRAINED} writers the network has never seen", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_row("comparisons", f"{len(rows):,}")
    table.add_row("accepted", f"{counts['accept']:,}")
    table.add_row("rejected", f"{counts['reject']:,}")
    table.add_row("to review", f"{counts['review']:,}")
    table.add_row("unscorable", f"{counts['unscorable']:,}")
    table.add_row("FAR: skilled forgeries accepted", f"{far:.1%}")
    table.add_row("FRR: genuine signatures rejected", f"{frr:.1%}")
    table.add_row("EER, skilled forgeries", f"{eer.rate:.1%}")
    if all(row["llr"] for side in sides.values() for row in side):
        ratios = [[float(row["llr"]) for row in sides[truth]] for truth in ("genuine", "forged")]
        table.add_row("Cllr of the likelihood ratios, bits", f"{cllr(*ratios):.2f}")
    for name, auc in _floor(plan.batch).items():
        table.add_row(f"  shortcut floor: AUC of {name.replace('_', ' ')} alone", f"{auc:.2f}")
    table.add_row("comparisons per second, submit to last result", f"{len(rows) / seconds:,.0f}")
    Console().print(table)


def _floor(batch: Path) -> dict[str, float]:
    """What paper, pen and scanner alone would tell (0.5: nothing), on the batch's own images."""
    samples: list[tuple[Hashable, bool, NDArray[np.uint8]]] = [
        (
            path.parts[-3],
            path.parts[-2] == "forged",
            np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), dtype=np.uint8),
        )
        for path in sorted(batch.rglob("*.png"))
    ]
    table = shortcut_table(samples)
    return {name: table[name] for name in PAPER}


def _short(path: Path) -> str:
    return os.path.relpath(path)
