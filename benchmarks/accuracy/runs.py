"""One training and what its test writers say of it; kept on the disk, so that it is done once."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.folds import Parts
from benchmarks.accuracy.recipe import REFERENCES
from benchmarks.accuracy.sets import PreparedSet
from shared.calibration import SIZES, Calibration
from shared.model_files import ModelMeta
from shared.specs import ProtocolName, TrainSpec
from worker.comparing import represent, score_pairs, score_reference_sets
from worker.ml.calibrate import calibrate_model
from worker.ml.checkpoint import digest, save_model
from worker.ml.compare import Comparer, Representations, comparer
from worker.ml.embedder import Embedder
from worker.ml.evaluation import Bands, Figures, Scores
from worker.ml.fit import fit
from worker.ml.metrics import equal_error_rate
from worker.ml.sampling import Labels, Split, refuse_leak
from worker.ml.trained import EpochRow, FitResult
from worker.ml.trials import GENUINE, RANDOM, SKILLED, choose_pairs, choose_sets
from worker.reporting.document import Measured, figures

TELL_SECONDS = 30.0
_NO_MATTER = tuple(f"benchmarks.accuracy.{name}" for name in ("recipe", "results", "page"))  # to a run; see key_of
LEFT_OUT = ("by_writer", "warnings", "counts", "rounds")  # of an evaluation's figures, in accuracy.json

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """One training: its name, its protocol, the writers of each part. Its test writers may be of several sets."""

    name: str
    protocol: ProtocolName
    parts: Parts


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came out, by tested set: ``figures`` fit for JSON, ``scores`` of pairs and of sets of references."""

    about: dict[str, Any]
    figures: dict[str, Figures]
    scores: dict[str, tuple[Scores, Scores]]


