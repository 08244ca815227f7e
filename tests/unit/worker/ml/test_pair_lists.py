"""Lists of pairs in archives: what they say, and what a damaged one costs."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.archives import Archive, ArchiveLimits
from shared.errors import TrainingFailed, UnusableImage
from tests.factories import zip_of
from worker.ml.layouts import Layout, Pair, Sample, detect

LIMITS = ArchiveLimits(max_entries=1000, max_entry=2**20, max_ratio=1000)
IMAGES = [f"scans/{name}.png" for name in ("a1", "a2", "a3", "af", "b1", "b2", "bf")]
HEADING = "first,second,label"


def detected(files: dict[str, bytes | str]) -> Layout:
    """The layout of a real archive of these files; images are not looked into."""
    archive = Archive(io.BytesIO(zip_of(files)), LIMITS)

    def read(name: str, most: int) -> bytes:
        entry = archive.find(name)
        assert entry is not None
        if entry.size > most:
            raise UnusableImage("table_too_large", "too large")
        return archive.read(entry)

    return detect(archive.names(), read)


def listed(*rows: str, heading: str = HEADING, name: str = "scans/pairs.csv") -> Layout:
    return detected({name: "\n".join((heading, *rows)), **dict.fromkeys(IMAGES, b"x")})


def samples_of(layout: Layout) -> dict[str, tuple[str, bool]]:
    found = {sample.entry: (sample.writer, sample.forged) for sample in layout.samples}
    return {entry.removeprefix("scans/").removesuffix(".png"): told for entry, told in found.items()}


def faults(layout: Layout) -> list[tuple[int, str]]:
    return [(skipped.line, skipped.code) for skipped in layout.skipped if skipped.entry.endswith(".csv")]


def test_genuine_pairs_connect_a_writers_images() -> None:
    layout = listed(
        "a1.png,a2.png,genuine", "a2.png,a3.png,1", "b1.png,b2.png,Genuine", "a1.png,af.png,forged", "b1.png,bf.png,0"
    )
    assert layout.name == "pairs"
    assert samples_of(layout) == {
        "a1": ("writer-1", False), "a2": ("writer-1", False), "a3": ("writer-1", False), "af": ("writer-1", True),
        "b1": ("writer-2", False), "b2": ("writer-2", False), "bf": ("writer-2", True),
    }  # fmt: skip
    assert layout.pairs[3] == Pair("scans/a1.png", "scans/af.png", genuine=False)
    assert [pair.genuine for pair in layout.pairs] == [True, True, True, False, False]
    assert layout.notes == ("scans/pairs.csv: 3 genuine and 2 forged pairs; label 1 means genuine, 0 forged.",)


def test_writers_may_be_named() -> None:
    layout = listed(
        "anna,genuine,a1.png,a2.png", "anna,forged,a3.png,af.png", "ben,forged,b1.png,bf.png",
        heading="Writer;Label;First;Second".replace(";", ","),
    )  # fmt: skip
    assert samples_of(layout) == {
        "a1": ("anna", False), "a2": ("anna", False), "a3": ("anna", False), "af": ("anna", True),
        "b1": ("ben", False), "bf": ("ben", True),
    }  # fmt: skip


def test_another_writers_own_signature_is_no_skilled_forgery() -> None:
    layout = listed("a1.png,a2.png,genuine", "b1.png,b2.png,genuine", "a1.png,b1.png,forged")
    assert samples_of(layout)["b1"] == ("writer-2", False)
    assert layout.pairs[2] == Pair("scans/a1.png", "scans/b1.png", genuine=False)


def test_the_genuine_side_of_a_forged_pair_may_stand_second() -> None:
    assert samples_of(listed("a1.png,a2.png,genuine", "af.png,a1.png,forged"))["af"] == ("writer-1", True)


def test_a_forgery_of_two_writers_is_an_unknown_writers_own() -> None:
    layout = listed("a1.png,a2.png,1", "b1.png,b2.png,1", "a1.png,af.png,0", "b1.png,af.png,0")
    assert samples_of(layout)["af"] == ("writer-3", False)
    assert len(layout.pairs) == 4


def test_named_writers_are_never_made_one() -> None:
    layout = listed(
        "a1.png,a2.png,1,anna", "b1.png,b2.png,1,ben", "a1.png,b1.png,1,", "a2.png,b2.png,0,", "a1.png,a3.png,0,ben",
        heading="first,second,label,writer",
    )  # fmt: skip
    assert faults(layout) == [(4, "row_contradicts"), (6, "row_contradicts")]
    assert samples_of(layout) == {
        "a1": ("anna", False), "a2": ("anna", False), "b1": ("ben", False), "b2": ("ben", False)
    }  # fmt: skip


def test_bad_rows_cost_only_themselves() -> None:
    layout = listed(
        "a1.png,a2.png,genuine",
        "a1.png,nowhere.png,genuine",
        "a1.png,a3.png,perhaps",
        "a1.png,a1.png,genuine",
        'a1.png,"a3.png,genuine',
        "",
        "a1.png",
        ",a2.png,forged",
        "a1.png,a2.png,forged",
        "x" * 2000 + ",a2.png,forged",
        "b1.png,b2.png,genuine",
    )
    assert len(layout.pairs) == 2
    assert faults(layout) == [
        (3, "image_missing"), (4, "label_unknown"), (5, "same_image"), (6, "row_unreadable"), (8, "label_unknown"),
        (9, "image_missing"), (10, "row_contradicts"), (11, "row_unreadable"),
    ]  # fmt: skip


def test_images_not_in_the_list_are_skipped() -> None:
    layout = listed("a1.png,a2.png,genuine")
    assert {skipped.reason for skipped in layout.skipped} == {"not in scans/pairs.csv"}
    assert len(layout.skipped) == len(IMAGES) - 2


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").replace("\n", "\r\n").encode(),
        lambda text: text.replace("scans/", ".\\SCANS\\").encode(),
    ],
)
def test_tables_as_spreadsheets_of_all_countries_write_them(encode: Callable[[str], bytes]) -> None:
    table = f"{HEADING}\nscans/a1.png, scans/a2.png, genuine\n"
    layout = detected({"pairs.csv": encode(table), **dict.fromkeys(IMAGES, b"x")})
    assert layout.pairs == (Pair("scans/a1.png", "scans/a2.png", genuine=True),)


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (b"first,second,label\nscans/\xff.png,scans/a2.png,1\n", "table_encoding"),
        (b"one,two,kind\nscans/a1.png,scans/a2.png,1\n", "columns_missing"),
        (b"first,second,label\n", "table_empty"),
        (b"", "table_empty"),
        (b"\n" * (33 * 2**20), "table_too_large"),
    ],
)
def test_a_list_of_no_use_leaves_the_names_to_speak(table: bytes, code: str) -> None:
    names = ["anna/genuine/1.png", "anna/forged/1.png"]
    layout = detected({"pairs.csv": table, **dict.fromkeys(names, b"x")})
    assert (layout.name, len(layout.samples), layout.pairs) == ("writers", 2, ())
    assert [skipped.code for skipped in layout.skipped] == [code]


def test_if_the_names_say_nothing_either_the_error_tells_of_the_list() -> None:
    with pytest.raises(TrainingFailed, match=r"pairs\.csv is of no use: no column label"):
        listed("a1.png,a2.png", heading="first,second")


def test_the_outermost_list_counts() -> None:
    inner = f"{HEADING}\nb1.png,b2.png,genuine\n"
    outer = f"{HEADING}\nscans/a1.png,scans/a2.png,genuine\n"
    layout = detected({"scans/pairs.csv": inner, "pairs.csv": outer, **dict.fromkeys(IMAGES, b"x")})
    assert layout.pairs == (Pair("scans/a1.png", "scans/a2.png", genuine=True),)
    assert "scans/pairs.csv" in {skipped.entry for skipped in layout.skipped}


ICDAR = [
    "sign_data/train/068/09_068.png", "sign_data/train/068/10_068.png", "sign_data/train/068_forg/03_0113068.PNG",
    "sign_data/train/069/01_069.png", "sign_data/test/049/01_049.png", "sign_data/test/049_forg/01_0114049.PNG",
]  # fmt: skip
TRAIN = [
    "068/09_068.png,068_forg/03_0113068.PNG,1", "068/09_068.png,068/10_068.png,0", "068/09_068.png,069/01_069.png,1"
]  # fmt: skip


def icdar(train: list[str], test: list[str]) -> Layout:
    tables = {"sign_data/train_data.csv": "\n".join(train), "sign_data/test_data.csv": "\n".join(test)}
    return detected(tables | dict.fromkeys(ICDAR, b"x"))


def test_icdar_2011_with_its_lists() -> None:
    layout = icdar(TRAIN, ["049/01_049.png,049_forg/01_0114049.PNG,1"])
    assert layout.name == "icdar2011"
    assert Sample("sign_data/test/049_forg/01_0114049.PNG", "049", forged=True) in layout.samples
    assert [pair.genuine for pair in layout.pairs] == [False, False, True, False]
    assert layout.pairs[0].second == "sign_data/test/049_forg/01_0114049.PNG"
    assert layout.skipped == ()
    assert layout.notes[1] == (
        "sign_data/train_data.csv: 1 genuine and 2 forged pairs; "
        "label 1 means forged: 3 of 3 rows agree with the folders."
    )


def test_the_meaning_of_its_labels_is_read_from_the_folders() -> None:
    turned = [row[:-1] + str(1 - int(row[-1])) for row in TRAIN]
    layout = icdar(turned, [])
    assert [pair.genuine for pair in layout.pairs] == [False, True, False]
    assert "label 1 means genuine: 3 of 3 rows" in layout.notes[0]


def test_single_labels_that_contradict_the_folders_are_skipped() -> None:
    layout = icdar([*TRAIN * 4, "068/10_068.png,068/09_068.png,1"], [])
    assert len(layout.pairs) == 12
    assert (13, "label_contradicts") in faults(layout)


def test_labels_without_a_meaning_are_not_used() -> None:
    layout = icdar([*TRAIN, "068/10_068.png,068/09_068.png,1"], [])
    assert (layout.pairs, len(layout.samples)) == ((), 6)
    assert (0, "labels_unclear") in faults(layout)


def test_bad_rows_of_its_lists_are_listed() -> None:
    rows = ["first,second,label", *TRAIN, "068/09_068.png,1", "068/09_068.png,068/11_068.png,0", "068/09_068.png,x,2"]
    layout = icdar(rows, ["049/01_049.png,049_forg/01_0114049.PNG,1"])
    assert len(layout.pairs) == 4
    assert faults(layout) == [(5, "row_unreadable"), (6, "image_missing"), (7, "label_unknown")]


END = st.sampled_from(["a1.png", "a2.png", "a3.png", "af.png", "b1.png", "b2.png", "x.png", ""])
LABEL = st.sampled_from(["genuine", "forged", "0", "1", "?"])
WRITER = st.sampled_from(["", "", "anna", "ben"])


@given(st.lists(st.tuples(END, END, LABEL, WRITER), max_size=12))
def test_what_a_list_says_never_contradicts_itself(rows: list[tuple[str, str, str, str]]) -> None:
    good = ("a1.png", "a2.png", "genuine", "anna")  # without one good row the list is of no use
    layout = listed(*(",".join(row) for row in [good, *rows]), heading="first,second,label,writer")
    told = {sample.entry: sample for sample in layout.samples}
    assert told.keys() == {entry for pair in layout.pairs for entry in (pair.first, pair.second)}
    for pair in layout.pairs:
        first, second = told[pair.first], told[pair.second]
        same = first.writer == second.writer
        assert pair.genuine == (same and not first.forged and not second.forged)
        assert same or not (first.forged or second.forged)
    lines = {skipped.line for skipped in layout.skipped if skipped.line}
    assert len(lines) + len(layout.pairs) == len(rows) + 1


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(content: bytes) -> None:
    layout = detected({"pairs.csv": content, "anna/genuine/1.png": b"x"})
    assert layout.name == "writers"
