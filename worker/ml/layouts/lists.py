"""Lists of pairs in CSV files: pairs.csv, and the lists that circulate with ICDAR 2011."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from worker.ml.layouts.found import Pair, Sample, Skipped
from worker.ml.layouts.names import icdar, path_of
from worker.ml.layouts.tables import Finder, ReadTable, Table, read_table

PAIR_LIST = "pairs.csv"
_COLUMNS = ("first", "second", "label")
_LABELS = {"genuine": True, "1": True, "forged": False, "forgery": False, "0": False}
_ICDAR_LISTS = ("train_data.csv", "test_data.csv")
_AGREEMENT = 0.9  # of the rows of a list must tell the same meaning of its labels


@dataclass(frozen=True, slots=True)
class Row:
    """One good row of pairs.csv; ``writer`` is empty where the list does not say."""

    line: int
    first: str
    second: str
    genuine: bool
    writer: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """What lists say: the rows to compare, what of them is not used, and how they were read."""

    samples: tuple[Sample, ...] = ()
    pairs: tuple[Pair, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def joined(lists: Iterable[Listed]) -> Listed:
    """Several lists as one, in their order."""
    lists = tuple(lists)
    return Listed(
        tuple(sample for one in lists for sample in one.samples),
        tuple(pair for one in lists for pair in one.pairs),
        tuple(skipped for one in lists for skipped in one.skipped),
        tuple(note for one in lists for note in one.notes),
    )


def read_pair_list(entry: str, images: Iterable[str], read: ReadTable) -> Listed:
    """Read ``pairs.csv``: columns first, second and label, in any order, and writer if the list says it.

    Names are relative to the list's folder, else to the archive. label is ``genuine`` or ``1`` (one writer wrote
    both), ``forged`` or ``0``. ``writer`` is the writer whose name both bear. Where it is not told, the images that
    genuine pairs connect are one writer's, called writer-1, writer-2 ... in the list's order.

    In a forged pair, an image that a genuine pair or a writer knows as somebody's own is genuine; the other is a
    forgery of its writer. If neither is known the second is the forgery; if both are, two writers are compared. An
    image that would be a forgery of two writers is taken as an unknown writer's own.

    Lines that are not used are in ``skipped``: codes row_unreadable, label_unknown, image_missing, same_image,
    row_contradicts. Without the columns, or without one good row, ``samples`` is empty.
    """
    table = read_table(entry, read)
    rows = list(_rows(table, Finder(images)))
    owners = _Owners()
    kept = [row for row in rows if row.genuine and _join(owners, row, table)]
    kept += [row for row in rows if not row.genuine and _own(owners, row, table)]
    kept = _consistent(kept, owners, table)
    kept.sort(key=lambda row: row.line)
    samples = _samples(kept, owners)
    genuine = sum(row.genuine for row in kept)
    note = f"{entry}: {genuine:,} genuine and {len(kept) - genuine:,} forged pairs; label 1 means genuine, 0 forged."
    return Listed(
        tuple(sorted(samples, key=lambda sample: sample.entry)),
        tuple(Pair(row.first, row.second, row.genuine) for row in kept),
        tuple(table.skipped),
        (note,) if kept else (),
    )


def is_icdar_list(path: PurePosixPath) -> bool:
    """Whether a file has the name of one of the lists that circulate with ICDAR 2011."""
    return path.name.lower() in _ICDAR_LISTS


def read_icdar_list(entry: str, images: Iterable[str], read: ReadTable) -> Listed:
    """Read ``train_data.csv`` or ``test_data.csv`` of the copy of ICDAR 2011 that circulates.

    The lists have no header; a row is ``068/09_068.png,068_forg/03_0113068.PNG,1``: two names, relative to the
    folder ``train`` or ``test`` beside the list, and a label. What 1 means is not taken on trust: the folders say
    which pairs are forged (one of a ``_forg`` folder, or of two writers), and the label is read in the sense with
    which 9 rows of 10 agree; the others are skipped with code label_contradicts. Without such a sense no pair of
    the list is used (code labels_unclear). Samples are not made here: the folders name them all.
    """
    table = read_table(entry, read)
    told = list(_icdar_rows(table, Finder(images)))
    ones = sum((label == "1") != pair.genuine for _, pair, label in told)  # rows in which 1 stands for forged
    if not told:
        return Listed(skipped=tuple(table.skipped))
    forged_is_one = ones * 2 >= len(told)
    agreeing = max(ones, len(told) - ones)
    if agreeing < _AGREEMENT * len(told):
        reason = f"its labels agree with the folders in {agreeing:,} of {len(told):,} rows only; no pair of it is used"
        table.skip(0, "labels_unclear", reason)
        return Listed(skipped=tuple(table.skipped))
    pairs = []
    for line, pair, label in told:
        if ((label == "1") != pair.genuine) == forged_is_one:
            pairs.append(pair)
        else:
            table.skip(line, "label_contradicts", f"the label {label} contradicts the folders")
    genuine = sum(pair.genuine for pair in pairs)
    note = (
        f"{entry}: {genuine:,} genuine and {len(pairs) - genuine:,} forged pairs; label 1 means "
        f"{'forged' if forged_is_one else 'genuine'}: {agreeing:,} of {len(told):,} rows agree with the folders."
    )
    return Listed(pairs=tuple(pairs), skipped=tuple(table.skipped), notes=(note,))


def _icdar_rows(table: Table, finder: Finder) -> Iterator[tuple[int, Pair, str]]:
    home = path_of(table.entry).parent
    side = path_of(table.entry).name.partition("_")[0]
    folders = (home / side, home, home.parent / side, home / "images")
    for line, cells in table.rows:
        if len(cells) != 3:
            table.skip(line, "row_unreadable", f"{len(cells)} cells where two names and a label are expected")
        elif cells[2] not in ("0", "1"):
            if line > 1:  # a header is no fault
                table.skip(line, "label_unknown", f"the label is {cells[2][:40]!r}; 0 or 1 is expected")
        elif ends := _ends(table, line, cells[:2], finder, folders):
            first, second = (icdar(path_of(end)) for end in ends)
            if first is None or second is None:
                table.skip(line, "row_contradicts", "the folders of the two images say no writer")
            else:
                yield line, Pair(*ends, genuine=first[0] == second[0] and not first[1] and not second[1]), cells[2]


def _rows(table: Table, finder: Finder) -> Iterator[Row]:
    if not table.rows:
        return
    line, heading = table.rows[0]
    places = {cell.lower(): place for place, cell in enumerate(heading)}
    missing = [name for name in _COLUMNS if name not in places]
    if missing:
        reason = f"no column {' and no column '.join(missing)}; the first line must name first,second,label"
        table.skip(line, "columns_missing", reason)
        return
    if len(table.rows) == 1:
        table.skip(0, "table_empty", "it has a heading but no row")
    home = path_of(table.entry).parent
    for line, cells in table.rows[1:]:
        told = {name: cells[place] if place < len(cells) else "" for name, place in places.items()}
        label = told["label"].lower()
        if label not in _LABELS:
            table.skip(line, "label_unknown", f"the label is {label[:40]!r}; write genuine or forged (or 1 or 0)")
        elif ends := _ends(table, line, [told["first"], told["second"]], finder, (home, PurePosixPath())):
            yield Row(line, *ends, genuine=_LABELS[label], writer=told.get("writer", ""))


def _ends(
    table: Table, line: int, names: list[str], finder: Finder, folders: Iterable[PurePosixPath]
) -> tuple[str, str] | None:
    """The two entries of a row, or None after its fault has been listed."""
    found = []
    for name in names:
        entry = finder.find(name, folders) if name else None
        if entry is None:
            told = f"{name[:200]} is not an image in the archive" if name else "the name of an image is empty"
            table.skip(line, "image_missing", told)
            return None
        found.append(entry)
    if found[0] == found[1]:
        table.skip(line, "same_image", f"{names[0][:200]} is compared with itself")
        return None
    return found[0], found[1]


class _Owners:
    """Which images are one writer's own (disjoint sets), and the writer's name where it was told."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._of_name: dict[str, str] = {}

    def __contains__(self, entry: str) -> bool:
        return entry in self._above

    def owner(self, entry: str) -> str:
        """One image that stands for all of its writer's; ``entry`` becomes known by asking."""
        above = self._above.setdefault(entry, entry)
        while above != self._above[above]:
            self._above[above] = self._above[self._above[above]]
            above = self._above[above]
        return above

    def name(self, entry: str) -> str:
        """The writer's name; empty where none was told."""
        return self._names.get(self.owner(entry), "")

    def join(self, entries: Iterable[str], writer: str) -> bool:
        """Make the images one writer's; False, and nothing done, if that would make two named writers one."""
        entries = tuple(entries)
        names = {name for entry in entries if entry in self and (name := self.name(entry))} | ({writer} - {""})
        if len(names) > 1:
            return False
        for name in names:
            entries = (*entries, self._of_name.setdefault(name, entries[0]))
        root = self.owner(entries[0])
        for entry in entries[1:]:
            self._above[self.owner(entry)] = root
        for name in names:
            self._names[root] = name
        return True


