"""Training: an archive of writers' signatures in, a model version out. Goes on from its last checkpoint."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from torch import nn

from shared.calibration import Calibration
from shared.errors import NotFound
from shared.jobs.lifecycle import succeed_job, tell
from shared.model_files import ModelMeta
from shared.networks import NETWORKS
from shared.registry import add_model, in_turn
from shared.specs import TrainSpec
from shared.tables import Epoch, ModelVersion
from worker.beginning import Beginning
from worker.calibrating import calibrate_training
from worker.context import Context
from worker.dataset import Dataset
from worker.digests import keep, pack, summary_of
from worker.ml.checkpoint import digest, save_model
from worker.ml.compare import comparer
from worker.ml.embedder import Embedder
from worker.ml.fit import fit
from worker.ml.networks import build
from worker.ml.pretrained import find_weights, take_weights
from worker.ml.sampling import Labels, Split, refuse_leak, split_writers
from worker.ml.trained import EpochRow, FitResult, Stopped
from worker.solo import SoloJob, run_solo


def train_job(context: Context, job_id: str) -> None:
    """Run a queued or abandoned training to its end, unless it is cancelled or the worker is being stopped."""
    run_solo(context, job_id, lambda solo: _Training(solo).run())


class _Training:
    """One training job while this worker holds it."""

    def __init__(self, solo: SoloJob) -> None:
        self._solo = solo
        self._context, self._claim, self._upload = solo.context, solo.claim, solo.upload
        self._checkpoint_key = f"checkpoints/{solo.public_id}"
        self._spec = TrainSpec.model_validate(solo.spec)
        self._beginning: Beginning | None = None
        if self._spec.from_model:
            self._beginning = Beginning.find(solo.context, self._spec.from_model)
            canvas = self._beginning.preprocessing
            self._spec = self._spec.model_copy(update={"preset": canvas.preset, "channels": canvas.channels})
        self._preprocessing = self._spec.preprocessing
        self._weights: Path | None = None
        self._weights_digest: str | None = None
        if self._spec.pretrained:
            self._weights = find_weights(self._context.settings.weights_folder, self._spec.pretrained)

    def run(self) -> None:
        """Read the data, split by writer, fit, and register what came out."""
        with self._solo.folder() as folder:
            data = self._solo.read_dataset(folder, self._preprocessing)
            self._preprocessing = data.preprocessing
            spec = self._spec
            split = split_writers(data.writers, spec.validation_share, spec.seed, spec.calibration_share)
            refuse_leak(*(_images_of(data, side) for side in (split.training, split.validation, split.calibration)))
            self._solo.tell(phase="training", report=data.summary)
            number = {writer: index for index, writer in enumerate(sorted(set(data.writers)))}
            result = fit(
                data.canvases,
                Labels(np.array([number[writer] for writer in data.writers], dtype=np.int64), data.forged),
                Split(*(tuple(number[writer] for writer in side) for side in (split.training, split.validation))),
                self._spec,
                on_epoch=self._on_epoch,
                should_stop=self._solo.should_stop,
                should_finish=self._solo.should_finish,
                checkpoint=self._load_checkpoint(),
                on_checkpoint=self._on_checkpoint,
                initial=self._beginning.weights if self._beginning else None,
                judge_initial=not self._seen_before(data, split),
                build_network=self._build,
            )
            calibration, note = self._calibrate(data, split, result)
        self._register(data, split, result, calibration, note)

    def _calibrate(self, data: Dataset, split: Split[str], result: FitResult) -> tuple[Calibration | None, str]:
        """The calibration, None without writers for it, and a note for people."""
        self._solo.tell(phase="calibrating")
        compare = comparer(result.comparer, result.network)
        embedder = Embedder(result.network, self._preprocessing, compare=compare)
        kept = split.calibration
        return calibrate_training(embedder, data, kept, self._spec, self._upload.digest, self._solo.check)

    def _build(self, name: str, channels: int) -> nn.Module:
        """The network, fresh or from the operator's file of weights."""
        network = build(name, channels)
        if self._weights is not None:
            self._weights_digest = take_weights(network, self._weights)
        return network

    def _load_checkpoint(self) -> bytes | None:
        try:
            with self._context.store.open(self._checkpoint_key) as file:
                return file.read()
        except NotFound:
            return None

    def _on_checkpoint(self, data: bytes) -> None:
        self._context.store.put(self._checkpoint_key, [data])

    def _on_epoch(self, row: EpochRow) -> None:
        with self._context.database.write() as session:
            if not tell(session, self._claim, done=row.epoch):
                raise Stopped  # the lease was lost: a checkpoint of ours must not stand in the other worker's place
            # A worker that died between row and checkpoint leaves an epoch that is run again: replace it.
            session.execute(sa.delete(Epoch).where(Epoch.job_id == self._claim.job_id, Epoch.epoch >= row.epoch))
            session.add(Epoch(job_id=self._claim.job_id, **asdict(row)))

    def _register(
        self, data: Dataset, split: Split[str], result: FitResult, calibration: Calibration | None, note: str
    ) -> None:
        seen = self._seen(data)
        summary = self._summary(data, split, result) | {"calibration_note": note}
        if seen is not None:
            summary["images_seen"] = summary_of(seen)
        meta = ModelMeta(
            network=self._spec.network,
            preprocessing=self._preprocessing,
            threshold=result.threshold,
            comparer=result.comparer,
            training=summary,
            calibration=calibration,
        )
        content = save_model(result.network, meta)
        name = digest(content)
        if seen is not None:
            keep(self._context.store, name, seen)
        blob = self._context.store.put(f"models/{name.removeprefix('sha256:')}.safetensors", [content])
        model = ModelVersion(
            name=self._spec.name,
            digest=name,
            blob=blob.key,
            network=self._spec.network,
            threshold=result.threshold,
            summary=meta.summary,
            job_id=self._claim.job_id,
        )
        told = " ".join(part for part in (summary["validation"]["note"], note) if part)
        report = data.summary | summary["validation"] | {"threshold": result.threshold, "note": told}
        if summary["finished_early"]:
            report["finished_early"] = summary["finished_early"]
        if in_turn(lambda: self._succeed(model, report)):
            self._context.store.delete(self._checkpoint_key)

    def _succeed(self, model: ModelVersion, report: dict[str, Any]) -> bool:
        """Register the model and end the job in one transaction; False when the lease was lost meanwhile."""
        with self._context.database.write() as session:
            add_model(session, model, self._spec.make_default)
            told = report | {"model": model.label}
            kept = succeed_job(session, self._claim, model_id=model.id, report=told)
            if not kept:
                session.rollback()
            return kept

    def _seen(self, data: Dataset) -> bytes | None:
        """The list of all images that the new model has seen; None if it is not known what its beginning has seen."""
        if self._beginning is None:
            return pack(data.digests)
        return None if self._beginning.seen is None else pack(data.digests, self._beginning.seen)

    def _seen_before(self, data: Dataset, split: Split[str]) -> str:
        """A note for people where the weights that the training begins with know images that are kept out now."""
        kept_out = [digest for _, digest in _images_of(data, split.validation + split.calibration)]
        return self._beginning.note(kept_out) if self._beginning else ""

    def _finished_early(self, result: FitResult) -> dict[str, Any] | None:
        """After which epoch the training ended because somebody asked for it, which was kept, and who asked."""
        if not result.finished_early:
            return None
        return {"epoch": result.epochs, "best_epoch": result.best_epoch, "by": self._solo.finish_by}

    def _summary(self, data: Dataset, split: Split[str], result: FitResult) -> dict[str, Any]:
        info = NETWORKS[self._spec.network]
        counts = {key: data.summary[key] for key in ("layout", "writers", "genuine", "forged")}
        early = self._finished_early(result)
        notes = result.note, _told_early(early), self._seen_before(data, split), _told_unused(self._spec)
        return {
            "recipe": self._spec.model_dump(mode="json"),
            "loss": result.loss,
            "finished_early": early,
            "from": self._beginning.told if self._beginning else None,
            "data": counts
            | {
                "digest": self._upload.digest,
                "training_writers": split.training,
                "validation_writers": split.validation,
                "calibration_writers": split.calibration,
            },
            "validation": {
                "eer": result.eer,
                "eers": result.eers,
                "forgeries": result.forgeries,
                "note": " ".join(part for part in notes if part),
            },
            "network": {
                "parameters": sum(parameter.numel() for parameter in result.network.parameters()),
                "embedding": info.representation,
                "pretrained": self._weights_digest,
            },
            "preprocessing": self._preprocessing.model_dump(mode="json"),
            "library": {"python": platform.python_version()}
            | {name: version(name) for name in ("torch", "numpy", "opencv-python-headless", "countersign")},
        }


def _told_unused(spec: TrainSpec) -> str:
    unused = spec.unused
    return f"{spec.network} is solved in one step and had no use for: {', '.join(unused)}." if unused else ""


def _told_early(early: dict[str, Any] | None) -> str:
    if early is None:
        return ""
    return (
        f"Ended early after epoch {early['epoch']}, as {early['by']} asked; epoch {early['best_epoch']} was the best."
    )


def _images_of(data: Dataset, writers: tuple[str, ...]) -> list[tuple[str, str]]:
    """(entry, digest) of all images that bear the names of ``writers``."""
    wanted = set(writers)
    rows = zip(data.entries, data.digests, data.writers, strict=True)
    return [(entry, digest) for entry, digest, writer in rows if writer in wanted]
