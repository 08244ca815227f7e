"""Measuring on people's signatures: what a model of the network ``ink`` answers for writers that it never saw."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.accuracy.sets import Source, prepared
from shared.calibration import Calibration
from shared.specs import Preprocessing, ProtocolName
from worker.comparing import represent, score_pairs, score_reference_sets
from worker.ml.compare import Representations, comparer
from worker.ml.embedder import Embedder
from worker.ml.evaluation import Scores
from worker.ml.metrics import equal_error_rate
from worker.ml.networks.ink import Ink
from worker.ml.sampling import Labels
from worker.ml.trials import GENUINE, RANDOM, SKILLED, Pairs, choose_pairs, choose_sets

REFERENCES = 8
MOST_RANDOM = 10_000  # pairs of two writers: enough to tell a thousandth
SEED = 1


@dataclass(frozen=True, slots=True, eq=False)
class RealSet:
    """Statistics (N, R) of the images of a set under one protocol, and whose they are; ``writers`` by number."""

    rows: Representations
    labels: Labels
    writers: tuple[str, ...]

    def of(self, writers: Sequence[int]) -> RealSet:
        """The part of some writers."""
        inside = np.flatnonzero(np.isin(self.labels.writer, writers))
        return RealSet(self.rows[inside], Labels(self.labels.writer[inside], self.labels.forged[inside]), self.writers)


def read_set(name: str, folder: Path, protocol: ProtocolName, preprocessing: Preprocessing) -> RealSet:
    """Read ``folder`` as an upload of it would be read."""
    with tempfile.TemporaryDirectory() as place:
        source = Source.pack(name, folder, Path(place))
        found = prepared(source, protocol, preprocessing, Path(place), "", lambda _: None)
        rows = represent(Embedder(Ink(), preprocessing, torch.device("cpu")), found.canvases, Path(place), _silent)
        own = np.array(rows)  # the file goes with the folder
    names = sorted(set(found.writers))
    number = {writer: index for index, writer in enumerate(names)}
    labels = Labels(np.array([number[writer] for writer in found.writers], np.int64), found.forged)
    return RealSet(own, labels, tuple(names))


@dataclass(frozen=True, slots=True)
class Figures:
    """Error rates, 0..1: EER of pairs and of sets of references, and how often each verdict was right or wrong.

    ``fused`` is by the calibrated score, None without calibration, ``mean`` by the mean distance. A verdict's figures
    are shares: of forgeries accepted, genuine ones rejected, genuine and skilled ones sent to review.
    """

    pair_skilled: float
    pair_random: float
    mean_skilled: float
    fused_skilled: float | None
    fused_random: float | None
    pair_verdicts: tuple[float, float, float, float] | None
    set_verdicts: tuple[float, float, float, float] | None

    @property
    def set_skilled(self) -> float:
        """By the score that the model answers with."""
        return self.mean_skilled if self.fused_skilled is None else self.fused_skilled


def completed(network: nn.Module, rows: Representations) -> Representations:
    """Representations that this model of the network ``ink`` makes of statistics (N, R)."""
    if not isinstance(network, Ink):
        raise TypeError("only the network ink makes representations of statistics")
    return network.complete(rows)


def measure(data: RealSet, network: nn.Module, calibration: Calibration | None) -> Figures:
    """What a model of the network ``ink`` answers for ``data``."""
    compare, rows = comparer("local", network), completed(network, data.rows)
    pairs = score_pairs(_fewer(choose_pairs(data.labels, SEED)), data.labels, rows, compare, calibration, _silent)
    chosen = choose_sets(data.labels, REFERENCES, SEED)
    sets = score_reference_sets(chosen, data.labels, rows, compare, calibration, _silent)
    fused = None if calibration is None else sets.score
    return Figures(
        pair_skilled=_eer(pairs, SKILLED, pairs.distance),
        pair_random=_eer(pairs, RANDOM, pairs.distance),
        mean_skilled=_eer(sets, SKILLED, sets.distance),
        fused_skilled=None if fused is None else _eer(sets, SKILLED, fused),
        fused_random=None if fused is None else _eer(sets, RANDOM, fused),
        pair_verdicts=_verdicts(pairs, calibration, 1),
        set_verdicts=_verdicts(sets, calibration, REFERENCES),
    )


def _fewer(pairs: Pairs) -> Pairs:
    random = np.flatnonzero(pairs.kind == RANDOM)
    if len(random) <= MOST_RANDOM:
        return pairs
    some = np.random.default_rng(SEED).choice(random, MOST_RANDOM, replace=False)
    kept = np.sort(np.concatenate([np.flatnonzero(pairs.kind != RANDOM), some]))
    return Pairs(pairs.first[kept], pairs.second[kept], pairs.kind[kept], pairs.possible)


def _eer(scores: Scores, forged: int, values: NDArray[np.float64]) -> float:
    return equal_error_rate(values[scores.kind == GENUINE], values[scores.kind == forged]).rate


def _verdicts(
    scores: Scores, calibration: Calibration | None, references: int
) -> tuple[float, float, float, float] | None:
    if calibration is None or scores.llr is None:
        return None
    bands = calibration.of_size(references).bands
    genuine, forged = (scores.llr[scores.kind == kind] for kind in (GENUINE, SKILLED))
    accepted, rejected = (side >= bands.accept_from for side in (genuine, forged)), genuine < bands.reject_below
    true_accept, false_accept = (float(side.mean()) for side in accepted)
    return (
        false_accept,
        float(rejected.mean()),
        float(1 - true_accept - rejected.mean()),
        float(1 - false_accept - (forged < bands.reject_below).mean()),
    )


def _silent(_done: int, _total: int) -> None:
    """Nobody is told how far it is."""
