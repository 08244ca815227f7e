from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import TrainingFailed
from worker.ml.layouts import Sample, count_writers, detect

CEDAR = [
    "full_org/original_1_1.png",
    "full_org/original_1_2.png",
    "full_org/original_12_1.png",
    "full_forg/forgeries_1_1.png",
    "full_forg/forgeries_12_24.png",
]
ICDAR = ["002/002_01.PNG", "002/002_02.PNG", "002_forg/0108002_01.png", "003/003_01.tif", "003_forg/01_0121003.png"]
WRITERS = ["anna/genuine/1.jpg", "anna/forged/1.jpg", "ben/Genuine/a.webp", "ben/Forgeries/b.bmp", "ben/FORGERY/c.tiff"]


@pytest.mark.parametrize("outer", ["", "signatures/", "a b/cedar/"])
def test_cedar(outer: str) -> None:
    layout = detect(outer + name for name in CEDAR)
    assert layout.name == "cedar"
    assert Sample(outer + "full_org/original_12_1.png", "12", forged=False) in layout.samples
    assert Sample(outer + "full_forg/forgeries_1_1.png", "1", forged=True) in layout.samples
    assert len(layout.samples) == 5
    assert layout.skipped == ()


def test_cedar_with_both_kinds_flat_in_one_folder() -> None:
    layout = detect(name.split("/")[1] for name in CEDAR)
    assert layout.name == "cedar"
    assert [sample.forged for sample in layout.samples] == [True, True, False, False, False]


@pytest.mark.parametrize("outer", ["", "Dutch/", "train/2011/"])
def test_icdar_2011(outer: str) -> None:
    layout = detect(outer + name for name in ICDAR)
    assert layout.name == "icdar2011"
    assert {sample.writer for sample in layout.samples} == {"002", "003"}
    assert {sample.entry for sample in layout.samples if sample.forged} == {
        outer + "002_forg/0108002_01.png",
        outer + "003_forg/01_0121003.png",
    }


@pytest.mark.parametrize("outer", ["", "set/", "set/2024/"])
def test_writer_folders(outer: str) -> None:
    layout = detect(outer + name for name in WRITERS)
    assert layout.name == "writers"
    assert [(sample.writer, sample.forged) for sample in layout.samples] == [
        ("anna", True), ("anna", False), ("ben", True), ("ben", True), ("ben", False)
    ]  # fmt: skip


def test_numbered_writers_with_genuine_and_forged_folders_are_writer_folders() -> None:
    layout = detect(["001/genuine/1.png", "001/forged/1.png", "002/genuine/1.png"])
    assert layout.name == "writers"
    assert {sample.writer for sample in layout.samples} == {"001", "002"}


def test_backslashes_and_folder_entries_of_windows_archives() -> None:
    layout = detect(["anna\\", "anna/genuine/", "anna\\genuine\\1.png", "anna\\forged\\1.png"])
    assert layout.name == "writers"
    assert [sample.entry for sample in layout.samples] == ["anna\\forged\\1.png", "anna\\genuine\\1.png"]


def test_what_is_left_out_is_told_with_the_reason() -> None:
    junk = ["__MACOSX/full_org/._original_1_1.png", "full_org/.DS_Store", "full_org/Thumbs.db", "readme.txt", "odd.png"]
    layout = detect([*CEDAR, *junk])
    assert len(layout.samples) == 5
    assert {skipped.entry: skipped.reason for skipped in layout.skipped} == {
        "__MACOSX/full_org/._original_1_1.png": "left by the operating system",
        "full_org/.DS_Store": "left by the operating system",
        "full_org/Thumbs.db": "left by the operating system",
        "readme.txt": "not an image",
        "odd.png": "does not fit the layout cedar",
    }


def test_writers_are_counted_one_by_one_in_natural_order() -> None:
    names = ["w10/genuine/1.png", "w2/genuine/1.png", "w2/genuine/2.png", "w2/forged/1.png", "w3/forged/1.png"]
    assert count_writers(detect(names).samples)["per_writer"] == {
        "genuine": {"smallest": 0, "median": 1, "largest": 2},
        "forged": {"smallest": 0, "median": 1, "largest": 1},
        "rows": [
            {"writer": "w2", "genuine": 2, "forged": 1},
            {"writer": "w3", "genuine": 0, "forged": 1},
            {"writer": "w10", "genuine": 1, "forged": 0},
        ],
        "left_off": 0,
        "single_genuine": {"count": 1, "names": ["w10"]},
        "no_genuine": {"count": 1, "names": ["w3"]},
    }


def test_the_table_of_writers_is_limited() -> None:
    per_writer = count_writers(Sample(f"{n}.png", str(n), forged=False) for n in range(1, 251))["per_writer"]
    assert (len(per_writer["rows"]), per_writer["left_off"]) == (200, 50)
    assert per_writer["single_genuine"]["count"] == 250
    assert per_writer["single_genuine"]["names"][-1] == "20"


def test_endless_names_are_read_and_cut_short_in_the_report() -> None:
    long = "7" * 5000
    layout = detect([f"{long}/genuine/1.png", f"full_org/original_{long}_1.png", "8/genuine/1.png"])
    assert {sample.writer for sample in layout.samples} == {long, "8", "full_org"}
    rows = count_writers(layout.samples)["per_writer"]["rows"]
    assert sorted(row["writer"] for row in rows) == ["7" * 100, "8", "full_org"]


BHSIG = ["Bengali/001/B-S-001-G-01.tif", "Bengali/001/B-S-001-F-30.tif", "Hindi/001/H-S-001-G-24.tif"]


