from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.specs import Preprocessing
from worker.ml.images import Pixels, prepare
from worker.ml.layouts import detect
from worker.ml.shortcuts import shortcut_table
from worker.ml.synthesis import GeneratedSignature, entry_name, generate_writer, write_dataset

WRITERS, SAMPLES = 40, 8
LEFT_BY_PAPER_PEN_AND_SCANNER = ("background_median", "darkest_pixel", "mean_ink", "otsu_threshold", "stroke_width")


@pytest.fixture(scope="module")
def signatures() -> list[GeneratedSignature]:
    return [one for writer in range(WRITERS) for one in generate_writer(1, writer, SAMPLES, SAMPLES)]


@pytest.fixture(scope="module")
def table(signatures: list[GeneratedSignature]) -> dict[str, float]:
    return shortcut_table((one.writer, one.forged, one.image) for one in signatures)


def digest(signature: GeneratedSignature) -> str:
    return hashlib.sha256(signature.image.tobytes()).hexdigest()


@pytest.mark.parametrize("statistic", LEFT_BY_PAPER_PEN_AND_SCANNER)
def test_paper_pen_and_scanner_do_not_tell_genuine_from_forged(table: dict[str, float], statistic: str) -> None:
    assert 0.40 < table[statistic] < 0.60


def test_the_images_are_grey_scans_of_a_signature_s_size(signatures: list[GeneratedSignature]) -> None:
    shapes = np.array([one.image.shape for one in signatures])
    assert all(one.image.dtype == np.uint8 for one in signatures)
    assert (np.median(shapes, axis=0) > [90, 200]).all()
    assert (np.median(shapes, axis=0) < [200, 450]).all()
    assert shapes.max() < 600
    inked = np.array([(one.image < 128).mean() for one in signatures])
    assert inked.min() > 0.005
    assert inked.max() < 0.35


def test_every_image_can_be_prepared_for_a_network(signatures: list[GeneratedSignature]) -> None:
    canvas = Preprocessing(height=96, width=192)
    assert all(prepare(one.image, canvas).any() for one in signatures[::7])


def test_no_two_images_are_alike(signatures: list[GeneratedSignature]) -> None:
    assert len({digest(one) for one in signatures}) == len(signatures)


def test_own_samples_are_nearer_than_forgeries_and_those_nearer_than_strangers(
    signatures: list[GeneratedSignature],
) -> None:
    few = 16
    looks = np.array([_look(one.image) for one in signatures[: few * 2 * SAMPLES]])
    looks = looks.reshape(few, 2, SAMPLES, -1)  # (writer, genuine or forged, sample, pixel)
    reference = looks[:, 0, 0]
    own = np.linalg.norm(looks[:, 0, 1:] - reference[:, None], axis=2)
    skilled = np.linalg.norm(looks[:, 1] - reference[:, None], axis=2)
    strangers = np.linalg.norm(np.roll(reference, 1, axis=0) - reference, axis=1)
    assert np.median(own) < np.median(skilled) < np.median(strangers)
    # Hard, but not hopeless: plain pixels see a difference in the middle, not in most single cases.
    assert np.median(own) > 0.5 * np.median(skilled)


def _look(image: Pixels) -> Pixels:
    canvas = cv2.GaussianBlur(prepare(image, Preprocessing(height=48, width=96)), (0, 0), 2.0).astype(np.float64)
    return np.asarray(canvas / np.linalg.norm(canvas)).ravel()


def test_the_same_seed_gives_the_same_images_and_another_does_not() -> None:
    first, again, other = ([digest(one) for one in generate_writer(seed, 3, 2, 2)] for seed in (5, 5, 6))
    assert first == again
    assert not set(first) & set(other)


def test_an_image_does_not_depend_on_how_many_are_made() -> None:
    few = {(one.forged, one.index): digest(one) for one in generate_writer(5, 3, 2, 3)}
    many = {(one.forged, one.index): digest(one) for one in generate_writer(5, 3, 4, 5)}
    assert few.items() <= many.items()
    assert len(many) == 9


def test_what_is_asked_for_comes_in_order() -> None:
    made = [(one.writer, one.forged, one.index) for one in generate_writer(0, 7, 2, 1)]
    assert made == [(7, False, 0), (7, False, 1), (7, True, 0)]


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        next(generate_writer(1, -1, 1, 1))


def test_a_data_set_is_files_in_a_layout_that_training_knows(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_dataset(tmp_path / "set", 2, 3, 2, seed=4, progress=lambda done, total: calls.append((done, total)))
    files = sorted(path.relative_to(tmp_path / "set").as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files[0] == "writer_0001/forged/01.png"
    layout = detect(files)
    assert layout.name == "writers"
    assert [(one.writer, one.forged) for one in layout.samples].count(("writer_0002", False)) == 3
    assert len(layout.samples) == 10
    assert not layout.skipped
    assert calls == [(done, 10) for done in range(1, 11)]


def test_a_file_holds_the_pixels_that_were_generated(tmp_path: Path) -> None:
    write_dataset(tmp_path, 1, 1, 1, seed=4, progress=None)
    for one in generate_writer(4, 0, 1, 1):
        stored = cv2.imread(str(tmp_path / entry_name(0, one.index, one.forged)), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(stored, one.image)
