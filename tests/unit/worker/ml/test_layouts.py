from __future__ import annotations

import json

import pytest

from shared.errors import TrainingFailed
from worker.ml.layouts import Sample, detect

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


def test_summary_is_json_and_shows_the_first_twenty_skipped() -> None:
    summary = detect([*CEDAR, *(f"notes/{number:02}.txt" for number in range(30))]).summary()
    assert json.loads(json.dumps(summary)) == summary
    shown = summary.pop("first_skipped")
    del summary["per_writer"]
    assert summary == {"layout": "cedar", "writers": 2, "genuine": 3, "forged": 2, "skipped": 30}
    assert [line["entry"] for line in shown] == [f"notes/{number:02}.txt" for number in range(20)]


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
