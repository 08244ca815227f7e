"""Which entry of an identification's archive shows what: read from the names alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from shared.errors import Fault, InvalidInput

CATEGORIES, TEST = "categories", "test"  # names of folders, in letters of any case
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".pdf"})
MAX_ENTRY = 1000  # characters of an entry's name, and ...
MAX_CATEGORY = 255  # ... of a category's, that the columns hold
WAY_OUT = (
    "Send a ZIP with one folder a category, such as categories/anna/1.png, and the images to identify, such as "
    "test/1.png, or test/anna/1.png where it is known who they are of."
)
_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """One test image: an image to identify. ``truth`` is the folder it lies in: a category, another name, or None."""

    entry: str
    truth: str | None


@dataclass(frozen=True, slots=True)
class Folders:
    """The images of an archive: those of each category, those to identify, and what is left out and why.

    All in the order of their names, so that whoever reads the archive again finds the same numbers.
    """

    categories: dict[str, tuple[str, ...]]
    tests: tuple[Probe, ...]
    skipped: tuple[Fault, ...]  # ``where`` is the entry


def read_folders(names: Iterable[str]) -> Folders:
    """Sort the entries of an archive (``/`` or ``\\`` between folders) into categories and test images.

    ``categories`` and ``test`` may lie within outer folders; the outermost pair counts. A folder below another
    one is part of it: ``test/anna/monday/1.png`` is of anna.

    Raises:
        InvalidInput: codes ``no_categories`` and ``no_test_images``.
    """
    skipped: list[Fault] = []
    images: list[tuple[str, _Path]] = []
    for entry in sorted({name for name in names if not name.endswith(("/", "\\"))}):
        path = _path(entry)
        fault = _why_unwanted(entry, path)
        if fault:
            skipped.append(fault)
        else:
            images.append((entry, path))
    root = _root(path for _, path in images)
    found: dict[str, list[str]] = {}
    tests: list[Probe] = []
    for entry, path in images:
        place = path[len(root) :] if path[: len(root)] == root else ()
        folder, inner = "".join(place[:1]).lower(), place[1:]
        if folder == CATEGORIES and len(inner) > 1:
            found.setdefault(inner[0], []).append(entry)
        elif folder == TEST and inner:
            tests.append(Probe(entry, inner[0] if len(inner) > 1 else None))
        else:
            skipped.append(_misplaced(entry, folder))
    if not found:
        raise InvalidInput("no_categories", f"The archive holds no image of a category. {WAY_OUT}")
    if not tests:
        raise InvalidInput("no_test_images", f"The archive holds no image to identify. {WAY_OUT}")
    categories = {name: tuple(entries) for name, entries in sorted(found.items())}
    return Folders(categories, tuple(tests), tuple(sorted(skipped, key=lambda fault: fault.where)))


def _path(entry: str) -> _Path:
    return PurePosixPath(entry.replace("\\", "/")).parts


def _why_unwanted(entry: str, path: _Path) -> Fault | None:
    name = path[-1] if path else ""
    if "__MACOSX" in path or name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini"):
        return Fault("not_an_image", "left by the operating system", entry)
    if PurePosixPath(name).suffix.lower() not in SUFFIXES:
        return Fault("not_an_image", "not an image", entry)
    if len(entry) > MAX_ENTRY or any(len(part) > MAX_CATEGORY for part in path[:-1]):
        reason = f"the name has over {MAX_ENTRY} characters, or a folder in it over {MAX_CATEGORY}"
        return Fault("name_too_long", reason, entry[:MAX_CATEGORY])
    return None


def _root(paths: Iterable[_Path]) -> _Path:
    """The outermost folder that ``categories`` lies in; of several equally far out, the first by name."""
    roots = {path[:depth] for path in paths for depth, part in enumerate(path[:-1]) if part.lower() == CATEGORIES}
    return min(roots, key=lambda root: (len(root), root), default=())


def _misplaced(entry: str, folder: str) -> Fault:
    if folder == CATEGORIES:
        return Fault("no_category", "lies in no category's folder: categories/NAME/ is expected", entry)
    return Fault("misplaced", "lies in neither categories/ nor test/", entry)
