"""Making the model: generated writers to canvases, canvases to a network, a network to the file that ships."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.boxed.measuring import completed
from shared.calibration import Calibration
from shared.model_files import ModelMeta
from shared.networks import NETWORKS
from shared.specs import Preprocessing, TrainSpec
from worker.digests import summary_of
from worker.ml.calibrate import calibrate_model
from worker.ml.checkpoint import save_model
from worker.ml.closedform import begin, fit_statistics
from worker.ml.compare import Representations, comparer
from worker.ml.images import pixel_digest, prepare
from worker.ml.inkpairs import FEATURES, OF_STRENGTH
from worker.ml.inkstats import ink_statistics
from worker.ml.networks.ink import Ink
from worker.ml.sampling import Labels, Split
from worker.ml.synthesis import generate_writer
from worker.ml.trained import FitResult

Tell = Callable[[str], None]

RIDGE = 2.0  # towards that single weight; see benchmarks/NOTES.md
RECIPE = TrainSpec(name="boxed", network="ink", generated=True, target_far=0.1, target_frr=0.05)

CANVAS = RECIPE.preprocessing.model_copy(update={"enlarge": 2})  # generated ink is some 230 pixels wide, as at 150 dpi


@dataclass(frozen=True, slots=True)
class Plan:
    """How many writers play which part, and how many signatures of each are generated, from which seed."""

    seed: int = 20261123
    training: int = 300
    selection: int = 40
    calibration: int = 60
    spread: int = 60  # of the training writers: their grey images say how much each statistic varies
    genuine: int = 6
    forged: int = 6
    calibration_genuine: int = 16  # reference sets of 12, and some to question
    calibration_forged: int = 8


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """Statistics (N, R) of the signatures of generated writers, and whose they are; ``digest`` names the images."""

    rows: Representations
    labels: Labels
    digest: str


def make(plan: Plan, recipe: TrainSpec = RECIPE, processes: int = 1, tell: Tell = lambda _: None) -> bytes:
    """The model file. The same plan and recipe give the same bytes on one machine, with any number of processes."""
    writers = range(plan.training + plan.selection)
    counts = plan.genuine, plan.forged
    tell(f"generating {len(writers)} writers to learn from")
    known = generate(plan.seed, writers, counts, CANVAS, processes, binary=True)
    # From binarised images alone the statistics of grey ink would have no spread, and a later training on grey ones
    # would read any difference in them as enormous.
    grey = generate(plan.seed, range(plan.spread), counts, CANVAS, processes)
    tell("fitting")
    split = Split(tuple(writers[: plan.training]), tuple(writers[plan.training :]))
    network = Ink()
    network.measure(grey.rows, grey.labels.writer, grey.labels.forged)
    begun = begin(network, known.rows, known.labels, split, recipe, ~OF_STRENGTH)
    result, _ = fit_statistics(known.rows, known.labels, split, recipe, begun, RIDGE)
    with torch.no_grad():
        _slopes_of(result.network)[torch.from_numpy(_left_out())] = 0.0
    tell(f"calibrating with {plan.calibration} writers; EERs of the selection writers {result.eers}")
    calibration, digest = _calibrated(plan, recipe, result, processes)
    meta = ModelMeta(
        network=recipe.network,
        preprocessing=CANVAS,
        threshold=result.threshold,
        comparer=result.comparer,
        training=_summary(plan, recipe, result, (known.digest, digest)),
        calibration=calibration,
    )
    return save_model(result.network, meta)


def generate(
    seed: int,
    writers: range,
    counts: tuple[int, int],
    preprocessing: Preprocessing,
    processes: int = 1,
    *,
    binary: bool = False,
) -> Generated:
    """Signatures of ``writers``, in order: ``counts`` genuine and forged of each; binarised if ``binary``."""
    work = partial(_one_writer, seed, counts, preprocessing, binary)
    if processes > 1:
        with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:  # torch's threads run here
            parts = list(pool.map(work, writers, chunksize=4))
    else:
        parts = [work(writer) for writer in writers]
    each = np.arange(sum(counts)) >= counts[0]
    return Generated(
        np.concatenate([rows for rows, _ in parts]),
        Labels(np.repeat(np.array(writers, np.int64), sum(counts)), np.tile(each, len(writers))),
        f"sha256:{hashlib.sha256(b''.join(digest for _, digest in parts)).hexdigest()}",
    )


def _one_writer(
    seed: int, counts: tuple[int, int], preprocessing: Preprocessing, binary: bool, writer: int
) -> tuple[Representations, bytes]:
    cv2.setNumThreads(1)
    hasher = hashlib.sha256()
    rows = []
    for signature in generate_writer(seed, writer, *counts):
        pixels = signature.image
        hasher.update(pixel_digest(pixels).encode())
        rows.append(ink_statistics(prepare(pixels, preprocessing, binary=binary)))
    return np.stack(rows), hasher.digest()


def _left_out() -> NDArray[np.bool_]:
    """Which features of a pair (F,) have no weight: grey ink, whose pen the generator draws anew for each image while
    people keep theirs, and the kinds, which the generator invents too."""
    return np.append(OF_STRENGTH, np.ones(FEATURES - len(OF_STRENGTH), np.bool_))


def _slopes_of(network: nn.Module) -> torch.Tensor:
    return dict(network.named_parameters())["slopes"]


def _calibrated(plan: Plan, recipe: TrainSpec, result: FitResult, processes: int) -> tuple[Calibration, str]:
    """The calibration, on grey images of further writers, as people send them; and the digest of these images."""
    first = plan.training + plan.selection
    counts = plan.calibration_genuine, plan.calibration_forged
    kept = generate(plan.seed, range(first, first + plan.calibration), counts, CANVAS, processes)
    calibration = calibrate_model(
        completed(result.network, kept.rows),
        [str(writer) for writer in kept.labels.writer],
        kept.labels.forged,
        comparer(result.comparer, result.network),
        target_far=recipe.target_far,
        target_frr=recipe.target_frr,
        data=kept.digest,
        generated=True,
        method=recipe.calibration_method,
        seed=recipe.seed,
    )
    return calibration, kept.digest


def _summary(plan: Plan, recipe: TrainSpec, result: FitResult, digests: tuple[str, str]) -> dict[str, Any]:
    """The same parts as ``worker.training`` writes, for the same pages and cards."""
    trained = plan.training + plan.selection
    info = NETWORKS[recipe.network]
    note = "Made of generated signatures only: these error rates say little about people's signatures."
    return {
        "recipe": recipe.model_dump(mode="json"),
        "loss": result.loss,
        "from": None,
        "data": {
            "layout": "generated",
            "writers": trained + plan.calibration,
            "genuine": trained * plan.genuine + plan.calibration * plan.calibration_genuine,
            "forged": trained * plan.forged + plan.calibration * plan.calibration_forged,
            "digest": digests[0],
            "calibration_digest": digests[1],
            "generator": asdict(plan),
            "ridge": RIDGE,
        },
        "validation": {"eer": result.eer, "eers": result.eers, "forgeries": result.forgeries, "note": note},
        "calibration_note": "",
        "images_seen": summary_of(b""),  # of people's signatures: none, so no evaluation can hold one of them
        "network": {
            "parameters": sum(parameter.numel() for parameter in result.network.parameters()),
            "embedding": info.representation,
            "pretrained": None,
        },
        "preprocessing": CANVAS.model_dump(mode="json"),
        "library": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "numpy", "opencv-python-headless", "countersign")},
    }


def write(content: bytes, path: Path) -> str:
    """Write the file whole or not at all; returns its digest."""
    written = path.with_suffix(".new")
    written.write_bytes(content)
    written.replace(path)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
