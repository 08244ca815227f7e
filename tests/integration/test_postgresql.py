"""The main path on PostgreSQL, by the same ``countersign up``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.factories import ModelFile, batch_of, png, training_files, write_files
from tests.servers import Stack


@pytest.fixture(scope="module")
def postgresql_stack(
    short_tmp: Path, session_postgresql: Callable[[str], str], tiny_model: ModelFile
) -> Iterator[Stack]:
    with Stack(short_tmp / "pg-stack", {"DATABASE_URL": session_postgresql("template0")}) as stack:
        stack.add_model(replace(tiny_model, name="tiny"), make_default=True)
        yield stack


def test_a_batch_in_many_chunks(postgresql_stack: Stack, tmp_path: Path) -> None:
    rows: list[tuple[object, ...]] = [(n, f"{n % 9}.png", f"{(n + 1) % 9}.png|{(n + 2) % 9}.png") for n in range(100)]
    rows += [("same", "1.png", "1.png"), ("gone", "1.png", "none.png"), ("same", "2.png", "3.png")]
    path = tmp_path / "batch.zip"
    path.write_bytes(batch_of(*rows, images={f"{number}.png": png(number) for number in range(9)}))
    job = postgresql_stack.json("submit", "verify", path, "--wait")
    assert (job["state"], job["done"], job["total"]) == ("succeeded", 103, 103)
    answers = postgresql_stack.json("results", job["id"])
    assert [row["id"] for row in answers[:100]] == [str(number) for number in range(100)]
    assert [(row["verdict"], row["code"]) for row in answers[100:]] == [
        ("review", "identical"),
        ("unscorable", "image_missing"),
        ("unscorable", "id_repeated"),
    ]
    assert len(postgresql_stack.run("results", job["id"]).stdout.splitlines()) == 104
    assert sum(job["counts"].values()) == 103


def test_two_images_and_a_training(postgresql_stack: Stack, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "set", training_files(writers=3, genuine=3, forged=1))
    job = postgresql_stack.json("submit", "train", folder, "--name", "trained", "--epochs", "1", "--wait")
    assert (job["state"], job["model"]) == ("succeeded", "trained@1")
    images = sorted((folder / "writer_0" / "genuine").iterdir())
    checked = postgresql_stack.json("submit", "verify", *images[:2], "--model", "trained", "--wait")
    assert (checked["state"], checked["done"]) == ("succeeded", 1)
