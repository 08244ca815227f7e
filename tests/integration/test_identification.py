"""An identification on the real stack: by command line, API and CSV."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.factories import drawing, encoded, png, write_files
from tests.servers import Stack


def again(seed: int) -> bytes:
    return encoded(drawing(seed), "JPEG", quality=60)


def test_a_folder_is_identified(stack: Stack, tmp_path: Path) -> None:
    names = ("ann", "ben", "cyd")
    files = {f"categories/{name}/1.png": png(seed) for seed, name in enumerate(names)}
    files |= {f"test/{name}/1.jpg": again(seed) for seed, name in enumerate(names)}
    folder = write_files(tmp_path / "people", files | {"test/broken.png": b"no image"})
    out = tmp_path / "out.csv"
    stack.run("submit", "identify", folder, "--model", "tiny", "--threshold", "1000000", "--out", out)
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [(row["image"], row["answer"], row["category"], row["correct"]) for row in rows] == [
        ("test/ann/1.jpg", "named", "ann", "yes"),
        ("test/ben/1.jpg", "named", "ben", "yes"),
        ("test/broken.png", "error", "", ""),
        ("test/cyd/1.jpg", "named", "cyd", "yes"),
    ]
    job = stack.json("submit", "identify", folder, "--threshold", "0", "--wait")
    assert (job["state"], job["done"], job["total"], job["model"]) == ("succeeded", 4, 4, "tiny@1")
    assert (job["report"]["threshold"], job["report"]["figures"]["top1"]["rate"]) == (0.0, 1.0)
    answers = stack.json("results", job["id"])
    assert [answer["answer"] for answer in answers] == ["none", "none", "error", "none"]
    assert all(answer["runner_up_distance"] >= answer["distance"] for answer in answers if answer["nearest"])
    text = stack.run("status", job["id"]).stdout
    assert "3-way 1-shot, 4 test images" in text
    assert "0 of 3" in text


def test_an_archive_without_categories_is_refused(stack: Stack, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "odd", {"a.png": png()})
    done = stack.run("submit", "identify", folder, status=1)
    assert "[no_categories]" in done.stderr
    assert "categories/anna/1.png" in done.stderr
