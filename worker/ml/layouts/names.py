"""Layouts that say writer and kind in the names of files and folders.

Each rule takes the path of one image and returns (writer, forged), or None where the path does not fit. Rules stand
in RULES from the most to the least specific.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".pdf"})

Found = tuple[str, bool]
Rule = Callable[[PurePosixPath], Found | None]

_GENUINE = frozenset({"genuine", "genuines", "original", "originals"})
_FORGED = frozenset({"forged", "forgery", "forgeries"})
_PREFIX = re.compile(r"(genuine|original|real)s?(?![a-z])|(forged|forgery|forgeries|forge|forg|fake)(?![a-z])", re.I)

# Layouts nobody foresaw must not pass for writers whose signatures are all genuine.
_NO_WRITER = re.compile(
    r".*(genuin|origin|forg|fake|questioned|reference).*|(full_)?org|real|train(ing)?|test(ing)?|val(id(ation)?)?|"
    r"images?|data(set)?|samples?|signatures?|scans?",
    re.IGNORECASE,
)

_CEDAR_NAME = re.compile(r"(original|forgeries)_(\d{1,9})_\d+", re.IGNORECASE)
_ICDAR_FOLDER = re.compile(r"(\d{1,6})(_forg)?", re.IGNORECASE)

# BHSig260 (Pal et al., DAS 2016) names SCRIPT-S-WRITER-KIND-NUMBER: B-S-001-G-01.tif is Bengali, writer 1, genuine.
# 100 writers are Bengali and 160 Hindi, each counted from 1, so that the number alone does not tell a writer. The
# circulating copies differ in their folders only (Bengali/001/..., BHSig100_Bengali/Genuine/...).
_BHSIG_NAME = re.compile(r"([BH])-[A-Z]-(\d{1,4})-([GF])-(\d{1,4})", re.IGNORECASE)
_BHSIG_SCRIPTS = {"b": "bengali", "h": "hindi"}

# SigComp 2011 as its organisers handed it out (IAPR TC11, "ICDAR 2011 Signature Verification Competition", section
# Folder Structure and File Naming; the digits as public loaders of the set read them):
#   OfflineSignatures/{Dutch,Chinese}/TrainingSet/Offline Genuine/001_01.PNG      writer 001
#   OfflineSignatures/{Dutch,Chinese}/TrainingSet/Offline Forgeries/0119001_01.png   forger 0119 writes as 001
#   SigComp11-Offlinetestset/Dutch/{Reference(646),Questioned(1287)}/013/13_013.PNG     writer 013
#   SigComp11-Offlinetestset/Dutch/Questioned(1287)/013/01_0104013.PNG               forger 0104 writes as 013
#   SigComp11-Offlinetestset/Chinese/{Ref(115),Questioned(487)}/011/...              likewise
# So a genuine signature has the writer's three digits, a forgery four of the forger before them; the number of the
# specimen stands behind in the training set (Chinese: without leading zero) and in front in the test set. Both
# parts count their writers from 1.
_SIGCOMP_NAME = re.compile(r"(?:(\d{4})?(\d{3})_\d{1,2}|\d{1,2}_(\d{4})?(\d{3}))")
_SIGCOMP_FOLDER = re.compile(
    r"(?:offline[ _-]*)?(?:(genuines?)|(forger(?:y|ies)|forged)|(ref(?:erences?)?|questioned)(?: *\(\d+\))?)"
    r"(?:[ _-]*(?:dutch|chinese))?",
    re.IGNORECASE,
)


def path_of(entry: str) -> PurePosixPath:
    """An entry's name as a path, whichever slashes it was written with."""
    return PurePosixPath(entry.replace("\\", "/"))


def unwanted(path: PurePosixPath) -> str:
    """Why an entry cannot be a signature; empty for an image."""
    if "__MACOSX" in path.parts or path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini"):
        return "left by the operating system"
    return "" if path.suffix.lower() in IMAGE_SUFFIXES else "not an image"


def icdar(path: PurePosixPath) -> Found | None:
    """The copy of SigComp 2011 (Dutch) that circulates: 068/09_068.png and 068_forg/03_0113068.PNG."""
    match = _ICDAR_FOLDER.fullmatch(path.parent.name)
    return (match[1], match[2] is not None) if match else None


def writer_folders(path: PurePosixPath) -> Found | None:
    """WRITER/genuine/any.png, or the kind before the file's name: WRITER/genuine_1.png."""
    folders = path.parts[:-1]
    kind = folders[-1].lower() if folders else ""
    if kind in _GENUINE | _FORGED:
        return (folders[-2], kind in _FORGED) if len(folders) > 1 else None
    match = _PREFIX.match(path.stem)
    return (folders[-1], match[2] is not None) if match and folders else None


def plain_folders(path: PurePosixPath) -> Found | None:
    """WRITER/any.png: all genuine. Folders that name a kind or a part of a set are nobody's."""
    folder = path.parent.name
    return (folder, False) if folder and not _NO_WRITER.fullmatch(folder) else None


def _bhsig(path: PurePosixPath) -> Found | None:
    match = _BHSIG_NAME.fullmatch(path.stem)
    if not match:
        return None
    return f"{_BHSIG_SCRIPTS[match[1].lower()]}-{int(match[2]):03}", match[3].lower() == "f"


def _cedar(path: PurePosixPath) -> Found | None:
    match = _CEDAR_NAME.fullmatch(path.stem)
    return (str(int(match[2])), match[1].lower() == "forgeries") if match else None


def _sigcomp(path: PurePosixPath) -> Found | None:
    name = _SIGCOMP_NAME.fullmatch(path.stem)
    folders = [match for part in path.parts[-3:-1] if (match := _SIGCOMP_FOLDER.fullmatch(part))]
    if not name or not folders:
        return None
    forged = bool(name[1] or name[3])
    if (folders[-1][1] and forged) or (folders[-1][2] and not forged):
        return None  # folder and file name contradict each other
    number, parts = name[2] or name[4], "/".join(path.parts[:-1]).lower()
    script = next((f"{script}-" for script in ("dutch", "chinese") if script in parts), "")
    return script + number, forged


RULES: dict[str, Rule] = {
    "bhsig260": _bhsig,
    "cedar": _cedar,
    "sigcomp2011": _sigcomp,
    "writers": writer_folders,
    "icdar2011": icdar,
}
