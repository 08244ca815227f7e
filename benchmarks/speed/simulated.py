"""A scoring worker whose network is a pause of 5 ms an image: what the rest of the work allows, however many there are.

Run as a program it waits for a line on its standard input, scores until nothing is left, and writes how many chunks it
scored.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch import nn

from shared.config import load_settings
from shared.db import Database
from shared.jobs.chunks import claim_chunks, renew_chunks
from shared.specs import canvas_of
from shared.storage import open_store
from shared.tables import ModelVersion
from worker.context import Context
from worker.heartbeat import Heartbeat
from worker.ml.embedder import Embedder
from worker.models import ModelCache, limit_threads
from worker.verification import score_claim

NETWORK, PAUSE = "compact", 0.005  # seconds an image
SIDE = 8  # of the grid of means that stands for an image


class Silent:
    """Nobody is rung for: the programs that score are started by hand."""

    def check(self) -> None:
        """Always there."""

    def ring(self, task: str, *ids: str, queue: str | None = None) -> bool:
        return True


class Pausing(nn.Module):
    """(N, 1, H, W) to (N, 64): means over a grid, after the pause that a network of this speed takes."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(SIDE)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(PAUSE * len(images))
        means: torch.Tensor = self.pool(images).flatten(1)
        return means


class PausingModels(ModelCache):
    """Every model version is the pause."""

    def get(self, model: ModelVersion) -> Embedder:
        return Embedder(Pausing(), canvas_of(NETWORK), torch.device("cpu"))


def context_of(home: Path, owner: str) -> Context:
    """What tasks need, on the tables and files in ``home``; never draining."""
    settings = load_settings(home=home, torch_threads=1)
    store = open_store(settings.storage_url)
    return Context(settings, Database(settings.database_url), store, Silent(), owner, lambda: False)


def score_all(context: Context) -> int:
    """Score until nothing is left; how many chunks that were."""
    settings, models, chunks = context.settings, PausingModels(context.store), 0
    while claim := claim_chunks(context.database, context.owner, settings.lease_seconds, settings.claim_rows):
        renew = partial(renew_chunks, context.database, claim, settings.lease_seconds)
        with Heartbeat(renew, settings.lease_seconds) as heartbeat:
            score_claim(context, models, claim, heartbeat.progress)
        chunks += len(claim.chunks)
    return chunks


def main() -> None:
    """Score in the folder that is named, once a line is read."""
    home, owner = sys.argv[1:]
    context = context_of(Path(home), owner)
    limit_threads(context.settings)
    print("ready", flush=True)
    sys.stdin.readline()
    print(score_all(context), flush=True)
    context.database.close()
