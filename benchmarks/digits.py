"""One-shot classification of digits that the network never saw: other pictures than signatures, from end to end.

python -m benchmarks.digits

Takes scikit-learn's bundled digits (1,797 pictures of 8 x 8 pixels), trains on five of the ten by the code that trains
on signatures, with the preset ``photo``, and tells the other five apart from one picture of each (5-way 1-shot,
Vinyals et al. 2016, section 4.1); then the other way round. Chance is 20%. The baseline is the nearest neighbour by
pixels, in the same episodes.

Five categories are far too few to learn what tells categories apart: trained on them alone, any of the losses gives
embeddings worse than the pixels (NOTES.md). So 180 are made of the five: each half of one digit beside each half of
another, above one another and side by side, and each of these in four quarter turns. Some of these 180 categories are
kept to choose the best epoch; no picture of the five unseen digits plays a part.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product

import click
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn

from shared.specs import Preprocessing, TrainSpec
from worker.ml.compare import Comparer, Representations, comparer, euclidean
from worker.ml.embedder import Embedder
from worker.ml.fit import fit
from worker.ml.identification import classify, distances_to
from worker.ml.images import decode, prepare, view_png
from worker.ml.networks.conv4 import Conv4
from worker.ml.sampling import Labels, Split
from worker.ml.trained import EpochRow

HALVES = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
SIDE = 32  # of the canvas; half the catalogue's for this network, since the pictures are of 8 x 8
EACH = 16  # pictures of each made category
HELD_OUT = 0.2  # of the made categories, to choose the best epoch
QUERIES = 15  # of each digit in an episode
Z95 = 1.959963984540054  # quantile 0.975 of the normal distribution

Integers = NDArray[np.int64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Pictures:
    """``pixels`` uint8 (N, 8, 8), dark ground and bright pen; ``categories`` (N,)."""

    pixels: Pixels
    categories: Integers

    def of(self, wanted: tuple[int, ...]) -> Pictures:
        """Those of some categories."""
        rows = np.isin(self.categories, wanted)
        return Pictures(self.pixels[rows], self.categories[rows])


@dataclass(frozen=True, slots=True)
class Share:
    """A mean over episodes, and half the width of its 95% interval; both in 0..1."""

    mean: float
    reach: float

    def __str__(self) -> str:
        return f"{self.mean:.1%} ± {self.reach:.1%}"


def load() -> Pictures:
    """The bundled digits, their 17 levels spread over 0..255."""
    bunch = load_digits()
    return Pictures((bunch.images * 255 / 16).round().astype(np.uint8), bunch.target.astype(np.int64))


def many_categories(pictures: Pictures, each: int, seed: int) -> Pictures:
    """``each`` pictures of every category that halves and quarter turns make: C (2 C - 1) x 4 of C categories."""
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(pictures.categories == category) for category in np.unique(pictures.categories)]
    made: list[Pixels] = []
    for first, second in product(range(len(rows)), repeat=2):
        for window in (np.s_[:, 4:],) if first == second else (np.s_[:, 4:], np.s_[:, :, 4:]):
            joined = pictures.pixels[rng.choice(rows[first], each)]
            if first != second:
                joined[window] = pictures.pixels[rng.choice(rows[second], each)][window]
            made += [np.rot90(joined, turns, (1, 2)) for turns in range(4)]
    return Pictures(np.concatenate(made), np.repeat(np.arange(len(made)), each))


def canvases_of(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Each picture as a file, read and prepared as an upload is: (N, H, W)."""
    return np.stack([prepare(decode(view_png(np.ascontiguousarray(one))), preprocessing) for one in pixels])


def train(pictures: Pictures, recipe: TrainSpec, side: int = SIDE, quiet: bool = False) -> Embedder:
    """A small network trained on these pictures; some categories are kept to choose the best epoch."""
    preprocessing = Preprocessing(preset=recipe.preset, height=side, width=side)
    order = np.random.default_rng(recipe.seed).permutation(np.unique(pictures.categories)).tolist()
    kept = max(2, round(HELD_OUT * len(order)))

    def small(_: str, channels: int) -> nn.Module:
        return Conv4(channels, side)

    result = fit(
        canvases_of(pictures.pixels, preprocessing),
        Labels(pictures.categories, np.zeros(len(pictures.categories), bool)),
        Split(tuple(order[kept:]), tuple(order[:kept])),
        recipe,
        on_epoch=lambda row: None if quiet else _tell(row),
        should_stop=lambda: False,
        on_checkpoint=lambda _: None,
        build_network=small,
    )
    return Embedder(result.network, preprocessing, compare=comparer(result.comparer, result.network))


def _tell(row: EpochRow) -> None:
    print(f"  epoch {row.epoch:2}: loss {row.loss:.3f}, EER on held-out categories {row.validation_eer:.1%}")


def episodes_of(categories: Integers, count: int, seed: int) -> list[tuple[Integers, Integers]]:
    """Episodes: one row of each category (C,), and ``QUERIES`` others of each (C x QUERIES,), in the same order."""
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(categories == category) for category in np.unique(categories)]
    drawn = [[rng.choice(own, QUERIES + 1, replace=False) for own in rows] for _ in range(count)]
    return [(np.array([own[0] for own in episode]), np.concatenate([own[1:] for own in episode])) for episode in drawn]


def one_shot(rows: Representations, episodes: list[tuple[Integers, Integers]], compare: Comparer) -> Share:
    """The share of queries whose nearest single example is of their category. ``rows`` are (N, R)."""
    right = []
    for examples, queries in episodes:
        owner = np.arange(len(examples))
        answer = classify(distances_to(rows, queries, examples, compare), owner, np.inf).nearest
        right.append(float((answer == np.repeat(owner, QUERIES)).mean()))
    return Share(float(np.mean(right)), float(Z95 * np.std(right, ddof=1) / np.sqrt(len(right))))


def recipe_of(epochs: int, seed: int) -> TrainSpec:
    """What worked on the first half: the multi-similarity loss keeps more of what tells new categories apart."""
    return TrainSpec(network="conv4", preset="photo", loss="multi-similarity", epochs=epochs, seed=seed)


@click.command()
@click.option("--epochs", default=6, show_default=True, type=click.IntRange(1))
@click.option("--episodes", default=1000, show_default=True, type=click.IntRange(2))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
def main(epochs: int, episodes: int, seed: int) -> None:
    """Train on five digits, tell the other five apart from one example each; then the other way round."""
    torch.set_num_threads(1)
    started = time.process_time()
    pictures = load()
    for trained, unseen in (HALVES, HALVES[::-1]):
        print(f"Trained on pictures made of the digits {trained}:")
        embedder = train(many_categories(pictures.of(trained), EACH, seed), recipe_of(epochs, seed))
        new = pictures.of(unseen)
        drawn = episodes_of(new.categories, episodes, seed)
        learned = one_shot(embedder.embed(canvases_of(new.pixels, embedder.preprocessing)), drawn, embedder.compare)
        raw = one_shot(new.pixels.reshape(len(new.pixels), -1).astype(np.float32), drawn, euclidean)
        print(f"5-way 1-shot on {unseen}, {episodes:,} episodes: {learned}; by pixels {raw}; chance 20.0%")
    print(f"{time.process_time() - started:.0f} seconds of one core. The intervals are of the draw of episodes alone.")


if __name__ == "__main__":
    main()
