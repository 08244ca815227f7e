from __future__ import annotations

import codecs
import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.archives import Archive, ArchiveLimits
from shared.errors import InvalidInput
from shared.manifest import MAX_LINE, MAX_NAME, ImageRef, Row, check_manifest, manifest_name, read_manifest
from tests.factories import manifest_of, zip_of

LIMITS = ArchiveLimits(max_entries=100, max_entry=2**20, max_ratio=400.0)
EVERY = ("id", "questioned", "reference", "questioned_page", "reference_page", "questioned_box", "reference_box")


def rows_of(text: str | bytes, most: int = 64) -> list[Row]:
    data = text.encode() if isinstance(text, str) else text
    return list(read_manifest(io.BytesIO(data), most))


def refusal(text: str | bytes) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        rows_of(text)
    return caught.value


def fault_of(*cells: object, heading: tuple[str, ...] = EVERY, most: int = 3) -> str:
    (row,) = rows_of(manifest_of(cells, heading=heading), most)
    assert row.fault is not None
    assert row.fault.where == "line 2"
    assert row.fault.message.startswith("Line 2: ")
    assert row.questioned is None
    assert row.references == ()
    return row.fault.code


def test_the_plain_form() -> None:
    rows = rows_of("id,questioned,reference\n1,a.png,b.png\nx-2,c/d.png,e.png\n")
    assert rows == [
        Row(2, "1", ImageRef("a.png"), (ImageRef("b.png"),)),
        Row(3, "x-2", ImageRef("c/d.png"), (ImageRef("e.png"),)),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", [b"", codecs.BOM_UTF8])
def test_every_dialect(separator: str, end: str, start: bytes) -> None:
    heading = separator.join([" ID", '"Questioned"', "REFERENCE "])
    row = separator.join([' "ä;1,"', " a.png ", '"b.png"'])
    (found,) = rows_of(start + f"{heading}{end}{row}{end}".encode())
    assert found == Row(2, "ä;1,", ImageRef("a.png"), (ImageRef("b.png"),))


def test_columns_in_any_order_and_unknown_ones() -> None:
    (row,) = rows_of("amount,reference,id,questioned\n12.50,r.png,7,q.png\n")
    assert row == Row(2, "7", ImageRef("q.png"), (ImageRef("r.png"),))


def test_a_column_that_is_there_twice_is_refused_unless_nobody_reads_it() -> None:
    error = refusal("id,Questioned,reference,questioned\n1,a,b,c\n")
    assert (error.code, [fault.where for fault in error.faults]) == ("manifest_columns", ["line 1"])
    assert "questioned" in error.faults[0].message
    (row,) = rows_of("id,questioned,reference,note,note,,\n1,a,b,x,y,,\n")
    assert row.fault is None


def test_the_last_line_needs_no_end() -> None:
    assert len(rows_of("id,questioned,reference\n1,a,b")) == 1


def test_several_references_with_pages_and_boxes() -> None:
    text = manifest_of(
        ("1", "q.tif", "a.tif | b.pdf|c.png", "2", "1|3|1", "5 6 70 80", "1 2 30 40||0,0,9,9"), heading=EVERY
    )
    (row,) = rows_of(text)
    assert row.questioned == ImageRef("q.tif", 2, (5, 6, 70, 80))
    assert row.references == (
        ImageRef("a.tif", 1, (1, 2, 30, 40)),
        ImageRef("b.pdf", 3),
        ImageRef("c.png", 1, (0, 0, 9, 9)),
    )


def test_one_page_and_box_serve_all_references() -> None:
    (row,) = rows_of(manifest_of(("1", "q", "a|b", "", "2", "", "1 2 3 4"), heading=EVERY))
    assert row.references == (ImageRef("a", 2, (1, 2, 3, 4)), ImageRef("b", 2, (1, 2, 3, 4)))


def test_paths_as_windows_writes_them() -> None:
    (row,) = rows_of("id,questioned,reference\n1,scans\\a.png,./b.png\n")
    assert (row.questioned, row.references) == (ImageRef("scans/a.png"), (ImageRef("b.png"),))


def test_lines_are_those_of_an_editor() -> None:
    """Rows may hold line breaks, and empty lines stand between them: each row is told by its first line."""
    text = 'id,questioned,reference,note\n1,a,b,"two\nlines"\n\n2,a,b,\n3,a,b,"three\r\n\r\nlines"\n4,a,b,\n'
    assert [(row.external_id, row.line) for row in rows_of(text)] == [("1", 2), ("2", 5), ("3", 6), ("4", 9)]


def test_empty_lines_are_no_rows() -> None:
    assert [row.line for row in rows_of("id,questioned,reference\n\n , ,\n1,a,b\n,,\n")] == [4]


def test_repeated_ids_are_left_to_the_intake() -> None:
    rows = rows_of("id,questioned,reference\n1,a,b\n1,c,d\n")
    assert [row.fault for row in rows] == [None, None]


@pytest.mark.parametrize("missing", ["id", "questioned", "reference"])
def test_a_missing_column(missing: str) -> None:
    heading = ",".join(name for name in ("id", "questioned", "reference") if name != missing)
    error = refusal(f"{heading}\n1,2\n")
    assert error.code == "manifest_columns"
    assert [fault.message for fault in error.faults] == [f"the column {missing} is missing"]
    assert heading in error.message


def test_all_missing_columns_are_named() -> None:
    assert len(refusal("a,b\n1,2\n").faults) == 3


@pytest.mark.parametrize("text", ["", "\n", "\ufeff"])
def test_nothing_at_all(text: str) -> None:
    assert refusal(text).code == "manifest_columns"


@pytest.mark.parametrize("rest", ["", "\n", "\n\n\n", "\n,,\n"])
def test_a_heading_alone(rest: str) -> None:
    assert refusal("id,questioned,reference" + rest).code == "manifest_empty"


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings(encoding: str) -> None:
    assert refusal("id,questioned,reference\n1,ä.png,ö.png\n".encode(encoding)).code == "manifest_unreadable"


def test_a_cell_beyond_reason() -> None:
    assert refusal("id,questioned,reference\n1," + "a" * 200_000 + ",b\n").code == "manifest_unreadable"


@pytest.mark.parametrize("text", ["x" * (MAX_LINE + 1), "id,questioned,reference\n" + "," * (MAX_LINE + 1)])
def test_a_line_beyond_reason(text: str) -> None:
    error = refusal(text)
    assert error.code == "manifest_unreadable"
    assert "line" in error.message


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        (("", "q", "r"), "id_missing"),
        (("i" * 256, "q", "r"), "id_too_long"),
        (("1", "", "r"), "questioned_missing"),
        (("1", "q", " "), "reference_missing"),
        (("1", "q", "|"), "reference_missing"),
        (("1",), "questioned_missing"),
        (("1", "q|p", "r"), "questioned_too_many"),
        (("1", "q", "a|b|c|d"), "reference_too_many"),
        (("1", "q" * (MAX_NAME + 1), "r"), "questioned_too_long"),
        (("1\0", "q", "r"), "row_invalid"),
        (("1", "q\0", "r"), "row_invalid"),
        (("1", "q", "r", "0"), "questioned_page_invalid"),
        (("1", "q", "r", "-1"), "questioned_page_invalid"),
        (("1", "q", "r", "1.5"), "questioned_page_invalid"),
        (("1", "q", "r", "²"), "questioned_page_invalid"),
        (("1", "q", "r", "1000000"), "questioned_page_invalid"),
        (("1", "q", "r", "000000001" + "9" * 20), "questioned_page_invalid"),
        (("1", "q", "r", "", "two"), "reference_page_invalid"),
        (("1", "q", "a|b", "", "1|2|3"), "reference_page_invalid"),
        (("1", "q", "r", "", "", "1 2 3"), "questioned_box_invalid"),
        (("1", "q", "r", "", "", "1 2 0 4"), "questioned_box_invalid"),
        (("1", "q", "r", "", "", "-1 2 3 4"), "questioned_box_invalid"),
        (("1", "q", "r", "", "", "1 2 3 99999999"), "questioned_box_invalid"),
        (("1", "q", "a|b", "", "", "", "1 2 3 4|"), None),
        (("1", "q", "a|b", "", "", "", "1 2 3 4||"), "reference_box_invalid"),
    ],
)
def test_bad_cells(cells: tuple[str, ...], code: str | None) -> None:
    if code is None:
        (row,) = rows_of(manifest_of(cells, heading=EVERY))
        assert row.fault is None
    else:
        assert fault_of(*cells) == code