def _join(owners: _Owners, row: Row, table: Table) -> bool:
    if owners.join((row.first, row.second), row.writer):
        return True
    table.skip(row.line, "row_contradicts", "the pair would make two named writers one; the lines before stand")
    return False


def _own(owners: _Owners, row: Row, table: Table) -> bool:
    """Know the genuine side of a forged pair as its writer's own."""
    if row.first in owners and row.second in owners:
        return True
    others = row.second in owners and owners.name(row.second) not in ("", row.writer or owners.name(row.second))
    genuine = row.second if row.second in owners and not others else row.first
    if owners.join((genuine,), row.writer):
        return True
    table.skip(row.line, "row_contradicts", f"the lines before say that {genuine} is another writer's")
    return False


def _consistent(rows: list[Row], owners: _Owners, table: Table) -> list[Row]:
    kept = []
    for row in rows:
        both = row.first in owners and row.second in owners
        if not row.genuine and both and owners.owner(row.first) == owners.owner(row.second):
            table.skip(row.line, "row_contradicts", "labelled forged, but genuine pairs say one writer wrote both")
        else:
            kept.append(row)
    return kept


def _samples(rows: list[Row], owners: _Owners) -> list[Sample]:
    claimed: dict[str, set[str]] = {}
    for row in rows:
        for one, other in ((row.first, row.second), (row.second, row.first)):
            if one not in owners:
                claimed.setdefault(one, set()).add(owners.owner(other))
    for entry, writers in claimed.items():
        if len(writers) > 1:  # no skilled forgery of one name; whose own it is nobody says
            owners.owner(entry)
    told = dict.fromkeys(entry for row in rows for entry in (row.first, row.second))
    taken = {owners.name(entry) for entry in told if entry in owners}
    numbers = (name for number in range(1, 2 * len(told) + 2) if (name := f"writer-{number}") not in taken)
    names: dict[str, str] = {}
    samples = []
    for entry in told:
        forged = entry not in owners
        owner = next(iter(claimed[entry])) if forged else owners.owner(entry)
        if owner not in names:
            names[owner] = owners.name(owner) or next(numbers)
        samples.append(Sample(entry, names[owner], forged))
    return samples
