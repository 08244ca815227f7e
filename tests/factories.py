"""Builders: images, archives, manifests, data sets, models, jobs. Small, seeded, and as callers would make them."""

from __future__ import annotations

import csv
import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
import torch
from PIL import Image, ImageDraw

from shared.calibration import Bands, Calibration, Figures, Pool, Population, SetCalibration
from shared.db import Database, utcnow
from shared.errors import Unavailable
from shared.jobs.chunks import Claim, Scored
from shared.model_files import ModelMeta
from shared.networks import NETWORKS
from shared.registry import add_model
from shared.search_space import trial_command, trial_fields
from shared.specs import Preprocessing, TuneSpec
from shared.storage import FolderStore, Stored
from shared.tables import (
    Chunk,
    Comparison,
    Job,
    JobState,
    ModelVersion,
    ReferenceSet,
    Region,
    Result,
    Trial,
    TrialState,
    Upload,
)
from shared.tables.base import public_id
from worker.ml.checkpoint import digest, save_model
from worker.ml.networks import build
from worker.ml.synthesis import generate_writer

HEADING = ("id", "questioned", "reference")


def drawing(seed: int = 0, width: int = 180, height: int = 80) -> Image.Image:
    """A pen stroke of its own for each seed: dark ink on light paper."""
    rng = np.random.default_rng(seed)
    picture = Image.new("L", (width, height), 235)
    x = np.linspace(12, width - 12, 9)
    y = rng.uniform(12, height - 12, 9)
    ImageDraw.Draw(picture).line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=40, width=4, joint="curve")
    return picture


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def png(seed: int = 0) -> bytes:
    """The drawing of this seed as a PNG file."""
    return encoded(drawing(seed))


def blank_png() -> bytes:
    return encoded(Image.new("L", (120, 60), 240))


def huge_png(width: int = 40_000, height: int = 40_000) -> bytes:
    """A PNG whose header claims a size, with a single row's worth of pixels in it."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(b"\0")) + part(b"IEND", b"")


def tiff_pages(*seeds: int, compression: str = "group4") -> bytes:
    """A multi-page TIFF, bilevel and G4 by default."""
    pages = [drawing(seed).convert("1", dither=Image.Dither.NONE) for seed in seeds]
    return encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression=compression)


def pdf_pages(*seeds: int, dpi: int = 150) -> bytes:
    """A PDF of one drawing a page; drawn at 300 dpi a page of 150 dpi has twice the drawing's pixels."""
    pages = [drawing(seed).convert("RGB") for seed in seeds]
    return encoded(pages[0], "PDF", save_all=True, append_images=pages[1:], resolution=dpi)


