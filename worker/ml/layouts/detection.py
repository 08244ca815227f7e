"""Find the layout of an archive: by its list of pairs if it has one, else by the names of files and folders."""

from __future__ import annotations

from collections.abc import Iterable

from shared.errors import TrainingFailed
from worker.ml.layouts.found import Layout, Sample, Skipped
from worker.ml.layouts.lists import PAIR_LIST, Listed, is_icdar_list, joined, read_icdar_list, read_pair_list
from worker.ml.layouts.names import RULES, Rule, path_of, plain_folders, unwanted
from worker.ml.layouts.tables import ReadTable

_EXAMPLES = 5
_ACCEPTED = (
    "CEDAR (full_org/original_1_1.png and full_forg/forgeries_1_1.png), "
    "ICDAR 2011 (001/any.png and 001_forg/any.png), "
    "SigComp 2011 (Offline Genuine/001_01.png and Offline Forgeries/0119001_01.png), "
    "BHSig260 (B-S-001-G-01.tif and B-S-001-F-01.tif), "
    "one folder a writer (anna/genuine/any.png and anna/forged/any.png, or anna/any.png for genuine ones alone), "
    "or a list of pairs (pairs.csv with the columns first,second,label)"
)


def detect(names: Iterable[str], read: ReadTable | None = None) -> Layout:
    """Find the layout of a labelled archive from its entry names (``/`` or ``\\`` between folders).

    ``read`` gives the content of CSV files; without it none is read. A ``pairs.csv`` with one good row decides
    alone. Otherwise the most specific layout (BHSig260, CEDAR, SigComp 2011, writers with kinds, ICDAR 2011) that
    explains more than half of the images is taken, else the one that explains the most. If none explains a tenth,
    each folder is one writer's genuine signatures, provided that there are two of them. Outer folders are tolerated.
    What is not explained is skipped with the reason, and so are bad lines of lists.

    Raises TrainingFailed with code no_images or layout_unknown.
    """
    skipped, images, tables = _part(names)
    if not images:
        raise TrainingFailed("no_images", f"The training set holds no images. Accepted are: {_ACCEPTED}.")
    used = _pair_lists(tables) if read else []
    listed = read_pair_list(used[0], images, read) if read and used else Listed()
    if listed.samples:
        name, samples, reason = "pairs", listed.samples, f"not in {used[0]}"
    else:
        name, samples = _by_names(images, listed)
        reason = f"does not fit the layout {name}"
    if read and name == "icdar2011":
        lists = [entry for entry in tables if is_icdar_list(path_of(entry))]
        used += lists
        listed = joined([listed, *(read_icdar_list(entry, images, read) for entry in lists)])
    known = {sample.entry for sample in samples}
    skipped += [Skipped(entry, reason) for entry in images if entry not in known]
    skipped += [Skipped(entry, "not an image") for entry in tables if entry not in used]
    skipped += listed.skipped
    skipped.sort(key=lambda one: (one.entry, one.line))
    return Layout(name, samples, tuple(skipped), listed.pairs, listed.notes)


def _part(names: Iterable[str]) -> tuple[list[Skipped], list[str], list[str]]:
    """What is neither image nor table, the images, and the CSV files, each in name order."""
    skipped, images, tables = [], [], []
    for entry in sorted({name for name in names if not name.endswith(("/", "\\"))}):
        reason = unwanted(path_of(entry))
        if not reason:
            images.append(entry)
        elif reason == "not an image" and path_of(entry).suffix.lower() == ".csv":
            tables.append(entry)
        else:
            skipped.append(Skipped(entry, reason))
    return skipped, images, tables


def _pair_lists(tables: list[str]) -> list[str]:
    """The outermost pairs.csv, if there is one."""
    found = [entry for entry in tables if path_of(entry).name.lower() == PAIR_LIST]
    return sorted(found, key=lambda entry: len(path_of(entry).parts))[:1]


def _by_names(images: list[str], listed: Listed) -> tuple[str, tuple[Sample, ...]]:
    readings = {name: _read(rule, images) for name, rule in RULES.items()}
    most = max(readings, key=lambda name: len(readings[name]))
    name = next((name for name, samples in readings.items() if 2 * len(samples) > len(images)), most)
    if 10 * len(readings[name]) < len(images):
        plain = _read(plain_folders, images)
        if len({sample.writer for sample in plain}) > 1:
            return "writers", plain
    if readings[name]:
        return name, readings[name]
    examples = ", ".join(images[:_EXAMPLES])
    trouble = f" {PAIR_LIST} is of no use: {listed.skipped[0].reason}." if listed.skipped else ""
    raise TrainingFailed(
        "layout_unknown",
        f"The names say neither writer nor kind, such as {examples}.{trouble} Accepted are: {_ACCEPTED}.",
    )


def _read(rule: Rule, images: list[str]) -> tuple[Sample, ...]:
    found = ((entry, rule(path_of(entry))) for entry in images)
    return tuple(Sample(entry, *told) for entry, told in found if told is not None)