@pytest.mark.parametrize("outer", ["", "BHSig260/", "a/b/"])
def test_bhsig260_keeps_the_writers_of_both_scripts_apart(outer: str) -> None:
    layout = detect(outer + name for name in BHSIG)
    assert layout.name == "bhsig260"
    assert {(sample.writer, sample.forged) for sample in layout.samples} == {
        ("bengali-001", False), ("bengali-001", True), ("hindi-001", False)
    }  # fmt: skip


def test_bhsig260_in_folders_of_kinds() -> None:
    layout = detect(["BHSig100_Bengali/Genuine/7/B-S-7-G-01.tif", "BHSig100_Bengali/Forged/7/b-s-7-f-1.tif"])
    assert {sample.writer for sample in layout.samples} == {"bengali-007"}
    assert [sample.forged for sample in layout.samples] == [True, False]


SIGCOMP = {
    "OfflineSignatures/Dutch/TrainingSet/Offline Genuine/001_01.PNG": ("dutch-001", False),
    "OfflineSignatures/Dutch/TrainingSet/Offline Forgeries/0119001_04.png": ("dutch-001", True),
    "OfflineSignatures/Chinese/TrainingSet/Offline Genuine/001_1.png": ("chinese-001", False),
    "OfflineSignatures/Chinese/TrainingSet/Offline Forgeries/0116009_12.png": ("chinese-009", True),
    "SigComp11-Offlinetestset/Dutch/Reference(646)/013/01_013.PNG": ("dutch-013", False),
    "SigComp11-Offlinetestset/Dutch/Questioned(1287)/013/13_013.PNG": ("dutch-013", False),
    "SigComp11-Offlinetestset/Dutch/Questioned(1287)/013/01_0104013.PNG": ("dutch-013", True),
    "SigComp11-Offlinetestset/Chinese/Ref(115)/011/01_011.PNG": ("chinese-011", False),
    "SigComp11-Offlinetestset/Chinese/Questioned(487)/011/02_0101011.PNG": ("chinese-011", True),
}


@pytest.mark.parametrize("outer", ["", "SigComp2011/"])
def test_sigcomp_2011_as_its_organisers_named_it(outer: str) -> None:
    layout = detect(outer + name for name in SIGCOMP)
    assert layout.name == "sigcomp2011"
    found = {sample.entry.removeprefix(outer): (sample.writer, sample.forged) for sample in layout.samples}
    assert found == SIGCOMP


def test_one_part_of_sigcomp_without_its_outer_folders() -> None:
    layout = detect(["Genuine/002_01.png", "Genuine/002_02.png", "Forged/0108002_01.png"])
    assert layout.name == "sigcomp2011"
    assert {(sample.writer, sample.forged) for sample in layout.samples} == {("002", False), ("002", True)}


def test_a_sigcomp_file_that_contradicts_its_folder_is_left_out() -> None:
    layout = detect([*SIGCOMP, "OfflineSignatures/Dutch/TrainingSet/Offline Genuine/0119001_01.png"])
    assert [skipped.reason for skipped in layout.skipped] == ["does not fit the layout sigcomp2011"]


def test_plain_folders_of_writers_are_all_genuine() -> None:
    layout = detect(["set/anna/1.png", "set/anna/2.png", "set/ben/1.jpg", "loose.png"])
    assert layout.name == "writers"
    assert {(sample.writer, sample.forged) for sample in layout.samples} == {("anna", False), ("ben", False)}
    assert [skipped.entry for skipped in layout.skipped] == ["loose.png"]


def test_kinds_may_begin_the_names_of_files() -> None:
    layout = detect(["anna/genuine_1.png", "anna/Forged-2.png", "007/original1.png", "007/forgery (3).png"])
    assert layout.name == "writers"
    assert {sample.entry: (sample.writer, sample.forged) for sample in layout.samples} == {
        "anna/genuine_1.png": ("anna", False),
        "anna/Forged-2.png": ("anna", True),
        "007/original1.png": ("007", False),
        "007/forgery (3).png": ("007", True),
    }


@pytest.mark.parametrize(
    "names", [["train/a.png", "test/b.png"], ["full_org/a.png", "full_forg/b.png"], ["anna/1.png"], ["1.png", "2.png"]]
)
def test_no_writers_are_made_up(names: list[str]) -> None:
    with pytest.raises(TrainingFailed) as caught:
        detect(names)
    assert caught.value.code == "layout_unknown"


PLAIN = st.text(st.sampled_from("abB01_-. /\\()"), min_size=1, max_size=20)


@given(st.lists(PLAIN.map(lambda name: name + ".png"), min_size=1, max_size=12))
def test_each_image_is_either_a_sample_or_skipped(names: list[str]) -> None:
    layout = detect([*names, "anna/genuine/1.png"])
    entries = [sample.entry for sample in layout.samples] + [skipped.entry for skipped in layout.skipped]
    assert sorted(entries) == sorted({*names, "anna/genuine/1.png"})
    assert all(sample.writer for sample in layout.samples)


@pytest.mark.parametrize("names", [[], ["a/"], ["readme.txt", "__MACOSX/a/genuine/1.png"]])
def test_no_images(names: list[str]) -> None:
    with pytest.raises(TrainingFailed) as caught:
        detect(names)
    assert caught.value.code == "no_images"


def test_an_unknown_layout_names_examples_and_what_is_accepted() -> None:
    with pytest.raises(TrainingFailed) as caught:
        detect(["scans/holiday.png", "genuine/1.png"])
    assert caught.value.code == "layout_unknown"
    for part in ("scans/holiday.png", "original_1_1.png", "001_forg", "anna/genuine"):
        assert part in caught.value.message