def test_a_bad_row_does_not_stop_the_rows_after_it() -> None:
    rows = rows_of("id,questioned,reference\n1,,b\n2,a,b\n")
    assert [row.fault.code if row.fault else None for row in rows] == ["questioned_missing", None]


def test_the_id_of_a_bad_row_is_kept() -> None:
    assert rows_of("id,questioned,reference\nmy-7,,b\n")[0].external_id == "my-7"


def archive_of(*names: str) -> Archive:
    return Archive(io.BytesIO(zip_of(dict.fromkeys(names, "id,questioned,reference\n1,a,b\n"))), LIMITS)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("a.png", "manifest.csv"), "manifest.csv"),
        (("MANIFEST.CSV",), "MANIFEST.CSV"),
        (("batch/x.png", "batch/Manifest.csv"), "batch/Manifest.csv"),
        (("deep/er/manifest.csv", "deep/manifest.csv"), "deep/manifest.csv"),
        (("__MACOSX/manifest.csv", "batch/manifest.csv"), "batch/manifest.csv"),
    ],
)
def test_where_the_manifest_is(names: tuple[str, ...], found: str) -> None:
    assert manifest_name(archive_of(*names)) == found


@pytest.mark.parametrize("names", [(), ("a.png",), ("my-manifest.csv",), ("__MACOSX/manifest.csv",)])
def test_no_manifest(names: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_manifest(archive_of(*names))
    assert caught.value.code == "manifest_missing"


def test_check_accepts_a_first_row_with_many_references() -> None:
    """A bad row costs that row its answer, never the batch."""
    many = Archive(io.BytesIO(zip_of({"manifest.csv": "id,questioned,reference\n1,a,b|c\n"})), LIMITS)
    check_manifest(many)
    with many.open_stream("manifest.csv") as stream:
        (row,) = read_manifest(stream, max_references=1)
    assert row.fault is not None
    assert row.fault.code == "reference_too_many"


names = st.text(
    st.characters(codec="utf-8", exclude_characters="|\0\\\r\n", exclude_categories=("C", "Z")), min_size=1
).filter(lambda name: len(name) <= 100 and not name.startswith("./"))
boxes = st.none() | st.tuples(st.integers(0, 999), st.integers(0, 999), st.integers(1, 999), st.integers(1, 999))
refs = st.builds(ImageRef, names, st.integers(1, 999_999), boxes)
written_rows = st.tuples(names, refs, st.lists(refs, min_size=1, max_size=4))


@given(
    st.lists(written_rows, min_size=1, max_size=5), st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"])
)
def test_what_is_written_is_read(rows: list[tuple[str, ImageRef, list[ImageRef]]], separator: str, end: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(EVERY)
    for external_id, questioned, references in rows:
        writer.writerow(
            [
                external_id,
                questioned.entry,
                "|".join(ref.entry for ref in references),
                questioned.page,
                "|".join(str(ref.page) for ref in references),
                questioned.box_text or "",
                "|".join(ref.box_text or "" for ref in references),
            ]
        )
    found = rows_of(out.getvalue())
    assert [row.fault for row in found] == [None] * len(rows)
    assert [(row.external_id, row.questioned, list(row.references)) for row in found] == rows


def test_names_tell_regions_apart() -> None:
    refs = [
        ImageRef("a"),
        ImageRef("a", 2),
        ImageRef("a", 1, (1, 2, 3, 4)),
        ImageRef("a", 2, (1, 2, 3, 4)),
        ImageRef("b"),
    ]
    assert len({ref.name for ref in refs}) == len(refs)
