"""The whole path on the real stack: Redis, workers and web server as processes, SQLite."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import httpx
import pytest

from tests.factories import (
    batch_of,
    blank_png,
    bomb_of,
    drawing,
    encoded,
    huge_png,
    manifest_of,
    pdf_pages,
    png,
    tiff_pages,
    training_files,
    unbacked_model,
    write_files,
    zip_of,
)
from tests.servers import Stack, wait_for
from web.client import Document

EVERY = ("id", "questioned", "reference", "questioned_page", "reference_page", "questioned_box", "reference_box")


def verified(stack: Stack, *rows: tuple[object, ...], images: dict[str, bytes], tmp_path: Path) -> dict[str, Document]:
    """The answers to a batch, by id; the job must have succeeded."""
    path = tmp_path / "batch.zip"
    path.write_bytes(batch_of(*rows, images=images, heading=EVERY))
    job = stack.json("submit", "verify", path, "--wait")
    assert (job["state"], job["done"], job["total"]) == ("succeeded", len(rows), len(rows))
    return {row["id"]: row for row in stack.json("results", job["id"])}


def test_two_images(stack: Stack, tmp_path: Path) -> None:
    write_files(tmp_path, {"q.png": png(1), "r1.png": png(2), "r2.jpg": encoded(drawing(3), "JPEG")})
    files = [tmp_path / name for name in ("q.png", "r1.png", "r2.jpg")]
    job = stack.json("submit", "verify", *files, "--model", "tiny", "--wait")
    assert (job["state"], job["done"], job["total"], job["model"]) == ("succeeded", 1, 1, "tiny@1")
    (answer,) = stack.json("results", job["id"])
    assert answer["verdict"] in ("accept", "reject")
    assert answer["distance"] == pytest.approx(sum(answer["distances"]) / 2, rel=1e-5)
    assert answer["distances"][answer["nearest"] - 1] == min(answer["distances"])
    assert answer["model_digest"].startswith("sha256:")
    assert answer["threshold"] == 1.0
    assert len({answer["questioned"]["digest"], *(each["digest"] for each in answer["references"])}) == 3


def test_a_folder_zipped_as_it_is_sent_and_its_csv(stack: Stack, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "batch", {f"scans/{number}.png": png(number) for number in range(6)})
    rows = [(f"row-{n}", f"scans/{n}.png", f"scans/{(n + 1) % 6}.png|scans/{(n + 2) % 6}.png") for n in range(6)]
    (folder / "manifest.csv").write_text(manifest_of(*rows))
    out = tmp_path / "out.csv"
    stack.run("submit", "verify", folder, "--out", out)
    text = out.read_bytes().decode()
    assert text.startswith("id,verdict,distance,")
    found = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in found] == [f"row-{number}" for number in range(6)]
    assert all(float(row["distance"]) > 0 and row["verdict"] in ("accept", "reject") for row in found)
    assert all(row["questioned_digest"].startswith("sha256:") for row in found)
    assert all(len(row["distances"].split("|")) == 2 for row in found)


def test_pages_boxes_and_formats_lead_to_the_same_pixels(stack: Stack, tmp_path: Path) -> None:
    """The same drawing on a page, in a box, in another format is told to be identical; another one is not."""
    sheet = drawing(9, 180, 80).resize((180, 80))
    scan = sheet.copy().resize((400, 300))
    scan.paste(drawing(1), (100, 50))
    images = {
        "pages.tif": tiff_pages(1, 2, 3),
        "two.tif": tiff_pages(2),
        "plain.png": png(1),
        "scan.bmp": encoded(scan, "BMP"),
        "same.webp": encoded(drawing(1), "WEBP", lossless=True),
        "sheet.pdf": pdf_pages(4, 5),
    }
    answers = verified(
        stack,
        ("tiff page", "pages.tif", "two.tif", 2, "", "", ""),
        ("other tiff page", "pages.tif", "two.tif", 3, "", "", ""),
        ("box", "plain.png", "scan.bmp", "", "", "", "100 50 180 80"),
        ("box elsewhere", "plain.png", "scan.bmp", "", "", "", "0 0 180 80"),
        ("format", "plain.png", "same.webp", "", "", "", ""),
        ("pdf pages", "sheet.pdf", "sheet.pdf", 1, 2, "", ""),
        ("pdf box", "sheet.pdf", "sheet.pdf", 2, 2, "0 0 361 161", ""),
        images=images,
        tmp_path=tmp_path,
    )
    identical = {name for name, answer in answers.items() if answer["code"] == "identical"}
    assert identical == {"tiff page", "box", "format", "pdf box"}
    assert {answers[name]["verdict"] for name in identical} == {"review"}
    assert {answers[name]["distance"] for name in identical} == {0.0}
    assert answers["pdf pages"]["questioned"]["width"] in (360, 361)  # 180 pixels at 150 dpi
    assert answers["box"]["references"][0]["box"] == "100 50 180 80"


def test_rows_that_cannot_be_scored_cost_only_themselves(stack: Stack, tmp_path: Path) -> None:
    good = png(1)
    images = {
        "good.png": good,
        "other.png": png(2),
        "text.png": b"this is no image",
        "cut.png": good[: len(good) // 2],
        "dot.png": encoded(drawing(1).resize((1, 1))),
        "blank.png": blank_png(),
        "huge.png": huge_png(),
    }
    bad = {
        "absent.png": "image_missing",
        "text.png": "image_unreadable",
        "cut.png": "image_truncated",
        "dot.png": "image_too_small",
        "blank.png": "image_blank",
        "huge.png": "image_too_large",
        "../good.png": "entry_name_unsafe",
        "/good.png": "entry_name_unsafe",
    }
    rows: list[tuple[object, ...]] = [(f"q {name}", name, "other.png") for name in bad]
    rows += [(f"r {name}", "good.png", name) for name in bad]
    rows += [("partly", "good.png", "other.png|blank.png"), ("fine", "good.png", "other.png")]
    rows += [("fine", "other.png", "good.png"), ("no page", "good.png", "other.png", 2)]
    rows += [("box", "good.png", "other.png", "", "", "100 0 180 80")]
    path = tmp_path / "batch.zip"
    path.write_bytes(batch_of(*rows, images=images, heading=EVERY))
    job = stack.json("submit", "verify", path, "--wait")
    assert (job["state"], job["done"]) == ("succeeded", len(rows))
    answers = stack.json("results", job["id"])
    codes = [(row["id"], row["verdict"], row["code"]) for row in answers]
    unscorable = [(f"{side} {name}", "unscorable", code) for side in "qr" for name, code in bad.items()]
    assert codes[: 2 * len(bad)] == unscorable
    assert [row["code"] for row in answers[2 * len(bad) :]] == [
        "references_unusable",
        None,
        "id_repeated",
        "page_missing",
        "box_outside",
    ]
    assert answers[2 * len(bad)]["distances"][1] is None
    assert all(len(row["message"]) > 20 for row in answers if row["code"])
    assert job["counts"]["unscorable"] == 2 * len(bad) + 3
    table = stack.run("results", job["id"]).stdout
    assert len(list(csv.reader(io.StringIO(table)))) == len(rows) + 1


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("image.zip", png(), "archive_not_zip"),
        ("cut.zip", zip_of({"a.png": png(), "manifest.csv": "x"})[:-30], "archive_truncated"),
        ("bomb.zip", bomb_of(), "archive_bomb"),
        ("bare.zip", zip_of({"a.png": png()}), "manifest_missing"),
        ("column.zip", zip_of({"manifest.csv": "id,questioned\n1,a\n"}), "manifest_columns"),
        ("empty.zip", zip_of({"manifest.csv": "id,questioned,reference\n"}), "manifest_empty"),
        (
            "latin.zip",
            zip_of({"manifest.csv": "id,questioned,reference\nä,a,b\n".encode("latin-1")}),
            "manifest_unreadable",
        ),
    ],
)
def test_batches_that_are_refused(stack: Stack, tmp_path: Path, name: str, content: bytes, code: str) -> None:
    before = sorted((stack.home / "blobs" / "uploads").glob("*"))
    (tmp_path / name).write_bytes(content)
    done = stack.run("submit", "verify", tmp_path / name, "--wait", status=1)
    assert f"[{code}]" in done.stderr
    assert done.stdout == ""
    assert sorted((stack.home / "blobs" / "uploads").glob("*")) == before


def test_an_unknown_model(stack: Stack, tmp_path: Path) -> None:
    write_files(tmp_path, {"q.png": png(1), "r.png": png(2)})
    done = stack.run("submit", "verify", tmp_path / "q.png", tmp_path / "r.png", "--model", "nobody", status=1)
    assert "[model_unknown]" in done.stderr
    assert "tiny" in done.stderr


def test_a_model_deleted_while_jobs_wait(stack: Stack, tmp_path: Path) -> None:
    database = stack.database()
    unbacked_model(database, "doomed")
    database.close()
    write_files(tmp_path, {"q.png": png(1), "r.png": png(2)})
    job = stack.json(
        "submit", "verify", tmp_path / "q.png", tmp_path / "r.png", "--model", "doomed", "--wait", status=1
    )
    assert (job["state"], job["error"]["code"]) == ("failed", "model_deleted")


@pytest.fixture(scope="module")
def training_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("training"), training_files())


def test_training_and_verification_with_what_came_out(stack: Stack, training_set: Path, tmp_path: Path) -> None:
    options = ("--name", "trained", "--network", "compact", "--epochs", "2", "--wait")
    job = stack.json("submit", "train", training_set, *options)
    assert (job["state"], job["done"], job["total"], job["model"]) == ("succeeded", 2, 2, "trained@1")
    report = job["report"]
    assert (report["layout"], report["writers"], report["genuine"], report["forged"]) == ("writers", 4, 16, 8)
    (model,) = [model for model in stack.json("models") if model["name"] == "trained"]
    assert not model["default"]
    assert model["summary"]["recipe"]["epochs"] == 2
    sides = model["summary"]["data"]
    assert not set(sides["training_writers"]) & set(sides["validation_writers"])
    images = sorted((training_set / "writer_0" / "genuine").iterdir())
    checked = stack.json("submit", "verify", *images[:2], "--model", "trained", "--wait")
    assert (checked["state"], checked["model"]) == ("succeeded", "trained@1")
    (answer,) = stack.json("results", checked["id"])
    assert answer["threshold"] == model["threshold"]
    with httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {stack.api_key}"}) as http:
        epochs = http.get(f"/api/v1/jobs/{job['id']}/epochs").json()["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    assert all(epoch["loss"] > 0 and 0 <= epoch["validation_eer"] <= 1 for epoch in epochs)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (training_files(writers=1), "too_few_writers"),
        ({"readme.txt": b"nothing"}, "no_images"),
        ({"a.png": png(1), "b.png": png(2)}, "layout_unknown"),
        ({f"w{n}/genuine/{k}.png": b"no image" for n in range(3) for k in range(3)}, "no_images"),
        ({f"w{n}/genuine/{k}.png": png(k) for n in range(3) for k in range(3)}, "leak"),
    ],
    ids=["one-writer", "no-images", "no-layout", "no-readable-image", "one-image-on-both-sides"],
)
def test_training_sets_that_are_refused(stack: Stack, tmp_path: Path, files: dict[str, bytes], code: str) -> None:
    folder = write_files(tmp_path / "set", files)
    job = stack.json("submit", "train", folder, "--epochs", "1", "--wait", status=1)
    assert (job["state"], job["error"]["code"]) == ("failed", code)
    assert len(job["error"]["message"]) > 20


def test_a_training_without_forgeries_says_so(stack: Stack, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "set", training_files(writers=3, genuine=4, forged=0))
    job = stack.json("submit", "train", folder, "--name", "random", "--epochs", "1", "--wait")
    assert job["state"] == "succeeded"
    assert job["report"]["forgeries"] == "random"
    assert job["report"]["note"].startswith("No skilled forgeries")


def test_a_loss_that_is_not_finite(stack: Stack, training_set: Path) -> None:
    options = ("--epochs", "60", "--learning-rate", "10", "--optimiser", "sgd", "--weight-decay", "1")
    job = stack.json("submit", "train", training_set, *options, "--wait", status=1)
    assert (job["state"], job["error"]["code"]) == ("failed", "loss_not_finite")


def test_stop_a_training_and_keep_its_best(stack: Stack, training_set: Path) -> None:
    job = stack.json("submit", "train", training_set, "--epochs", "1000", "--name", "kept")
    wait_for(lambda: stack.json("status", job["id"])["done"] >= 1, "the first epoch")
    assert stack.json("finish", job["id"])["state"] in ("running", "succeeded")
    ended = stack.ended(job["id"])
    assert (ended["state"], ended["model"]) == ("succeeded", "kept@1")
    early = ended["report"]["finished_early"]
    assert (early["epoch"], early["by"]) == (ended["done"], "admin")
    assert 1 <= early["best_epoch"] <= ended["done"] < 1000
    done = stack.run("finish", job["id"], status=1)
    assert "[job_ended]" in done.stderr


def test_cancel_a_training_while_it_runs(stack: Stack, training_set: Path) -> None:
    job = stack.json("submit", "train", training_set, "--epochs", "1000", "--name", "endless")
    wait_for(lambda: stack.json("status", job["id"])["done"] >= 1, "the first epoch")
    assert stack.json("cancel", job["id"])["state"] in ("cancelling", "cancelled")
    ended = stack.ended(job["id"])
    assert ended["state"] == "cancelled"
    assert 1 <= ended["done"] < 1000
    assert "endless" not in {model["name"] for model in stack.json("models")}
    done = stack.run("cancel", job["id"], status=1)
    assert "[job_ended]" in done.stderr