def code_version() -> str:
    """The digest of the sources of all of the project's modules that are loaded: other code, other figures."""
    hasher = hashlib.sha256()
    for name, module in sorted(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and name.split(".")[0] in ("worker", "shared", "benchmarks") and name not in _NO_MATTER:
            hasher.update(name.encode() + b"\0" + Path(path).read_bytes())
    return hasher.hexdigest()[:16]


def key_of(run: Run, sets: Mapping[str, PreparedSet], recipe: TrainSpec, code: str) -> str:
    """What a run depends on, as one digest."""
    data = {name: (one.data, one.preprocessing.model_dump(mode="json")) for name, one in sorted(sets.items())}
    told = {
        "run": asdict(run),
        "references": REFERENCES,
        "recipe": recipe.model_dump(mode="json"),
        "code": code,
        "data": data,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def carry_out(
    run: Run, sets: Mapping[str, PreparedSet], recipe: TrainSpec, out: Path, code: str, tell: Tell
) -> Outcome:
    """Train, calibrate and test; or take what ``out`` holds of the very same run.

    Raises folds.WritersLeak or TrainingFailed with code leak where training and test are not apart.
    """
    folder = out / f"{run.protocol}-{run.name}"
    folder.mkdir(parents=True, exist_ok=True)
    done, key = folder / "done.json", key_of(run, sets, recipe, code)
    known = json.loads(done.read_text()) if done.exists() else {}
    if known.get("key") == key:
        tell(f"{run.protocol}, {run.name}: done already, in {known['about']['seconds']:.0f} s")
        return _Kept(folder).load(known)
    done.unlink(missing_ok=True)
    started = time.monotonic()
    outcome = _Work(run, sets, recipe, folder, key, tell).run()
    outcome.about["seconds"] = round(time.monotonic() - started, 1)
    _Kept(folder).save(outcome, key)
    tell(f"{run.protocol}, {run.name}: {_headline(outcome)}; {outcome.about['seconds']:.0f} s")
    return outcome


class _Work:
    """A run while it goes on."""

    def __init__(
        self, run: Run, sets: Mapping[str, PreparedSet], recipe: TrainSpec, folder: Path, key: str, tell: Tell
    ) -> None:
        everybody = sum(run.parts.by_name.values(), ())
        self._run, self._recipe, self._tell = run, recipe, tell
        self._sets = {name: one for name, one in sets.items() if len(one.rows_of(everybody))}
        self._checkpoint = folder / f"checkpoint-{key[:16]}"
        self._told = time.monotonic()

    def run(self) -> Outcome:
        """The whole of it."""
        self._refuse_leak()
        result = self._train()
        compare = comparer(result.comparer, result.network)
        embedder = Embedder(result.network, next(iter(self._sets.values())).preprocessing, compare=compare)
        calibration = self._calibrate(embedder)
        figures, scores = {}, {}
        for name, tested in self._sets.items():
            rows = tested.rows_of(self._run.parts.test)
            if len(rows):
                figures[name], scores[name] = _test(embedder, calibration, result.threshold, tested, rows)
        self._checkpoint.unlink(missing_ok=True)
        return Outcome(self._about(result, calibration), figures, scores)

    def _refuse_leak(self) -> None:
        """No writer plays two parts (``Parts`` says so), nor does any image, whatever name it bears."""
        sides = []
        for writers in self._run.parts.by_name.values():
            images: list[tuple[str, str]] = []
            for one in self._sets.values():
                images += [(one.entries[row], one.digests[row]) for row in one.rows_of(writers).tolist()]
            sides.append(images)
        refuse_leak(*sides)

    def _train(self) -> FitResult:
        """Nothing but the images of training and selection writers is handed to the training."""
        parts = self._run.parts
        canvases, writers, forged = _gathered(self._sets, parts.training + parts.selection)
        number = {writer: index for index, writer in enumerate(sorted(set(writers)))}
        split = Split(*(tuple(number[writer] for writer in side) for side in (parts.training, parts.selection)))
        return fit(
            canvases,
            Labels(np.array([number[writer] for writer in writers], np.int64), forged),
            split,
            self._recipe,
            on_epoch=self._on_epoch,
            should_stop=lambda: False,
            checkpoint=self._checkpoint.read_bytes() if self._checkpoint.exists() else None,
            on_checkpoint=self._on_checkpoint,
        )

    def _on_epoch(self, row: EpochRow) -> None:
        if time.monotonic() - self._told > TELL_SECONDS:
            self._told = time.monotonic()
            eer = f"selection EER {row.validation_eer:.1%}"
            self._tell(f"  {self._run.protocol}, {self._run.name}: epoch {row.epoch}, loss {row.loss:.3f}, {eer}")

    def _on_checkpoint(self, content: bytes) -> None:
        written = self._checkpoint.with_suffix(".new")
        written.write_bytes(content)
        written.replace(self._checkpoint)

    def _calibrate(self, embedder: Embedder) -> Calibration:
        canvases, writers, forged = _gathered(self._sets, self._run.parts.calibration)
        return calibrate_model(
            embedder.embed(canvases),
            writers,
            forged,
            embedder.compare,
            target_far=self._recipe.target_far,
            target_frr=self._recipe.target_frr,
            data=" ".join(one.data for one in self._sets.values()),
            method=self._recipe.calibration_method,
            seed=self._recipe.seed,
        )

    def _about(self, result: FitResult, calibration: Calibration) -> dict[str, Any]:
        meta = ModelMeta(
            network=self._recipe.network,
            preprocessing=self._recipe.preprocessing,
            threshold=result.threshold,
            comparer=result.comparer,
            calibration=calibration,
        )
        return {
            "run": self._run.name,
            "protocol": self._run.protocol,
            "writers": {name: list(writers) for name, writers in self._run.parts.by_name.items()},
            "model": digest(save_model(result.network, meta)),
            "epochs": result.epochs,
            "best_epoch": result.best_epoch,
            "selection": result.eers,
            "threshold": result.threshold,
        }


def _gathered(
    sets: Mapping[str, PreparedSet], writers: tuple[str, ...]
) -> tuple[NDArray[np.uint8], list[str], NDArray[np.bool_]]:
    """The images of some writers of all sets: canvases (N, H, W), names (N), whether forged (N,)."""
    rows = [(one, one.rows_of(writers)) for one in sets.values()]
    return (
        np.concatenate([one.canvases[chosen] for one, chosen in rows]),
        [one.writers[row] for one, chosen in rows for row in chosen.tolist()],
        np.concatenate([one.forged[chosen] for one, chosen in rows]),
    )


def _test(
    embedder: Embedder, calibration: Calibration, threshold: float, tested: PreparedSet, chosen: NDArray[np.int64]
) -> tuple[Figures, tuple[Scores, Scores]]:
    """An evaluation as the service makes it, and the curve over the number of references."""
    names = sorted({tested.writers[row] for row in chosen})
    number = {name: index for index, name in enumerate(names)}
    labels = Labels(np.array([number[tested.writers[row]] for row in chosen], np.int64), tested.forged[chosen])
    seed = 1  # of the bootstrap, and of random pairs drawn
    pairs, sets = choose_pairs(labels, seed), choose_sets(labels, REFERENCES, seed)
    with tempfile.TemporaryDirectory() as folder:
        rows = represent(embedder, tested.canvases[chosen], Path(folder), _silent)
        measured = Measured(
            writers=names,
            pairs=pairs,
            listed=False,
            sets=sets,
            references=REFERENCES,
            pair_scores=score_pairs(pairs, labels, rows, embedder.compare, calibration, _silent),
            set_scores=score_reference_sets(sets, labels, rows, embedder.compare, calibration, _silent),
            threshold=threshold,
            bands=(_bands(calibration, 1), _bands(calibration, REFERENCES)),
            statistics=tested.statistics[:, chosen],
            seed=seed,
        )
        found = {name: value for name, value in figures(measured).items() if name not in LEFT_OUT}
        found["curve"] = _curve(labels, rows, embedder.compare, calibration, seed)
    return found, (measured.pair_scores, measured.set_scores)


def _curve(
    labels: Labels, rows: Representations, compare: Comparer, calibration: Calibration, seed: int
) -> list[Figures]:
    """EER by number of references: up to ``REFERENCES`` with the same questioned images for every size."""
    points: list[Figures] = []
    for size in SIZES:
        sets = choose_sets(labels, max(size, REFERENCES), seed)
        fewer = {writer: members[:size] for writer, members in sets.references.items()}
        scores = score_reference_sets(replace(sets, references=fewer), labels, rows, compare, calibration, _silent)
        eers = {"skilled": _eer(scores, SKILLED), "random": _eer(scores, RANDOM)}
        points.append({"references": size, "writers": len(fewer)} | eers)
    return points


def _eer(scores: Scores, forged: int) -> float | None:
    genuine, other = scores.side(GENUINE, scores.score), scores.side(forged, scores.score)
    return equal_error_rate(genuine, other).rate if len(genuine) and len(other) else None


def _bands(calibration: Calibration, references: int) -> Bands:
    fitted = calibration.of_size(references).bands
    return Bands(fitted.accept_from, fitted.reject_below)


def _silent(_done: int, _total: int) -> None:
    """Nobody is told how far the comparing is."""


def _headline(outcome: Outcome) -> str:
    return ", ".join(
        f"{name} pair EER {found['pair']['skilled']['eer']:.1%} skilled, {found['pair']['random']['eer']:.1%} random"
        for name, found in outcome.figures.items()
    )


class _Kept:
    """Where a finished run lies; ``done.json`` is written last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, outcome: Outcome, key: str) -> None:
        """Write it all."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, both in outcome.scores.items():
            for kind, scores in zip(("pairs", "sets"), both, strict=True):
                arrays |= {
                    f"{name}/{kind}/{field}": value for field, value in asdict(scores).items() if value is not None
                }
        np.savez(self._folder / "scores.npz", allow_pickle=False, **arrays)
        written = self._folder / "done.new"
        written.write_text(json.dumps({"key": key, "about": outcome.about, "figures": outcome.figures}))
        written.replace(self._folder / "done.json")

    def load(self, known: dict[str, Any]) -> Outcome:
        """Read it again."""
        scores: dict[str, tuple[Scores, Scores]] = {}
        with np.load(self._folder / "scores.npz") as arrays:
            for name in known["figures"]:
                scores[name] = (_scores(arrays, f"{name}/pairs/"), _scores(arrays, f"{name}/sets/"))
        return Outcome(known["about"], known["figures"], scores)


def _scores(arrays: Mapping[str, Any], prefix: str) -> Scores:
    return Scores(**{name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)})
