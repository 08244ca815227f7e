"""The two sets as arrays: each image prepared once for each protocol, kept between runs."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.archives import Archive, ArchiveLimits
from shared.specs import Preprocessing, ProtocolName
from worker.dataset import Dataset, Reading, read_dataset
from worker.ml.images import ImageLimits, Pixels
from worker.ml.metrics import Doubles
from worker.ml.shortcuts import left_by, shortcut_statistics

LIMITS = ArchiveLimits(max_entries=100_000, max_entry=2**28, max_ratio=1e4)

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSet:
    """N images of a set under one protocol, in the order of their names.

    ``canvases`` uint8 (N, H, W); ``writers``, ``entries`` and ``digests`` one of each, names as in ``cedar/12``;
    ``forged`` (N,). ``statistics`` (2, N, S) are the trivial ones, of the image as the protocol leaves it and of the
    scan. ``preprocessing`` is as asked for, with the factors that fit the set's scans. ``data`` is the digest of
    all files.
    """

    name: str
    canvases: NDArray[np.uint8]
    writers: list[str]
    entries: list[str]
    digests: list[str]
    forged: NDArray[np.bool_]
    statistics: Doubles
    preprocessing: Preprocessing
    summary: dict[str, Any]
    data: str

    def rows_of(self, writers: Sequence[str]) -> Integers:
        """The rows of some writers."""
        return np.flatnonzero(np.isin(self.writers, writers)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of signatures, packed as an upload would be: ``archive`` is a ZIP file, ``data`` its digest."""

    name: str
    archive: Path
    data: str

    @classmethod
    def pack(cls, name: str, folder: Path, into: Path) -> Source:
        """Pack ``folder``; the same files give the same digest, whenever they were written."""
        path = into / f"{name}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.writestr(zipfile.ZipInfo(file.relative_to(folder).as_posix()), file.read_bytes())
        return cls(name, path, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")


def prepared(
    source: Source,
    protocol: ProtocolName,
    preprocessing: Preprocessing,
    out: Path,
    code: str,
    tell: Callable[[str], None],
) -> PreparedSet:
    """The set under ``protocol``, from ``out`` if it lies there already, prepared by the same ``code``."""
    folder = out / f"{source.name}-{protocol}"
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / "about.json"
    key = {"data": source.data, "asked": preprocessing.model_dump(mode="json"), "code": code}
    known = json.loads(about.read_text()) if about.exists() else {}
    if known.get("key") != key:
        about.unlink(missing_ok=True)  # last to be written and first to go: with it, the others are whole
        tell(f"preparing {source.name}, {protocol}")
        known = {"key": key} | _prepare(source, protocol, preprocessing, folder)
        about.write_text(json.dumps(known))
    return _load(source, folder, known)


def _prepare(source: Source, protocol: ProtocolName, preprocessing: Preprocessing, folder: Path) -> dict[str, Any]:
    statistics: dict[int, list[list[float]]] = {}

    def observe(row: int, pixels: Pixels) -> None:
        both = left_by(pixels, protocol), pixels
        statistics[row] = [list(shortcut_statistics(image).values()) for image in both]

    with source.archive.open("rb") as file:
        reading = Reading(protocol, observe=observe)
        archive = Archive(file, LIMITS)
        data: Dataset = read_dataset(archive, preprocessing, ImageLimits(), folder, lambda _done, _total: None, reading)
    ordered = np.array([statistics[row] for row in range(len(data.writers))]).swapaxes(0, 1)  # (2, N, S)
    np.save(folder / "statistics.npy", ordered)
    return {
        "writers": data.writers,
        "entries": data.entries,
        "digests": data.digests,
        "forged": data.forged.tolist(),
        "summary": data.summary,
        "preprocessing": data.preprocessing.model_dump(mode="json"),
    }


def _load(source: Source, folder: Path, known: dict[str, Any]) -> PreparedSet:
    preprocessing = Preprocessing.model_validate(known["preprocessing"])
    shape = (len(known["writers"]), *preprocessing.shape)
    return PreparedSet(
        name=source.name,
        canvases=np.memmap(folder / "canvases.u8", dtype=np.uint8, mode="r", shape=shape),
        writers=[f"{source.name}/{writer}" for writer in known["writers"]],
        entries=[f"{source.name}/{entry}" for entry in known["entries"]],
        digests=known["digests"],
        forged=np.array(known["forged"], np.bool_),
        statistics=np.load(folder / "statistics.npy"),
        preprocessing=preprocessing,
        summary=known["summary"],
        data=source.data,
    )
