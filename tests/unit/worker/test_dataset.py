"""Labelled archives, read into arrays."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.archives import Archive, ArchiveLimits
from shared.errors import InvalidInput, TrainingFailed
from shared.specs import Preprocessing
from tests.factories import blank_png, drawing, encoded, png, zip_of
from worker.dataset import Dataset, Reading, read_dataset
from worker.ml.images import ImageLimits, decode, pixel_digest, prepare
from worker.ml.inkmask import binarise

SHAPE = Preprocessing(height=32, width=64)
LIMITS = ArchiveLimits(max_entries=1000, max_entry=2**20, max_ratio=1000)
FILES: dict[str, bytes | str] = {
    "anna/genuine/1.png": png(1),
    "anna/genuine/2.png": png(2),
    "anna/forged/1.png": png(3),
    "ben/genuine/1.png": png(4),
}


def read(folder: Path, files: dict[str, bytes | str], preprocessing: Preprocessing = SHAPE, **options: Any) -> Dataset:
    archive = Archive(io.BytesIO(zip_of(files)), LIMITS)
    return read_dataset(archive, preprocessing, ImageLimits(), folder, lambda done, total: None, Reading(**options))


def test_each_image_is_a_row_under_its_writers_name(tmp_path: Path) -> None:
    data = read(tmp_path, FILES)
    assert data.entries == sorted(FILES)
    assert data.writers == ["anna", "anna", "anna", "ben"]
    assert data.forged.tolist() == [True, False, False, False]
    pixels = decode(png(3))
    assert np.array_equal(data.canvases[0], prepare(pixels, SHAPE))
    assert data.digests[0] == pixel_digest(pixels)
    assert not data.pairs
    assert "pairs" not in data.summary


def test_the_summary_counts_what_was_kept(tmp_path: Path) -> None:
    bad: dict[str, bytes | str] = {"ben/genuine/2.png": blank_png(), "notes.txt": "x"}
    summary = read(tmp_path, FILES | bad).summary
    assert {name: summary[name] for name in ("layout", "writers", "genuine", "forged", "skipped")} == {
        "layout": "writers", "writers": 2, "genuine": 3, "forged": 1, "skipped": 2
    }  # fmt: skip
    assert summary["per_writer"]["rows"][1] == {"writer": "ben", "genuine": 1, "forged": 0}
    assert summary["per_writer"]["single_genuine"] == {"count": 1, "names": ["ben"]}
    assert [item["code"] for item in summary["skipped_list"]] == ["image_blank", "not_a_sample"]


def test_the_summary_is_json_and_lists_the_first_fifty_skipped(tmp_path: Path) -> None:
    notes = {f"notes/{number:02}.txt": "x" for number in range(60)}
    summary = read(tmp_path, {**FILES, **notes}).summary
    assert json.loads(json.dumps(summary)) == summary
    assert summary["skipped"] == 60
    assert [item["entry"] for item in summary["skipped_list"]] == list(notes)[:50]


def test_the_same_image_twice_of_a_writer_is_kept_once(tmp_path: Path) -> None:
    twice: dict[str, bytes | str] = {
        "anna/genuine/3.bmp": encoded(drawing(2), "BMP"),
        "anna/genuine/4.png": png(3),
        "ben/genuine/2.png": png(1),
    }
    data = read(tmp_path, FILES | twice)
    assert data.entries == ["anna/forged/1.png", "anna/genuine/1.png", "anna/genuine/2.png", "ben/genuine/1.png",
                            "ben/genuine/2.png"]  # fmt: skip
    assert data.digests[1] == data.digests[4], "the same image under two names is for the leak check to find"
    assert [(item["entry"], item["code"], item["reason"]) for item in data.summary["skipped_list"]] == [
        ("anna/genuine/3.bmp", "image_twice", "the same image as anna/genuine/2.png"),
        (
            "anna/genuine/4.png",
            "label_contradicts",
            "labelled genuine, yet the same image as anna/forged/1.png, labelled forged",
        ),
    ]


def test_listed_pairs_are_told_as_rows(tmp_path: Path) -> None:
    table = "first,second,label\na.png,b.png,1\na.png,again.png,1\na.png,f.png,0\nb.png,bad.png,0\nf.png,zz.png,x\n"
    files: dict[str, bytes | str] = {
        "pairs.csv": table, "a.png": png(1), "b.png": png(2), "again.png": png(2), "f.png": png(3), "bad.png": "x"
    }  # fmt: skip
    data = read(tmp_path, files)
    named = [
        (data.entries[first], data.entries[second], genuine)
        for first, second, genuine in zip(data.pairs.first, data.pairs.second, data.pairs.genuine, strict=True)
    ]
    assert named == [("a.png", "again.png", True), ("a.png", "f.png", False)], "b.png is again.png once more"
    assert len(data.pairs) == 2
    assert data.summary["pairs"] == {"genuine": 1, "forged": 1, "left_out": 2}
    assert {"entry": "pairs.csv", "line": 6, "code": "label_unknown"}.items() <= data.summary["skipped_list"][
        -1
    ].items()
    assert data.summary["notes"] == ["pairs.csv: 2 genuine and 2 forged pairs; label 1 means genuine, 0 forged."]


def test_binary_ink_is_binarised_before_it_is_prepared(tmp_path: Path) -> None:
    seen: list[NDArray[np.uint8]] = []
    data = read(tmp_path, FILES, protocol="binary-ink", observe=lambda row, pixels: seen.append(pixels))
    pixels = decode(png(3))
    assert np.array_equal(data.canvases[0], prepare(binarise(pixels), SHAPE))
    assert not np.array_equal(data.canvases[0], prepare(pixels, SHAPE))
    assert np.array_equal(seen[0], pixels), "the observer sees what was sent"
    assert data.digests[0] == pixel_digest(pixels), "whatever the protocol, an image is the same image"


def test_binary_ink_is_for_signatures_alone(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, FILES, Preprocessing(preset="photo", height=32, width=64), protocol="binary-ink")
    assert caught.value.code == "protocol_unfit"


def test_the_observer_sees_the_images_kept_in_the_order_of_the_rows(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"w{n % 3}/genuine/{n:02}.png": png(n) for n in range(40)}
    files |= {"w0/genuine/99.png": png(0), "w1/genuine/98.png": "damaged"}
    seen: list[tuple[int, str]] = []
    data = read(tmp_path, files, observe=lambda row, pixels: seen.append((row, pixel_digest(pixels))))
    assert seen == list(enumerate(data.digests))
    assert len(seen) == 40


def test_only_the_writers_asked_for_are_read(tmp_path: Path) -> None:
    data = read(tmp_path, FILES, writers=frozenset({"ben"}))
    assert (data.writers, data.summary["writers"], len(data.canvases)) == (["ben"], 1, 1)


def test_writers_that_are_not_there_are_an_error_that_names_some_that_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, FILES, writers=frozenset({"ben", "carl"}))
    assert caught.value.code == "writers_unknown"
    assert "no writer carl. Name some of its 2: anna, ben." in caught.value.message


def test_an_archive_of_unreadable_images_says_why(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="None of the 2 images can be read") as caught:
        read(tmp_path, {"anna/genuine/1.png": "x", "ben/genuine/1.png": blank_png()})
    assert caught.value.code == "no_images"


def test_a_damaged_table_costs_nothing_else(tmp_path: Path) -> None:
    whole = zip_of(FILES | {"pairs.csv": "first,second,label\n" + "ben/genuine/1.png,anna/genuine/1.png,0\n" * 50})
    at = whole.index(b"pairs.csv") + 20
    archive = Archive(io.BytesIO(whole[:at] + b"\0\0\0\0" + whole[at + 4 :]), LIMITS)
    data = read_dataset(archive, SHAPE, ImageLimits(), tmp_path, lambda done, total: None)
    assert len(data.entries) == 4
    assert [item["code"] for item in data.summary["skipped_list"]] == ["entry_damaged"]
