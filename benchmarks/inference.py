"""How fast a network embeds in other ways than plain float32, and whether its distances and verdicts stay the same.

``python -m benchmarks.inference rates``          images per second, each way beside plain float32, in turns
``python -m benchmarks.inference verdicts CEDAR`` trains on writers 1-36, compares all pairs of writers 37-45
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import combinations, product
from pathlib import Path
from statistics import median

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.accuracy.sets import PreparedSet, Source, prepared
from shared.specs import TrainSpec, canvas_of
from worker.ml.compare import euclidean
from worker.ml.embedder import as_input
from worker.ml.fit import fit
from worker.ml.networks import build
from worker.ml.sampling import Labels, Split
from worker.ml.trained import EpochRow, FitResult
from worker.ml.winograd import quickened

CPU = torch.device("cpu")
BATCH, ROUNDS, SECONDS = 32, 5, 1.0
TRAINED, VALIDATED, LAST = 30, 36, 45  # writers: up to here
# Epochs and learning rate: short, for a network that tells writers apart and not for its error rate.
RECIPES = {"seed": (4, 3e-4), "compact": (12, 1e-3)}

Way = Callable[[torch.Tensor], torch.Tensor]  # (N, 1, H, W) to (N, R), float32


def ways(network: nn.Module) -> dict[str, Way]:
    """Ways to run ``network``, which stays as it is."""
    network = network.to(memory_format=torch.channels_last).eval()
    half, quick = copy.deepcopy(network).bfloat16(), quickened(copy.deepcopy(network))

    def autocast(canvases: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            out: torch.Tensor = network(canvases)
        return out.float()

    return {
        "float32": network,
        "Winograd, float32": quick,
        "bfloat16 throughout": lambda canvases: half(canvases.bfloat16()).float(),
        "bfloat16 by autocast": autocast,
    }


@click.group()
@click.option("--network", "name", type=click.Choice(list(RECIPES)), default="seed", show_default=True)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.pass_context
def main(context: click.Context, name: str, threads: int) -> None:
    """Other ways to embed, beside plain float32."""
    torch.set_num_threads(threads)
    context.obj = name


@main.command()
@click.pass_obj
def rates(name: str) -> None:
    """Images per second, each way in turns with plain float32; ratios: median, lowest, highest."""
    torch.manual_seed(1)
    known = ways(build(name))
    shape = (BATCH, *canvas_of(name).shape)
    canvases = as_input(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8), CPU)
    for label, way in list(known.items())[1:]:
        turns = [(_rate(known["float32"], canvases), _rate(way, canvases)) for _ in range(ROUNDS)]
        ratios = [other / plain for plain, other in turns]
        seen = f"{median(plain for plain, _ in turns):,.0f} to {median(other for _, other in turns):,.0f} images/s"
        click.echo(f"{name}, {label}: {median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}), {seen}")


@torch.inference_mode()
def _rate(way: Way, canvases: torch.Tensor) -> float:
    way(canvases)  # the first time is another measurement
    done, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < SECONDS:
        way(canvases)
        done += len(canvases)
    return done / taken


@main.command()
@click.argument("cedar", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.pass_obj
def verdicts(name: str, cedar: Path) -> None:
    """How far distances move from plain float32, as a share, and how many verdicts change."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        found = prepared(Source.pack("cedar", cedar, place), "grey-ink", canvas_of(name), place, "", click.echo)
        trained = _trained(name, found)
        canvases, first, second = _pairs(found)
    plain: NDArray[np.float32] | None = None
    for label, way in ways(trained.network).items():
        distances = euclidean(_embedded(way, canvases), first, second)
        plain = distances if plain is None else plain
        moved = np.abs(distances / plain - 1)
        changed = ((distances <= trained.threshold) != (plain <= trained.threshold)).mean()
        click.echo(
            f"{name}, {label}: {len(moved):,} distances moved by {np.median(moved):.4%} (median), "
            f"{np.quantile(moved, 0.99):.4%} (99 of 100), {moved.max():.4%} (most); verdicts changed {changed:.3%}"
        )


def _trained(name: str, found: PreparedSet) -> FitResult:
    epochs, rate = RECIPES[name]

    def tell(row: EpochRow) -> None:
        click.echo(f"epoch {row.epoch}: EER {row.validation_eer:.1%}, {row.seconds:.0f} s", err=True)

    return fit(
        np.array(found.canvases),
        Labels(_numbers(found), found.forged),
        Split(tuple(range(1, TRAINED + 1)), tuple(range(TRAINED + 1, VALIDATED + 1))),
        TrainSpec(network=name, epochs=epochs, learning_rate=rate, calibration_share=0),
        on_epoch=tell,
        should_stop=lambda: False,
        on_checkpoint=lambda _: None,
    )


def _pairs(found: PreparedSet) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Canvases, and both sides of every genuine-genuine and genuine-forgery pair of the writers that are left."""
    numbers = _numbers(found)
    pairs: list[tuple[int, int]] = []
    for writer in range(VALIDATED + 1, LAST + 1):
        own = numbers == writer
        genuine, forged = np.flatnonzero(own & ~found.forged).tolist(), np.flatnonzero(own & found.forged).tolist()
        pairs += [*combinations(genuine, 2), *product(genuine, forged)]
    rows, places = np.unique(np.array(pairs), return_inverse=True)
    first, second = places.reshape(-1, 2).T
    return np.array(found.canvases[rows]), first, second


def _numbers(found: PreparedSet) -> NDArray[np.int64]:
    return np.array([int(writer.rpartition("/")[2]) for writer in found.writers])


@torch.inference_mode()
def _embedded(way: Way, canvases: NDArray[np.uint8]) -> NDArray[np.float32]:
    parts: Iterator[torch.Tensor] = (
        way(as_input(canvases[start : start + BATCH], CPU)) for start in range(0, len(canvases), BATCH)
    )
    return np.asarray(torch.cat(list(parts)).numpy(), np.float32)


if __name__ == "__main__":
    main()
