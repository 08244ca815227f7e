"""Which file of a training archive is whose signature: the layout is detected from the names alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from shared.errors import TrainingFailed

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".pdf"})
SKIPPED_SHOWN = 20
_EXAMPLES = 5

_CEDAR_NAME = re.compile(r"(original|forgeries)_(\d+)_\d+", re.IGNORECASE)
_ICDAR_FOLDER = re.compile(r"(\d{1,6})(_forg)?", re.IGNORECASE)
_GENUINE = frozenset({"genuine", "genuines", "original", "originals"})
_FORGED = frozenset({"forged", "forgery", "forgeries"})
_ACCEPTED = (
    "CEDAR (full_org/original_1_1.png and full_forg/forgeries_1_1.png), "
    "ICDAR 2011 (001/any.png and 001_forg/any.png), "
    "or one folder a writer (anna/genuine/any.png and anna/forged/any.png)"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One signature: its entry in the archive, the writer whose name it bears, and whether it is a skilled forgery."""

    entry: str
    writer: str
    forged: bool


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry that is not trained on, and why."""

    entry: str
    reason: str


@dataclass(frozen=True, slots=True)
class Layout:
    """What was found: ``name`` is ``cedar``, ``icdar2011`` or ``writers``; samples and skipped in name order."""

    name: str
    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...]

    def summary(self) -> dict[str, Any]:
        """Counts for a person to check before training, fit for JSON."""
        forged = sum(sample.forged for sample in self.samples)
        return {
            "layout": self.name,
            "writers": len({sample.writer for sample in self.samples}),
            "genuine": len(self.samples) - forged,
            "forged": forged,
            "skipped": len(self.skipped),
            "first_skipped": [
                {"entry": skipped.entry, "reason": skipped.reason} for skipped in self.skipped[:SKIPPED_SHOWN]
            ],
        }


def detect(names: Iterable[str]) -> Layout:
    """Find the layout of a training archive from its entry names (``/`` or ``\\`` between folders).

    Accepted are CEDAR, ICDAR 2011 and one folder a writer, each also within outer folders. The layout that explains
    the most images wins (CEDAR before ICDAR 2011 before writers when they tie); what it does not explain is skipped
    with the reason. Raises TrainingFailed with code no_images or layout_unknown.
    """
    skipped, images = [], []
    for entry in sorted({name for name in names if not name.endswith(("/", "\\"))}):
        reason = _unwanted(_path(entry))
        if reason:
            skipped.append(Skipped(entry, reason))
        else:
            images.append(entry)
    if not images:
        raise TrainingFailed("no_images", f"The training set holds no images. Accepted are: {_ACCEPTED}.")
    readings = {name: [_read(rule, entry) for entry in images] for name, rule in _RULES.items()}
    name = max(readings, key=lambda layout: sum(sample is not None for sample in readings[layout]))
    samples = tuple(sample for sample in readings[name] if sample is not None)
    if not samples:
        examples = ", ".join(images[:_EXAMPLES])
        raise TrainingFailed(
            "layout_unknown", f"The names say neither writer nor kind, such as {examples}. Accepted are: {_ACCEPTED}."
        )
    known = {sample.entry for sample in samples}
    skipped += [Skipped(entry, f"does not fit the layout {name}") for entry in images if entry not in known]
    return Layout(name, samples, tuple(sorted(skipped, key=lambda one: one.entry)))


def _path(entry: str) -> PurePosixPath:
    return PurePosixPath(entry.replace("\\", "/"))


def _unwanted(path: PurePosixPath) -> str:
    if "__MACOSX" in path.parts or path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini"):
        return "left by the operating system"
    return "" if path.suffix.lower() in IMAGE_SUFFIXES else "not an image"


def _read(rule: Callable[[PurePosixPath], tuple[str, bool] | None], entry: str) -> Sample | None:
    found = rule(_path(entry))
    return None if found is None else Sample(entry, *found)


def _cedar(path: PurePosixPath) -> tuple[str, bool] | None:
    match = _CEDAR_NAME.fullmatch(path.stem)
    return (str(int(match[2])), match[1].lower() == "forgeries") if match else None


def _icdar(path: PurePosixPath) -> tuple[str, bool] | None:
    match = _ICDAR_FOLDER.fullmatch(path.parent.name)
    return (match[1], match[2] is not None) if match else None


def _writers(path: PurePosixPath) -> tuple[str, bool] | None:
    folders = path.parts[:-1]
    kind = folders[-1].lower() if len(folders) > 1 else ""
    return (folders[-2], kind in _FORGED) if kind in _GENUINE | _FORGED else None


_RULES: dict[str, Callable[[PurePosixPath], tuple[str, bool] | None]] = {
    "cedar": _cedar,
    "icdar2011": _icdar,
    "writers": _writers,
}