def zip_of(files: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of these entries, in this order."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)  # without the time: same entries, same bytes
    return out.getvalue()


def manifest_of(*rows: tuple[object, ...], heading: tuple[str, ...] = HEADING, separator: str = ",") -> str:
    """A manifest's text."""
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows([heading, *rows])
    return out.getvalue()


def batch_of(*rows: tuple[object, ...], images: dict[str, bytes], heading: tuple[str, ...] = HEADING) -> bytes:
    """A verification batch: the archive of a manifest and its images."""
    return zip_of({"manifest.csv": manifest_of(*rows, heading=heading), **images})


def bomb_of(name: str = "bomb.png", mebibytes: int = 96) -> bytes:
    """An archive whose only entry grows about a thousandfold."""
    return zip_of({name: bytes(mebibytes * 2**20)})


def training_files(writers: int = 4, genuine: int = 4, forged: int = 2, seed: int = 5) -> dict[str, bytes]:
    """Generated signatures in the layout of one folder a writer."""
    files: dict[str, bytes] = {}
    for writer in range(writers):
        for made in generate_writer(seed, writer, genuine, forged):
            kind = "forged" if made.forged else "genuine"
            files[f"writer_{writer}/{kind}/{made.index}.png"] = encoded(Image.fromarray(made.image))
    return files


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Files below ``folder``, as on a user's disk."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as it is stored, and what the registry says of it."""

    network: str
    threshold: float
    content: bytes
    name: str = "tiny"


def make_model_file(network: str, threshold: float, seed: int = 3, **canvas: Any) -> ModelFile:
    """An untrained network, its weights drawn from ``seed``; ``canvas`` is what its preprocessing has of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = build(network, canvas.get("channels", 1))
    info = NETWORKS[network]
    preprocessing = Preprocessing(height=info.height, width=info.width, **canvas)
    meta = ModelMeta(network=network, preprocessing=preprocessing, threshold=threshold, training={"epochs": 0})
    return ModelFile(network, threshold, save_model(built, meta))


def register_model(database: Database, store: FolderStore, file: ModelFile, make_default: bool = False) -> ModelVersion:
    """Put a model into store and registry."""
    name = digest(file.content)
    blob = store.put(f"models/{name.removeprefix('sha256:')}.safetensors", [file.content])
    model = ModelVersion(
        name=file.name,
        digest=name,
        blob=blob.key,
        network=file.network,
        threshold=file.threshold,
        summary={"validation": {"eer": 0.5}},
    )
    with database.write() as session:
        return add_model(session, model, make_default)


def unbacked_model(
    database: Database, name: str = "paper", threshold: float = 1.0, summary: dict[str, Any] | None = None
) -> ModelVersion:
    """A model version without weights, for tests that score nothing."""
    model = ModelVersion(
        name=name,
        digest="sha256:" + "ab" * 32,
        blob="models/none",
        network="compact",
        threshold=threshold,
        summary=summary or {},
    )
    with database.write() as session:
        return add_model(session, model, make_default=False)


def calibration(population: Population = "skilled", generated: bool = False) -> Calibration:
    """Calibrated for one reference (llr = 1 - distance) and for two or more (llr = 2 - 2 * mean excess)."""
    figures = Figures(genuine=40, forged=60, eer=0.05, cllr=0.2, reliability=[(0.1, 0.125, 60), (0.9, 0.875, 40)])
    bands = Bands(accept_from=0.5, reject_below=-0.5, far=0.01, frr=0.005)
    weights = {1: {"distance": -1.0}, 2: {"excess": -2.0, "nearest_excess": 0.0}}
    return Calibration(
        population=population,
        generated=generated,
        writers=["ann", "ben", "cid"],
        images=30,
        data="sha256:" + "cd" * 32,
        target_far=0.01,
        target_frr=0.005,
        pool=Pool(mean=0.5, spread=0.25),
        sets=[
            SetCalibration(
                size=size,
                weights=weights[size],
                offset=float(size),
                lowest=-2.0,
                highest=1.75,
                bands=bands,
                figures=figures,
            )
            for size in (1, 2)
        ],
    )


def stored_upload(store: FolderStore, content: bytes, name: str = "one") -> Stored:
    """Content in the store, under a key such as uploads have."""
    return store.put(f"uploads/{name}", [content])


def reload(database: Database, job: Job) -> Job:
    """The job as the database has it now."""
    with database.read() as session:
        return session.get_one(Job, job.id)


@dataclass(eq=False)
class Doorbells:
    """A doorbell that remembers; ``away`` takes the queue away, ``deaf`` loses what is rung after the check."""

    rung: list[tuple[str, tuple[str, ...], str | None]] = field(default_factory=list)
    away: bool = False
    deaf: bool = False

    def check(self) -> None:
        if self.away:
            raise Unavailable("queue_unavailable", "The queue is not reachable.")

    def ring(self, task: str, *ids: str, queue: str | None = None) -> bool:
        if self.away or self.deaf:
            return False
        self.rung.append((task, ids, queue))
        return True

    @property
    def tasks(self) -> list[str]:
        return [task for task, _, _ in self.rung]


def batch_job(
    database: Database, model: ModelVersion, comparisons: int = 8, chunk: int = 4, state: str = JobState.QUEUED
) -> Job:
    """A verification that intake has taken in: each comparison of one image with the same single reference."""
    with database.write() as session:
        job = Job(
            public_id=public_id("job"),
            kind="verify",
            spec={"kind": "verify"},
            state=state,
            model_id=model.id,
            intake_done=True,
            total=comparisons,
            chunks_left=-(-comparisons // chunk),
            created_at=utcnow(),
        )
        name = public_id("upload")
        upload = Upload(
            public_id=name, blob=f"uploads/{name}", digest="sha256:0", size=1, filename="x.zip", created_at=utcnow()
        )
        session.add_all([job, upload])
        session.flush()
        regions = [Region(upload_id=upload.id, name=f"{entry}#1", entry=entry) for entry in ("q.png", "r.png")]
        session.add_all(regions)
        session.flush()
        references = ReferenceSet(job_id=job.id, members=str(regions[1].id))
        session.add(references)
        session.flush()
        session.add_all(
            Comparison(
                job_id=job.id,
                ordinal=number,
                external_id=f"id-{number}",
                line=number + 1,
                questioned_id=regions[0].id,
                reference_set_id=references.id,
            )
            for number in range(1, comparisons + 1)
        )
        session.add_all(
            Chunk(job_id=job.id, first=first, last=min(first + chunk - 1, comparisons))
            for first in range(1, comparisons + 1, chunk)
        )
    return job


def scores(claim: Claim, verdict: str = "accept", distance: float = 0.5) -> Scored:
    """Results for all comparisons of a claim, as scoring would bring them."""
    return Scored(
        results=[
            {
                "job_id": chunk.job_id,
                "ordinal": ordinal,
                "verdict": verdict,
                "code": None,
                "message": None,
                "distance": distance,
                "distances": [distance],
                "nearest": 0,
                "threshold": claim.model.threshold,
                "model_id": claim.model.id,
            }
            for chunk in claim.chunks
            for ordinal in range(chunk.first, chunk.last + 1)
        ]
    )


def results_of(database: Database, job: Job) -> list[tuple[int, str, str | None]]:
    """(ordinal, verdict, code) of all results of a job, in order."""
    query = sa.select(Result.ordinal, Result.verdict, Result.code).where(Result.job_id == job.id)
    with database.read() as session:
        return [(row.ordinal, row.verdict, row.code) for row in session.execute(query.order_by(Result.ordinal))]


def expire(database: Database, table: type[Job] | type[Chunk]) -> None:
    """Let all leases of a table run out now, without waiting for it."""
    with database.write() as session:
        session.execute(sa.update(table).values(lease_until=1.0))


def tune_job(database: Database, trials: list[dict[str, Any]], **values: Any) -> Job:
    """A search for settings with these trials, complete unless they say otherwise, and the report its worker writes."""
    spec = TuneSpec(trials=max(1, len(trials)))
    with database.write() as session:
        job = Job(
            **{
                "public_id": public_id("job"),
                "kind": "tune",
                "state": JobState.SUCCEEDED,
                "spec": spec.model_dump(mode="json"),
                "total": spec.trials,
                "done": len(trials),
                "created_at": utcnow(),
            }
            | values
        )
        session.add(job)
        session.flush()
        for number, row in enumerate(trials, 1):
            defaults = {"state": TrialState.COMPLETE, "params": {"optimiser": "sgd"}, "folds": 3, "seconds": 60.0}
            session.add(Trial(**{"job_id": job.id, "number": number} | defaults | row))
    return job


def tune_report(number: int, value: float, **params: Any) -> dict[str, Any]:
    """What a tune job reports once its trial ``number`` is the best."""
    return {
        "trials": {"complete": 3, "pruned": 1, "failed": 1},
        "best": {
            "number": number,
            "value": value,
            "eers": {"skilled": 1.5 * value, "random": 0.5 * value},
            "params": params,
            "fields": trial_fields(TuneSpec(), params),
            "command": trial_command(TuneSpec(), params),
        },
    }


def identification_row(job: Job, ordinal: int, **values: Any) -> dict[str, Any]:
    """The column values of one answer of an identification: anna, before bert."""
    row = {
        "job_id": job.id,
        "ordinal": ordinal,
        "entry": f"test/{ordinal}.png",
        "truth": None,
        "correct": None,
        "category": "anna",
        "nearest": "anna",
        "distance": 0.5,
        "runner_up": "bert",
        "runner_up_distance": 0.9,
        "code": None,
        "message": None,
    } | values
    known = "error" if row["nearest"] is None else "none" if row["category"] is None else "named"
    return {"answer": known} | row
