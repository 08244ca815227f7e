"""Pictures of every page on generated signatures, for docs/: ``python -m tests.browser.screenshots``; some minutes.

Each page is taken light and dark at 1,280 pixels, and at 360 side by side with others.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import CHROMIUM, QUIET
from tests.browser.test_verification import log_in
from tests.factories import manifest_of, png, training_files, zip_of
from tests.servers import Stack, wait_for

OUT = Path(__file__).parents[2] / "docs" / "screenshots"
WIDE, NARROW = 1280, 360  # pixels of the window
TALLEST = 1050  # of a wide picture; what lies below is left off
SHOWN = 960  # width that a wide picture is stored with
NARROW_HEIGHT, NARROW_SHOWN, ROW = 900, 240, 5
COLOURS = 64
PATIENCE = 180_000  # milliseconds: the machine may have other work
PICTURES = """async () => {
  for (const image of document.images) image.loading = "eager";
  await Promise.all(Array.from(document.images, (image) => image.decode().catch(() => null)));
}"""
TRAINING = training_files(writers=12, genuine=8, forged=4, seed=31)
OTHERS = training_files(writers=8, genuine=10, forged=6, seed=32)


def archives(folder: Path) -> dict[str, Path]:
    """The archives that the jobs work on."""
    genuine = [name for name in OTHERS if "/genuine/" in name]
    first = {writer: sorted(name for name in genuine if name.startswith(writer))[:3] for writer in writers()}
    rows = [
        (name.replace("/", "-").removesuffix(".png"), name, "|".join(first[name.split("/")[0]]))
        for name in sorted(OTHERS)
        if name not in first[name.split("/")[0]]
    ]
    people: dict[str, bytes | str] = {f"categories/{w}/1.png": OTHERS[first[w][0]] for w in writers()[:6]}
    people |= {f"test/{w}/{n}.png": OTHERS[f"{w}/genuine/{n}.png"] for w in writers() for n in (5, 6)}
    held: dict[str, Mapping[str, bytes | str]] = {
        "branch-17.zip": {**OTHERS, "manifest.csv": manifest_of(*rows)},
        "writers-2026.zip": {**TRAINING, "writer_0/genuine/torn.png": b"no image", "readme.txt": b"scanned in May"},
        "held-out.zip": dict(OTHERS),
        "people.zip": people,
        "no-names.zip": {"a.png": png(1), "b.png": png(2)},
    }
    for name, files in held.items():
        (folder / name).write_bytes(zip_of(files))
    return {name: folder / name for name in held}


def writers() -> list[str]:
    return sorted({name.split("/")[0] for name in OTHERS})


def make_jobs(stack: Stack, folder: Path) -> dict[str, str]:
    """One job of each kind, one that failed, and one that goes on; their ids."""
    paths = archives(folder)
    data, held = paths["writers-2026.zip"], paths["held-out.zip"]
    mine = ("--name", "branches", "--network", "ink", "--generated")
    jobs = {"trained": stack.json("submit", "train", data, *mine, "--wait")["id"]}
    stack.run("models", "promote", "branches", "--note", "Measured in May.")
    submissions = {
        "verified": ("verify", paths["branch-17.zip"], "--tag", "night"),
        "evaluated": ("evaluate", held, "--model", "branches"),
        "boxed": ("evaluate", held, "--model", "boxed"),
        "identified": ("identify", paths["people.zip"], "--model", "branches"),
        "tuned": ("tune", data, "--trials", "4", "--epochs", "2", "--folds", "2"),
        "failed": ("train", paths["no-names.zip"], "--network", "ink"),
    }
    jobs |= {name: stack.json("submit", *options)["id"] for name, options in submissions.items()}
    for job in jobs.values():
        stack.ended(job)
    jobs["running"] = stack.json("submit", "train", data, "--epochs", "400", "--name", "deep")["id"]
    wait_for(lambda: stack.json("status", jobs["running"])["done"] >= 6, "some epochs", 300)
    return jobs


def pages_of(stack: Stack, jobs: dict[str, str]) -> dict[str, str]:
    """The address of each page by the name of its picture."""
    with stack.client() as client:
        webhook = client.add_webhook("http://127.0.0.1:9/desk", "desk")["id"]
        client.test_webhook(webhook)
    job = f"/jobs/{jobs['verified']}"
    with stack.signed_in() as browser:
        data = browser.get(f"/train?again={jobs['trained']}").text.split('name="archive_digest" value="')[1][:71]
    return {
        "jobs": "/jobs",
        "verify": "/verify",
        "verify-batch": "/verify?way=batch",
        "job": job,
        "comparison": f"{job}/comparisons/{first_in_review(stack, jobs['verified'])}?verdict=review&order=unlike",
        "train": "/train",
        "train-data": f"/train?archive_digest={data}",
        "training": f"/jobs/{jobs['running']}",
        "trained": f"/jobs/{jobs['trained']}",
        "failed": f"/jobs/{jobs['failed']}",
        "models": "/models",
        "model": "/models/branches",
        "models-compare": "/models/compare?model=branches&model=boxed",
        "model-upload": "/models/upload",
        "evaluate": "/evaluate",
        "evaluation": f"/jobs/{jobs['evaluated']}",
        "identify": "/identify",
        "identification": f"/jobs/{jobs['identified']}",
        "tune": "/tune",
        "tuning": f"/jobs/{jobs['tuned']}",
        "account": "/account",
        "webhooks": "/account/webhooks",
        "webhook": f"/account/webhooks/{webhook}",
    }


def first_in_review(stack: Stack, job: str) -> int:
    """The number of a comparison that a person has to look at, or else of the first."""
    return next((row["ordinal"] for row in stack.json("results", job) if row["verdict"] == "review"), 1)


def settle(page: Page, path: str) -> None:
    """Go there, and wait for what comes later: pictures, plots, looks into data."""
    page.goto(path)
    page.locator("html.scripted").wait_for()
    expect(page.locator("[hx-get*=datasets]")).to_have_count(0, timeout=60_000)
    page.evaluate(PICTURES)
    page.wait_for_timeout(600)


def taken(page: Page, path: str) -> Image.Image:
    """The page as a picture, whole."""
    settle(page, path)
    return Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")


def save(picture: Image.Image, width: int, path: Path) -> None:
    """Store it this wide, with few colours."""
    small = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    small.quantize(COLOURS, kmeans=3, dither=Image.Dither.NONE).save(path, optimize=True)


def beside(pictures: list[Image.Image]) -> Image.Image:
    """Narrow pages in a row."""
    row = Image.new("RGB", (NARROW * len(pictures), NARROW_HEIGHT), "white")
    for place, picture in enumerate(pictures):
        row.paste(picture, (NARROW * place, 0))
    return row


def take_all(browser: Browser, stack: Stack, out: Path, whole: Path | None) -> None:
    """All pictures into ``out``; those that were taken, uncut, into ``whole``."""
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:
        jobs = make_jobs(stack, Path(folder))
    pages = pages_of(stack, jobs)
    narrow: list[Image.Image] = []
    for scheme in ("light", "dark"):
        for width in (WIDE, NARROW):
            with browser.new_context(
                base_url=stack.url,
                viewport={"width": width, "height": 900},
                color_scheme="dark" if scheme == "dark" else "light",
            ) as context:
                page = context.new_page()
                page.set_default_timeout(PATIENCE)
                log_in(page, stack)
                for number, (name, path) in enumerate(pages.items()):
                    picture = taken(page, path)
                    if whole:
                        picture.save(whole / f"{name}-{scheme}-{width}.png")
                    if width == WIDE:
                        cut = picture.crop((0, 0, width, min(picture.height, TALLEST)))
                        save(cut, SHOWN, out / f"{name}{'-dark' if scheme == 'dark' else ''}.png")
                    elif (number % 2 == 1) == (scheme == "dark"):
                        narrow.append(picture.crop((0, 0, width, NARROW_HEIGHT)))
    for row in range(0, len(narrow), ROW):
        pictures = narrow[row : row + ROW]
        save(beside(pictures), NARROW_SHOWN * len(pictures), out / f"narrow-{row // ROW + 1}.png")
    stack.run("cancel", jobs["running"])


def main() -> None:
    """Take them as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--whole", type=Path, help="a folder for the pictures as they were taken, for somebody to look")
    given = parser.parse_args()
    for folder in filter(None, (given.out, given.whole)):
        folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="cs-") as folder,
        Stack(Path(folder) / "stack", {}) as stack,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        take_all(browser, stack, given.out, given.whole)
        browser.close()


if __name__ == "__main__":
    main()
